//! Runs a container without an apiserver and measures it.
//!
//! ```text
//! run [--repeat N] [--keep-disk] [--memory MIB] [--null] program [arguments]
//! ```
//! Once: stdio is this process's own. Repeatedly: prints medians of the start's milestones.
#![expect(clippy::print_stdout, reason = "a tool for a terminal")]
#![expect(clippy::unwrap_used, reason = "a tool for developers")]
#![allow(dead_code, unreachable_pub, reason = "the tests use more of the fixture")]

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bulkhead_descriptor_passing::frame;
use bulkhead_runtime_control::{
    DescriptorPurpose, Event, Message, Request, RequestFrame, RuntimeSpecification, Timeline,
};

use fixture::container::{spawn, specification};

#[derive(Debug, Default)]
struct Sample {
    timeline: Timeline,
    started: Duration,
    exited: Duration,
    stopped: Duration,
}

fn main() {
    let mut repeat = 1;
    let (mut keep_disk, mut null) = (false, false);
    let mut memory_mib = 256;
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(option) = arguments.next_if(|argument| argument.starts_with("--")) {
        match option.as_str() {
            "--repeat" => repeat = arguments.next().unwrap().parse().unwrap(),
            "--memory" => memory_mib = arguments.next().unwrap().parse().unwrap(),
            "--keep-disk" => keep_disk = true,
            "--null" => null = true,
            other => panic!("unknown option {other}"),
        }
    }
    let program: Vec<String> = arguments.collect();
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let mut samples = Vec::new();
    for _ in 0..repeat {
        let mut specification = specification(&program);
        specification.discard_disk = !keep_disk;
        specification.vmm.memory_bytes = memory_mib << 20;
        specification.process.stdin = repeat == 1;
        samples.push(run(&specification, null || repeat > 1));
        let _ = std::fs::remove_dir_all(specification.durable_directory.parent().unwrap());
    }
    samples.drain(..(repeat / 10).min(3));
    for (name, value) in [
        ("VMM spawned", median(&samples, |sample| sample.timeline.vmm_spawned_us)),
        ("guest boot", median(&samples, |sample| sample.timeline.guest_boot_us)),
        ("agent connected", median(&samples, |sample| sample.timeline.agent_connected_us)),
        ("process started", median(&samples, |sample| sample.timeline.process_started_us)),
        ("Started received", median(&samples, |sample| microseconds(sample.started))),
        ("ProcessExited received", median(&samples, |sample| microseconds(sample.exited))),
        ("Stopped received", median(&samples, |sample| microseconds(sample.stopped))),
    ] {
        println!("{name:24} {value:7} us");
    }
}

/// Times are from sending `Start` to a waiting helper, as the apiserver keeps them.
fn run(specification: &RuntimeSpecification, null: bool) -> Sample {
    let executable = std::env::current_exe().unwrap();
    let program = executable.parent().and_then(Path::parent).unwrap().join("container-runtime-linux");
    let (mut helper, socket) = spawn(&program, Stdio::inherit());
    std::thread::sleep(Duration::from_millis(20));
    let sink = File::options().read(true).write(true).open("/dev/null").unwrap();
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let descriptors = if null {
        vec![(DescriptorPurpose::Stdout, sink.as_fd()), (DescriptorPurpose::Stderr, sink.as_fd())]
    } else {
        vec![
            (DescriptorPurpose::Stdin, stdin.as_fd()),
            (DescriptorPurpose::Stdout, stdout.as_fd()),
            (DescriptorPurpose::Stderr, stderr.as_fd()),
        ]
    };
    let (purposes, passed): (Vec<_>, Vec<_>) = descriptors.into_iter().unzip();
    let request = Request::Start(Box::new(specification.clone()));
    let born = Instant::now();
    frame::send(&socket, &RequestFrame { id: 1, request, descriptors: purposes }, &passed).unwrap();
    let mut sample = Sample::default();
    while let Some(received) = frame::receive::<Message>(&socket).unwrap() {
        match received.message {
            Message::Event(Event::Started { timeline, .. }) => {
                sample.timeline = timeline;
                sample.started = born.elapsed();
            }
            Message::Event(Event::ProcessExited { status, .. }) => {
                sample.exited = born.elapsed();
                assert!(status.exit_code == 0 || !null, "{status:?}");
            }
            Message::Event(Event::Stopped { .. }) => {
                sample.stopped = born.elapsed();
                break;
            }
            Message::Event(event) => println!("{event:?}"),
            Message::Reply { .. } => {}
        }
    }
    helper.wait().unwrap();
    sample
}

fn median(samples: &[Sample], value: impl Fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(value).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}
