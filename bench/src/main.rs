//! Measures whole commands of this project and of podman + runc, side by side.
//!
//! Both tools run the same busybox, in turn, round after round, so that a busy machine is as busy for
//! one as for the other. The first rounds are thrown away. A sample that exits with another status
//! than 0 ends the benchmark: a fast failure must not count. The result of a metric is the ratio of
//! the medians, with a bootstrap interval and the p-value of a permutation test.
//!
//! Throughputs and requests of networks are measured by clients that say themselves what they got, and
//! compared in the same way; there more is better.
//!
//! `cargo xtask bench [rounds] [metric…]`; 30 rounds of the quick metrics unless said otherwise,
//! `all` for every metric.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

mod bulkhead;
mod facts;
mod folder_fixture;
mod image_fixture;
mod memory;
mod metric;
mod network;
mod podman;
mod programs;
mod statistics;

use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::image_fixture::ImageFixture;
use crate::metric::{Metric, Selection};
use crate::statistics::Comparison;

const DISCARDED_ROUNDS: usize = 3;

/// One of the compared tools, ready to run.
trait Tool {
    /// Name in the table.
    fn name(&self) -> &'static str;
    /// What a sample of a metric runs: all at once, until the last has ended.
    fn commands(&self, metric: Metric) -> Vec<Command>;
    /// Work before the first sample of a metric.
    fn set_up(&self, metric: Metric) -> Result<()>;
    /// Work before each sample that is not measured.
    fn prepare(&self, metric: Metric) -> Result<()>;
    /// Work after each sample that is not measured: checks what it left and removes it.
    fn clean_up(&self, metric: Metric) -> Result<()>;
    /// Work after the last sample of a metric.
    fn tear_down(&self, metric: Metric) -> Result<()>;
    /// Starts a container that sleeps.
    fn start_idle(&self, name: &str) -> Result<()>;
    /// Starts the container of the benchmark of networks.
    fn start_servers(&self) -> Result<network::Published>;
    /// A command in a running container.
    fn inside(&self, name: &str, words: &[&str]) -> Command;
    /// Removes containers by force.
    fn remove(&self, names: &[String]) -> Result<()>;
}

fn main() -> Result<()> {
    let selection = Selection::parse(std::env::args().skip(1))?;
    let folder = std::env::temp_dir().join(format!("bh-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    facts::print();
    let measured = measure(&selection, &folder);
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    measured
}

fn measure(selection: &Selection, folder: &Path) -> Result<()> {
    let about_images: Vec<Metric> =
        selection.metrics.iter().copied().filter(|metric| metric.is_about_images()).collect();
    let images = match about_images.is_empty() {
        true => None,
        false => Some(Rc::new(ImageFixture::new(folder, &about_images)?)),
    };
    let ours = bulkhead::Bulkhead::new(folder, images.clone())?;
    let peer = podman::Podman::new(folder, images)?;
    if !selection.metrics.is_empty() {
        println!("\n{:<32} {:>24} {:>24}   ratio of p50", "", "bulkhead", "podman + runc");
        println!(
            "{:<32} {:>24} {:>24}   (95 % interval, p)",
            "", "p50 / p90 / min, ms", "p50 / p90 / min, ms"
        );
    }
    for metric in &selection.metrics {
        let comparison = compare(&ours, &peer, *metric, metric.rounds(selection.rounds))?;
        println!("{:<32} {comparison}", metric.title());
    }
    if !about_images.is_empty() {
        println!();
        memory::print_peak(ours.apiserver_pid()?)?;
    }
    if selection.network {
        println!();
        network::print([&ours, &peer], selection.rounds)?;
    }
    if selection.memory {
        println!();
        memory::print(&ours, &peer, ours.apiserver_pid()?)?;
    }
    Ok(())
}

fn compare(ours: &dyn Tool, peer: &dyn Tool, metric: Metric, rounds: usize) -> Result<Comparison> {
    let tools = [ours, peer];
    for tool in tools {
        tool.set_up(metric)?;
    }
    let discarded = DISCARDED_ROUNDS.min(rounds / 2);
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..rounds + discarded {
        for (tool, samples) in tools.into_iter().zip(&mut samples) {
            tool.prepare(metric)?;
            let elapsed_ms = sample(tool, metric)?;
            tool.clean_up(metric)?;
            if round >= discarded {
                samples.push(elapsed_ms);
            }
        }
    }
    for tool in tools {
        tool.tear_down(metric)?;
    }
    let [ours, peer] = samples;
    Ok(Comparison::new(ours, peer))
}

fn sample(tool: &dyn Tool, metric: Metric) -> Result<f64> {
    let mut commands = tool.commands(metric);
    let measures_itself = metric.inner_script().is_some();
    let output = || if measures_itself { Stdio::piped() } else { Stdio::null() };
    let begin = Instant::now();
    let children: Vec<_> = commands
        .iter_mut()
        .map(|command| command.stdin(Stdio::null()).stdout(output()).stderr(Stdio::piped()).spawn())
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot run {}", tool.name()))?;
    let outputs: Vec<_> = children
        .into_iter()
        .map(std::process::Child::wait_with_output)
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot wait for {}", tool.name()))?;
    let elapsed_ms = begin.elapsed().as_secs_f64() * 1000.0;
    match outputs.iter().find(|output| !output.status.success()) {
        None if measures_itself => {
            let printed = outputs.first().map(|output| String::from_utf8_lossy(&output.stdout));
            folder_fixture::elapsed_ms(&printed.unwrap_or_default())
        }
        None => Ok(elapsed_ms),
        Some(output) => bail!(
            "{} failed at {metric:?}: {}\n{}",
            tool.name(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// Runs a command that is not measured; returns its stdout.
fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
