//! What passes between a container and the rest of the world, in both tools and, for bytes, on the
//! host's own veth: throughput by iperf3, requests by wrk to nginx as Debian configures it, and to Python's own
//! web server, which is what many an application is: an interpreter that is busier than the system beneath it.
//!
//! The other host is [`Elsewhere`]: containers reach it as they reach the Internet, by the host's
//! routes and rules.

mod elsewhere;

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::statistics::{Comparison, Spread};
use crate::{DISCARDED_ROUNDS, Tool, run};
use elsewhere::Elsewhere;

/// Of one sample.
const SECONDS: &str = "2";
/// Containers of both tools have this name and these ports.
pub(crate) const CONTAINER: &str = "servers";
pub(crate) const IPERF_PORT: u16 = 5201;
pub(crate) const HTTP_PORT: u16 = 80;
pub(crate) const PYTHON_PORT: u16 = 8000;
/// nginx ends with the container; the others go to the background. What is served is nginx's first page.
pub(crate) const SERVE: [&str; 3] = [
    "sh",
    "-c",
    "iperf3 --server --daemon && \
     { python3 -m http.server --directory /var/www/html 8000 2>/dev/null & } && \
     cp /var/www/html/index.nginx-debian.html /var/www/html/index.html && exec nginx -g 'daemon off;'",
];
/// Connections of wrk, all at once.
const CONNECTIONS: &str = "32";
/// Samples take seconds, so there are fewer.
const ROUNDS_DIVISOR: usize = 6;
const UP_ATTEMPTS: usize = 100;
const UP_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Where a tool's servers are reached on the host's loopback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) iperf: u16,
    pub(crate) http: u16,
    pub(crate) python: u16,
}

impl Published {
    /// Ports that are free now.
    pub(crate) fn choose() -> Result<Self> {
        let listeners = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0"));
        let [iperf, http, python] =
            listeners.map(|listener| listener.and_then(|one| one.local_addr()).map(|address| address.port()));
        Ok(Self {
            iperf: iperf.context("loopback")?,
            http: http.context("loopback")?,
            python: python.context("loopback")?,
        })
    }

    /// Values of `-p`.
    pub(crate) fn flags(self) -> [String; 3] {
        [(self.iperf, IPERF_PORT), (self.http, HTTP_PORT), (self.python, PYTHON_PORT)]
            .map(|(host, container)| format!("--publish=127.0.0.1:{host}:{container}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Outward,
    Inward,
    PublishedInward,
    PublishedOutward,
    Requests,
    Connections,
    Python,
}

impl Metric {
    const ALL: [Self; 7] = [
        Self::Outward,
        Self::Inward,
        Self::PublishedInward,
        Self::PublishedOutward,
        Self::Requests,
        Self::Connections,
        Self::Python,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Outward => "container to other host, Gb/s",
            Self::Inward => "other host to container, Gb/s",
            Self::PublishedInward => "into a published port, Gb/s",
            Self::PublishedOutward => "out of a published port, Gb/s",
            Self::Requests => "requests/s, connections kept",
            Self::Connections => "requests/s, one a connection",
            Self::Python => "requests/s, Python's http.server",
        }
    }
}

/// Prints throughputs and requests of both tools, side by side; higher is better.
pub(crate) fn print(tools: [&dyn Tool; 2], rounds: usize) -> Result<()> {
    let _elsewhere = Elsewhere::new()?;
    let mut published = Vec::new();
    for tool in tools {
        published.push(tool.start_servers()?);
    }
    for ports in &published {
        wait_until_up(ports.http)?;
        wait_until_up(ports.python)?;
    }
    let cell = "p50 (min-max)";
    println!("{:<32} {:>22} {:>22} {:>22}", "", "bulkhead", "podman + runc", "native veth");
    println!("{:<32} {cell:>22} {cell:>22} {cell:>22}   ratio of p50 (95 % interval, p)", "");
    for metric in Metric::ALL {
        measure(metric, tools, &published, rounds.div_ceil(ROUNDS_DIVISOR))?;
    }
    for tool in tools {
        tool.remove(&[CONTAINER.to_owned()])?;
    }
    Ok(())
}

fn measure(metric: Metric, tools: [&dyn Tool; 2], published: &[Published], rounds: usize) -> Result<()> {
    let discarded = DISCARDED_ROUNDS.min(rounds / 2);
    let (mut samples, mut native) = (vec![Vec::new(); tools.len()], Vec::new());
    for round in 0..rounds + discarded {
        let is_kept = round >= discarded;
        for ((tool, ports), samples) in tools.iter().zip(published).zip(&mut samples) {
            let value = sample(metric, *tool, *ports)
                .with_context(|| format!("{} failed at {metric:?}", tool.name()))?;
            samples.extend(is_kept.then_some(value));
        }
        if let Some(value) = sample_native(metric)? {
            native.extend(is_kept.then_some(value));
        }
    }
    let [ours, peer] = &samples[..] else { bail!("two tools are compared") };
    let to_peer = Comparison::new(ours.clone(), peer.clone());
    print!("{:<32} {:>22} {:>22}", metric.title(), Spread(ours), Spread(peer));
    if native.is_empty() {
        println!(" {:>22}   to podman {}", "", to_peer.judgement());
    } else {
        let to_native = Comparison::new(ours.clone(), native.clone());
        println!(
            " {:>22}   to podman {}, to native {}",
            Spread(&native),
            to_peer.judgement(),
            to_native.judgement()
        );
    }
    Ok(())
}

fn sample(metric: Metric, tool: &dyn Tool, ports: Published) -> Result<f64> {
    match metric {
        Metric::Outward | Metric::Inward => {
            let mut words = vec!["iperf3"];
            words.extend(iperf_words(elsewhere::ADDRESS, metric == Metric::Inward));
            iperf_gigabits(&run(&mut tool.inside(CONTAINER, &words))?)
        }
        Metric::PublishedInward | Metric::PublishedOutward => {
            let port = ports.iperf.to_string();
            let mut client = Command::new("iperf3");
            client.args(iperf_words("127.0.0.1", metric == Metric::PublishedOutward)).args(["--port", &port]);
            iperf_gigabits(&run(&mut client)?)
        }
        Metric::Requests => requests(ports.http, &[]),
        Metric::Connections => requests(ports.http, &["--header", "Connection: close"]),
        Metric::Python => requests(ports.python, &[]),
    }
}

/// The host's own veth towards the same server.
fn sample_native(metric: Metric) -> Result<Option<f64>> {
    let is_reverse = match metric {
        Metric::Outward | Metric::PublishedInward => false,
        Metric::Inward | Metric::PublishedOutward => true,
        Metric::Requests | Metric::Connections | Metric::Python => return Ok(None),
    };
    let printed = run(Command::new("iperf3").args(iperf_words(elsewhere::ADDRESS, is_reverse)))?;
    iperf_gigabits(&printed).map(Some)
}

fn iperf_words(server: &str, is_reverse: bool) -> Vec<&str> {
    let mut words = vec!["--json", "--time", SECONDS, "--client", server];
    if is_reverse {
        words.push("--reverse");
    }
    words
}

/// What arrived at the receiver.
fn iperf_gigabits(printed: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(printed).context("iperf3 printed no JSON")?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    bits.filter(|bits| *bits > 0.0)
        .map(|bits| bits / 1e9)
        .with_context(|| format!("iperf3 transferred nothing: {}", report["error"]))
}

fn requests(port: u16, more: &[&str]) -> Result<f64> {
    let url = format!("http://127.0.0.1:{port}/");
    let duration = format!("{SECONDS}s");
    let mut client = Command::new("wrk");
    client.args(["--threads", "1", "--connections", CONNECTIONS, "--duration", &duration]);
    requests_per_second(&run(client.args(more).arg(url))?)
}

/// Fails where some requests did: a fast refusal must not count.
fn requests_per_second(printed: &str) -> Result<f64> {
    let field = |name: &str| printed.lines().find_map(|line| line.trim().strip_prefix(name));
    if field("Socket errors:").is_some() || field("Non-2xx").is_some() {
        bail!("requests failed:\n{printed}");
    }
    let rate = field("Requests/sec:").and_then(|rate| rate.trim().parse().ok());
    rate.filter(|rate| *rate > 0.0).with_context(|| format!("wrk got no answer:\n{printed}"))
}

fn wait_until_up(port: u16) -> Result<()> {
    for _ in 0..UP_ATTEMPTS {
        // A listening proxy says nothing about the server behind it.
        let probe = Command::new("wrk")
            .args(["--threads", "1", "--connections", "1", "--duration", "1s"])
            .arg(format!("http://127.0.0.1:{port}/"))
            .output()
            .context("wrk is missing: apt-get install wrk iperf3")?;
        if requests_per_second(&String::from_utf8_lossy(&probe.stdout)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(UP_PAUSE);
    }
    bail!("no server comes up at port {port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_failures_do_not_count() {
        let good = "  2 threads and 10 connections\nRequests/sec:   1234.50\nTransfer/sec:      1.00MB\n";
        assert!((requests_per_second(good).unwrap() - 1234.5).abs() < 0.01);
        let bad = [
            &format!("  Socket errors: connect 0, read 3, write 0, timeout 0\n{good}"),
            &format!("  Non-2xx or 3xx responses: 5\n{good}"),
            "Requests/sec:      0.00\n",
            "",
        ];
        for bad in bad {
            assert!(requests_per_second(bad).is_err(), "{bad}");
        }
        let report = r#"{"end":{"sum_sent":{"bits_per_second":3e9},"sum_received":{"bits_per_second":2e9}}}"#;
        assert!((iperf_gigabits(report).unwrap() - 2.0).abs() < 0.01);
        assert!(
            iperf_gigabits(r#"{"error":"unable to connect"}"#).unwrap_err().to_string().contains("unable")
        );
    }
}
