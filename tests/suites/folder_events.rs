//! What inotify(7) in a container tells of folders of the host.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use bulkhead_tests::{Installation, put_program, wait_until};

/// A program in a container that watches paths.
struct Watcher {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watcher {
    fn start(installation: &Installation, container: &str, paths: &[&str]) -> Self {
        let words = [&["exec", container, "watcher"], paths].concat();
        let mut child = installation.command(&words).stdout(Stdio::piped()).spawn().expect("container");
        let lines = BufReader::new(child.stdout.take().expect("stdout"));
        let mut watcher = Self { child, lines };
        assert_eq!(watcher.line(), "ready");
        watcher
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("line");
        line.trim_end().to_owned()
    }

    /// What came until nothing came for a second; the same twice in a row is told once.
    fn told(&mut self) -> Vec<String> {
        let mut told: Vec<String> =
            std::iter::repeat_with(|| self.line()).take_while(|line| line != "rest").collect();
        told.dedup();
        told
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder(installation: &Installation) -> PathBuf {
    let folder = installation.folder().join("host");
    fs::create_dir_all(folder.join("directory")).unwrap();
    fs::write(folder.join("file"), "from the host\n").unwrap();
    folder
}

/// A container that sleeps, with the folder at /shared and the program.
fn run(installation: &Installation, name: &str, source: &str) {
    let volume = format!("{source}:/shared");
    installation.run_ok(&["run", "-d", "--name", name, "-v", &volume, "demo", "sleep", "600"]);
    put_program(installation, name, "watcher");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("path in UTF-8")
}

/// Without the numbers of renames, which are to be the same in pairs.
fn without_cookies(lines: &[String]) -> Vec<String> {
    let mut cookies = Vec::new();
    let plain = lines.iter().map(|line| match line.rsplit_once(' ') {
        Some((rest, cookie)) if line.contains("MOVED_") => {
            cookies.push(cookie);
            rest.to_owned()
        }
        _ => line.clone(),
    });
    let plain = plain.collect();
    assert!(cookies.chunks(2).all(|pair| pair.first() == pair.last()), "{lines:?}");
    assert_eq!(cookies.iter().collect::<BTreeSet<_>>().len(), cookies.len() / 2, "{lines:?}");
    plain
}

#[test]
fn what_the_host_does_is_told() {
    let installation = Installation::with_demo();
    let folder = folder(&installation);
    run(&installation, "box", text(&folder));
    let mut watcher = Watcher::start(&installation, "box", &["/shared", "/shared/directory"]);
    let cat = |name: &str| installation.run_ok(&["exec", "box", "cat", &format!("/shared/{name}")]);

    fs::write(folder.join("new"), "one").unwrap();
    assert_eq!(watcher.told(), ["/shared CREATE new", "/shared MODIFY new", "/shared CLOSE_WRITE new"]);
    assert_eq!(cat("new"), "one");
    fs::write(folder.join("new"), "two").unwrap();
    assert_eq!(watcher.told(), ["/shared MODIFY new", "/shared CLOSE_WRITE new"]);
    assert_eq!(cat("new"), "two");
    fs::set_permissions(folder.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(watcher.told(), ["/shared ATTRIB file"]);

    fs::rename(folder.join("new"), folder.join("newer")).unwrap();
    let told = without_cookies(&watcher.told());
    assert_eq!(told, ["/shared MOVED_FROM new", "/shared MOVED_TO newer"]);
    fs::rename(folder.join("newer"), folder.join("directory/newer")).unwrap();
    let told = without_cookies(&watcher.told());
    assert_eq!(told, ["/shared MOVED_FROM newer", "/shared/directory MOVED_TO newer"]);
    // As editors save.
    fs::write(folder.join(".file~"), "edited").unwrap();
    fs::rename(folder.join(".file~"), folder.join("file")).unwrap();
    let told = without_cookies(&watcher.told());
    let saved =
        ["CREATE .file~", "MODIFY .file~", "CLOSE_WRITE .file~", "MOVED_FROM .file~", "MOVED_TO file"];
    assert_eq!(told, saved.map(|line| format!("/shared {line}")));
    assert_eq!(cat("file"), "edited");

    fs::create_dir(folder.join("inner")).unwrap();
    assert_eq!(watcher.told(), ["/shared CREATE|DIRECTORY inner"]);
    fs::remove_dir(folder.join("inner")).unwrap();
    assert_eq!(watcher.told(), ["/shared DELETE|DIRECTORY inner"]);
    fs::remove_file(folder.join("file")).unwrap();
    assert_eq!(watcher.told(), ["/shared DELETE file"]);
    // What nobody watches is told to nobody.
    fs::write(folder.join("directory/newer"), "x").unwrap();
    assert_eq!(watcher.told().first().map(String::as_str), Some("/shared/directory MODIFY newer"));
}

#[test]
fn what_the_guest_does_is_told_once() {
    let installation = Installation::with_demo();
    let folder = folder(&installation);
    run(&installation, "box", text(&folder));
    installation.run_ok(&["exec", "box", "sh", "-c", "mkdir -p /own/directory; echo x > /own/file"]);
    let mut watcher = Watcher::start(
        &installation,
        "box",
        &["/own", "/own/directory", "/own/file", "/shared", "/shared/directory", "/shared/file"],
    );
    let mut told = |place: &str| {
        let script = format!(
            "cd {place}; echo a > new; echo b >> new; chmod 600 new; mv new newer; mv newer directory/; \
             mkdir inner; rmdir inner; ln file link; echo c > file; rm link; rm directory/newer; rm file; rmdir directory"
        );
        installation.run_ok(&["exec", "box", "sh", "-c", &script]);
        without_cookies(&watcher.told())
            .into_iter()
            .map(|line| line.replace(place, ""))
            .collect::<Vec<String>>()
    };
    let expected = told("/own");
    assert!(expected.len() > 15, "{expected:#?}");
    assert_eq!(told("/shared"), expected);
}

#[test]
fn a_watched_file_that_the_host_deletes_is_gone() {
    let installation = Installation::with_demo();
    let folder = folder(&installation);
    run(&installation, "box", text(&folder));
    let mut watcher = Watcher::start(&installation, "box", &["/shared/file", "/shared", "/shared/directory"]);
    let open = || {
        let servers = installation.file_servers();
        let files = servers.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok()).flatten();
        files
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .any(|target| target.to_string_lossy().ends_with("/file (deleted)"))
    };
    fs::remove_file(folder.join("file")).unwrap();
    fs::remove_dir(folder.join("directory")).unwrap();
    let told: BTreeSet<String> = watcher.told().into_iter().collect();
    let expected = [
        "/shared DELETE file",
        "/shared DELETE|DIRECTORY directory",
        "/shared/directory DELETE_SELF",
        "/shared/directory IGNORED",
        "/shared/file ATTRIB",
        "/shared/file DELETE_SELF",
        "/shared/file IGNORED",
    ];
    assert_eq!(told, expected.map(str::to_owned).into());
    wait_until("its space is free", || !open());
}

#[test]
fn containers_are_told_of_each_other() {
    let installation = Installation::with_demo();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "data"]);
    run(&installation, "watching", "data");
    installation.run_ok(&["run", "-d", "--name", "writing", "-v", "data:/d", "demo", "sleep", "600"]);
    let mut watcher = Watcher::start(&installation, "watching", &["/shared"]);
    installation.run_ok(&["exec", "writing", "sh", "-c", "echo x > /d/new; rm /d/new"]);
    let told = watcher.told();
    let expected = ["CREATE new", "MODIFY new", "CLOSE_WRITE new", "DELETE new"];
    assert_eq!(told, expected.map(|line| format!("/shared {line}")));
}

#[test]
fn a_storm_is_told_in_full_or_said_to_be_too_much() {
    const FILES: usize = 3000;
    let installation = Installation::with_demo();
    let folder = folder(&installation);
    run(&installation, "box", text(&folder));
    let mut watcher = Watcher::start(&installation, "box", &["/shared"]);
    for number in 0..FILES {
        fs::write(folder.join(number.to_string()), "x").unwrap();
    }
    let told = watcher.told();
    let created = told.iter().filter(|line| line.contains(" CREATE ")).count();
    assert!(created == FILES || told.iter().any(|line| line.contains("OVERFLOW")), "{created} are told");
    // And all is as before.
    fs::write(folder.join("after"), "x").unwrap();
    assert!(watcher.told().iter().any(|line| line == "/shared CREATE after"));
}

/// How often the threads of a process have waited for something.
fn waits(pid: i32) -> u64 {
    let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process").map(Result::unwrap);
    threads
        .filter_map(|thread| {
            let status = status(thread);
            let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            waits.trim().parse::<u64>().ok()
        })
        .sum()
}

#[test]
fn waiting_for_events_costs_nothing_and_ends_with_the_machine() {
    let installation = Installation::with_demo();
    let folder = folder(&installation);
    run(&installation, "box", text(&folder));
    let mut watcher = Watcher::start(&installation, "box", &["/shared"]);
    fs::write(folder.join("new"), "x").unwrap();
    assert_eq!(watcher.told().len(), 3);
    let servers = installation.file_servers();
    assert_eq!(servers.len(), 1);
    // Nothing is asked again and again, by neither side: each question and each look ends in waiting once more.
    let before = waits(servers[0]);
    std::thread::sleep(Duration::from_secs(5));
    let woken = waits(servers[0]) - before;
    assert!(woken <= 5, "woken {woken} times in five seconds");
    // Whoever waits holds up nothing: a machine that does not power off is ended after a minute.
    let begin = Instant::now();
    installation.run_ok(&["stop", "-t", "1", "box"]);
    assert!(begin.elapsed() < Duration::from_secs(50), "{:?}", begin.elapsed());
    installation.run_ok(&["start", "box"]);
    assert_eq!(installation.run_ok(&["exec", "box", "cat", "/shared/new"]), "x");
}

#[test]
fn a_file_system_with_a_waiting_request_is_unmounted() {
    let installation = Installation::with_demo();
    let folder = folder(&installation);
    let volume = format!("{}:/shared", text(&folder));
    let words = ["run", "-d", "--name", "box", "--privileged", "-v", &volume, "demo", "sleep", "600"];
    installation.run_ok(&words);
    put_program(&installation, "box", "watcher");
    let mut watcher = Watcher::start(&installation, "box", &["/shared"]);
    fs::write(folder.join("new"), "x").unwrap();
    assert_eq!(watcher.told().len(), 3);
    let script = "umount /shared && mount -t virtiofs folder0 /shared && cat /shared/new";
    let outcome = installation.container(&["exec", "--privileged", "box", "sh", "-c", script]).expect_code(0);
    assert_eq!(outcome.text(), "x");
    assert!(watcher.told().iter().all(|line| line.contains("UNMOUNT") || line.contains("IGNORED")));
    let mut again = Watcher::start(&installation, "box", &["/shared"]);
    fs::write(folder.join("newer"), "x").unwrap();
    assert_eq!(again.told().first().map(String::as_str), Some("/shared CREATE newer"));
}
