//! Measures whole commands of this project and of podman + runc, side by side.
//!
//! Both tools run the demo image, in turn, round after round, so that a busy machine is as busy for
//! one as for the other. The first rounds are thrown away. A sample that exits with another status
//! than 0 ends the benchmark: a fast failure must not count. The result of a metric is the ratio of
//! the medians, with a bootstrap interval and the p-value of a permutation test.
//!
//! `cargo xtask bench [rounds]`; 30 rounds unless said otherwise.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

mod bulkhead;
mod facts;
mod podman;
mod statistics;

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::statistics::Comparison;

const DISCARDED_ROUNDS: usize = 3;

/// One of the compared tools, ready to run.
trait Tool {
    /// Name in the table.
    fn name(&self) -> &'static str;
    /// The command of a metric.
    fn command(&self, metric: Metric) -> Command;
    /// Work before each sample that is not measured.
    fn prepare(&self, metric: Metric) -> Result<()>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    /// `run --rm demo true`, default network.
    StartDefaultNetwork,
    /// The same without network.
    StartNoNetwork,
    /// `exec` of `true` in a running container.
    Exec,
    /// `rm -f` of a running container.
    RemoveRunning,
}

impl Metric {
    const ALL: [Self; 4] = [Self::StartDefaultNetwork, Self::StartNoNetwork, Self::Exec, Self::RemoveRunning];

    fn title(self) -> &'static str {
        match self {
            Self::StartDefaultNetwork => "run --rm true, default network",
            Self::StartNoNetwork => "run --rm true, no network",
            Self::Exec => "exec true",
            Self::RemoveRunning => "rm -f of a running one",
        }
    }
}

fn main() -> Result<()> {
    let rounds = match std::env::args().nth(1) {
        Some(word) => word.parse().with_context(|| format!("'{word}' is not a number of rounds"))?,
        None => 30,
    };
    let folder = std::env::temp_dir().join(format!("bh-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    facts::print();
    {
        let ours = bulkhead::Bulkhead::new(&folder)?;
        let peer = podman::Podman::new(&folder)?;
        println!("\n{:<32} {:>24} {:>24}   ratio of p50", "", "bulkhead", "podman + runc");
        println!(
            "{:<32} {:>24} {:>24}   (95 % interval, p)",
            "", "p50 / p90 / min, ms", "p50 / p90 / min, ms"
        );
        for metric in Metric::ALL {
            let comparison = compare(&ours, &peer, metric, rounds)?;
            println!("{:<32} {comparison}", metric.title());
        }
    }
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

fn compare(ours: &dyn Tool, peer: &dyn Tool, metric: Metric, rounds: usize) -> Result<Comparison> {
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..rounds + DISCARDED_ROUNDS {
        for (tool, samples) in [ours, peer].into_iter().zip(&mut samples) {
            tool.prepare(metric)?;
            let elapsed_ms = sample(tool, metric)?;
            if round >= DISCARDED_ROUNDS {
                samples.push(elapsed_ms);
            }
        }
    }
    let [ours, peer] = samples;
    Ok(Comparison::new(ours, peer))
}

fn sample(tool: &dyn Tool, metric: Metric) -> Result<f64> {
    let mut command = tool.command(metric);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let output = command.output().with_context(|| format!("cannot run {}", tool.name()))?;
    let elapsed_ms = begin.elapsed().as_secs_f64() * 1000.0;
    if !output.status.success() {
        bail!(
            "{} failed at {metric:?}: {}\n{}",
            tool.name(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(elapsed_ms)
}

/// Runs a command that is not measured.
fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
