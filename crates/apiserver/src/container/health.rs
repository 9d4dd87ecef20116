//! Health checks: what they are, when they run, and what their results mean.
//!
//! A check is a further process of the container, run by a task for each run. Docker's rules: the
//! first check comes one interval after the start, of the start period if there is one; a success makes
//! the container healthy at once; `retries` failures in a row make it unhealthy, of which those within
//! the start period count only after the first success.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_api::health::{
    DEFAULT_START_INTERVAL_MS, HealthCheck, HealthCheckRequest, HealthCheckResult, HealthState, HealthStatus,
};
use bulkhead_api::request::ExecRequest;
use bulkhead_oci::Healthcheck;
use bulkhead_runtime_control::{DescriptorPurpose, Request};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::launch::Order;
use super::running::Run;
use super::{exec, signals};
use crate::date;
use crate::error::{invalid, printable};

const DEFAULT_INTERVAL_MS: u64 = 30_000;
const DEFAULT_TIMEOUT_MS: u64 = 30_000;
const DEFAULT_RETRIES: u32 = 3;
/// Docker's, too.
const REMEMBERED_RESULTS: usize = 5;
const MAXIMUM_OUTPUT_BYTES: usize = 4096;
/// Exit code of a check that could not be run or took too long.
const NOT_RUN: i32 = -1;
/// From KILL to the end of a check; one that does not end is left to the guest.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The flags over the image's HEALTHCHECK. `None`: nothing is checked.
pub(super) fn merge(
    request: &HealthCheckRequest,
    image: Option<&Healthcheck>,
) -> Result<Option<HealthCheck>, ApiError> {
    let wanted = HealthCheckRequest { disabled: false, ..request.clone() };
    if request.disabled {
        return match wanted == HealthCheckRequest::default() {
            true => Ok(None),
            false => Err(invalid("no health check and settings of one: choose one")),
        };
    }
    let command = match &request.command {
        Some(text) if text.trim().is_empty() => {
            return Err(invalid("the command of the health check is empty"));
        }
        Some(text) => Some(shell(text)),
        None => image.and_then(command_of_image),
    };
    let Some(command) = command else {
        // Docker takes settings without a check, too: another image may have one.
        return Ok(None);
    };
    if command.iter().any(|word| word.contains('\0')) {
        return Err(invalid("a word of the health check contains a zero byte"));
    }
    let from_image = |nanoseconds: fn(&Healthcheck) -> i64| {
        let nanoseconds = image.map_or(0, nanoseconds);
        u64::try_from(nanoseconds / 1_000_000).ok().filter(|milliseconds| *milliseconds > 0)
    };
    // Zero means that nothing was said (Docker's HealthConfig: "0 means inherit"); taken by its word, it
    // would do nothing but check.
    let span = |flag: Option<u64>, of_image: fn(&Healthcheck) -> i64| {
        flag.filter(|milliseconds| *milliseconds > 0).or_else(|| from_image(of_image))
    };
    let interval_ms = span(request.interval_ms, |check| check.interval_ns);
    let timeout_ms = span(request.timeout_ms, |check| check.timeout_ns);
    let start_interval_ms = span(request.start_interval_ms, |check| check.start_interval_ns);
    let of_image = image.and_then(|check| u32::try_from(check.retries).ok());
    let retries = [request.retries, of_image].into_iter().flatten().find(|retries| *retries > 0);
    Ok(Some(HealthCheck {
        command,
        interval_ms: interval_ms.unwrap_or(DEFAULT_INTERVAL_MS),
        timeout_ms: timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS),
        start_period_ms: request
            .start_period_ms
            .or_else(|| from_image(|check| check.start_period_ns))
            .unwrap_or(0),
        start_interval_ms: start_interval_ms.unwrap_or(DEFAULT_START_INTERVAL_MS),
        retries: retries.unwrap_or(DEFAULT_RETRIES),
    }))
}

/// `NONE`, nothing and nonsense check nothing.
fn command_of_image(check: &Healthcheck) -> Option<Vec<String>> {
    let (kind, words) = check.test.split_first()?;
    match (kind.as_str(), words) {
        ("CMD", [_, ..]) => Some(words.to_vec()),
        ("CMD-SHELL", [text]) => Some(shell(text)),
        _ => None,
    }
}

fn shell(text: &str) -> Vec<String> {
    ["/bin/sh", "-c", text].map(str::to_owned).into()
}

/// Takes a result into account. `started` is when the container did, RFC 3339.
pub(super) fn judge(
    status: &mut HealthStatus,
    check: &HealthCheck,
    result: HealthCheckResult,
    started: Option<&str>,
) {
    if result.exit_code == 0 {
        status.failing_streak = 0;
        status.status = HealthState::Healthy;
    } else {
        let patience = patience(status, check, started, &result.start);
        if patience.is_zero() {
            status.failing_streak = status.failing_streak.saturating_add(1);
        }
        if status.failing_streak >= check.retries {
            status.status = HealthState::Unhealthy;
        }
    }
    status.log.push(result);
    let surplus = status.log.len().saturating_sub(REMEMBERED_RESULTS);
    status.log.drain(..surplus);
}

/// How much is left, at this date, of the time in which failures do not count.
fn patience(status: &HealthStatus, check: &HealthCheck, started: Option<&str>, now: &str) -> Duration {
    let Some(started) = started.filter(|_| status.status == HealthState::Starting) else {
        return Duration::ZERO;
    };
    let left = i128::from(check.start_period_ms) - date::milliseconds_between(started, now);
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

/// Checks one run until it is dropped.
#[derive(Debug)]
pub(super) struct Monitor {
    task: JoinHandle<()>,
    results: mpsc::Receiver<HealthCheckResult>,
}

impl Monitor {
    /// The next result; `None` when the run has ended.
    pub(super) async fn next(&mut self) -> Option<HealthCheckResult> {
        self.results.recv().await
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to check. `started` is when the container did, RFC 3339.
pub(super) fn watch(
    run: &Arc<Run>,
    configuration: &Arc<ContainerConfiguration>,
    check: &HealthCheck,
    status: &HealthStatus,
    started: Option<&str>,
) -> Monitor {
    let (sender, results) = mpsc::channel(1);
    let (run, configuration, check) = (Arc::clone(run), Arc::clone(configuration), check.clone());
    let mut patient_until = Instant::now() + patience(status, &check, started, &date::now());
    let task = tokio::spawn(async move {
        loop {
            let is_patient = Instant::now() < patient_until;
            let pause_ms = if is_patient { check.start_interval_ms } else { check.interval_ms };
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            // Docker neither checks what stands still.
            let Some(moving) = run.moving() else { continue };
            let start = date::now();
            let (exit_code, output) = perform(&run, &configuration, &check).await;
            if run.moving() != Some(moving) {
                continue;
            }
            if exit_code == 0 {
                patient_until = Instant::now();
            }
            let result = HealthCheckResult { start, end: date::now(), exit_code, output };
            if sender.send(result).await.is_err() {
                return;
            }
        }
    });
    Monitor { task, results }
}

/// Exit code and output of one check.
async fn perform(
    run: &Arc<Run>,
    configuration: &ContainerConfiguration,
    check: &HealthCheck,
) -> (i32, String) {
    let request = ExecRequest { arguments: check.command.clone(), ..ExecRequest::default() };
    let process = match exec::specification(configuration, &request, &Order::default()) {
        Ok(process) => process,
        Err(error) => return (NOT_RUN, error.to_string()),
    };
    let (ours, theirs) = match pipe() {
        Ok(ends) => ends,
        Err(error) => return (NOT_RUN, format!("cannot make a pipe: {error}")),
    };
    let limit = Duration::from_millis(check.timeout_ms);
    let (number, ended) = run.expect_process();
    let descriptors = [DescriptorPurpose::Stdout, DescriptorPurpose::Stderr]
        .map(|purpose| (purpose, std::os::fd::AsFd::as_fd(&theirs)));
    let request = Request::StartProcess { number, process };
    if let Err(error) = run.request(request, &descriptors, exec::START_LIMIT).await {
        run.process_ended(number, None);
        return (NOT_RUN, printable(&error.to_string()));
    }
    drop(theirs);
    let reader = read(ours);
    tokio::pin!(ended);
    let finished = async { tokio::join!(&mut ended, reader) };
    if let Ok((status, output)) = tokio::time::timeout(limit, finished).await {
        return (status.map_or(NOT_RUN, |status| status.exit_code), output);
    }
    let kill = Request::Signal { number, signal: signals::KILL };
    if run.ask(kill).await.is_ok() {
        // The next check must not run beside it.
        drop(tokio::time::timeout(KILL_LIMIT, ended).await);
    }
    (NOT_RUN, format!("the health check took longer than {} ms and was killed", check.timeout_ms))
}

fn pipe() -> std::io::Result<(pipe::Receiver, std::os::fd::OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(ours)?, theirs))
}

/// All that comes, so that the check is not held up; the first of it is kept.
async fn read(mut pipe: pipe::Receiver) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; MAXIMUM_OUTPUT_BYTES];
    while let Ok(count) = pipe.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        let room = MAXIMUM_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(test: &[&str]) -> Healthcheck {
        Healthcheck {
            test: test.iter().map(|word| (*word).to_owned()).collect(),
            interval_ns: 2_000_000_000,
            retries: 7,
            ..Healthcheck::default()
        }
    }

    #[test]
    fn flags_go_before_the_image_and_the_image_before_the_defaults() {
        let flags = HealthCheckRequest { retries: Some(2), ..HealthCheckRequest::default() };
        let check = merge(&flags, Some(&image(&["CMD", "probe", "-x"]))).unwrap().unwrap();
        assert_eq!(check.command, ["probe", "-x"]);
        assert_eq!((check.interval_ms, check.timeout_ms, check.retries), (2000, 30_000, 2));
        let flags = HealthCheckRequest { command: Some("true".to_owned()), ..HealthCheckRequest::default() };
        assert_eq!(merge(&flags, None).unwrap().unwrap().command, ["/bin/sh", "-c", "true"]);
        let none = HealthCheckRequest::default();
        let of_image = |test: &[&str]| merge(&none, Some(&image(test))).unwrap().map(|check| check.command);
        assert_eq!(of_image(&["CMD-SHELL", "a | b"]).unwrap(), ["/bin/sh", "-c", "a | b"]);
        for test in [&["NONE"][..], &[], &["CMD"], &["CMD-SHELL"], &["NONSENSE", "x"]] {
            assert_eq!(of_image(test), None, "{test:?}");
        }
        let of_image =
            Healthcheck { start_interval_ns: 700_000_000, timeout_ns: -1, ..image(&["CMD", "probe"]) };
        assert_eq!(merge(&none, Some(&of_image)).unwrap().unwrap().start_interval_ms, 700);
        let disabled = HealthCheckRequest { disabled: true, ..HealthCheckRequest::default() };
        assert_eq!(merge(&disabled, Some(&image(&["CMD", "probe"]))).unwrap(), None);
        assert!(merge(&HealthCheckRequest { retries: Some(1), ..disabled }, None).is_err());
    }

    #[test]
    fn zero_is_the_default() {
        let zeros = HealthCheckRequest {
            command: Some("true".to_owned()),
            interval_ms: Some(0),
            timeout_ms: Some(0),
            start_period_ms: Some(0),
            start_interval_ms: Some(0),
            retries: Some(0),
            disabled: false,
        };
        let merged = |image: Option<&Healthcheck>| {
            let check = merge(&zeros, image).unwrap().unwrap();
            let spans = (check.interval_ms, check.timeout_ms, check.start_period_ms, check.start_interval_ms);
            (spans, check.retries)
        };
        assert_eq!(merged(None), ((30_000, 30_000, 0, 5000), 3));
        assert_eq!(merged(Some(&Healthcheck::default())), ((30_000, 30_000, 0, 5000), 3));
        assert_eq!(merged(Some(&image(&["CMD", "x"]))), ((2000, 30_000, 0, 5000), 7));
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_but_not_in_the_start_period() {
        let check = merge(
            &HealthCheckRequest { start_period_ms: Some(10_000), ..HealthCheckRequest::default() },
            Some(&image(&["CMD", "x"])),
        )
        .unwrap()
        .map(|check| HealthCheck { retries: 2, ..check })
        .unwrap();
        let mut status = HealthStatus::default();
        let started = "2026-01-01T00:00:00Z";
        let mut take = |second: u32, exit_code: i32| {
            let start = format!("2026-01-01T00:00:{second:02}Z");
            let result = HealthCheckResult { end: start.clone(), start, exit_code, output: String::new() };
            judge(&mut status, &check, result, Some(started));
            (status.status, status.failing_streak, status.log.len())
        };
        assert_eq!(take(1, 1), (HealthState::Starting, 0, 1));
        assert_eq!(take(9, 1), (HealthState::Starting, 0, 2));
        assert_eq!(take(10, 1), (HealthState::Starting, 1, 3));
        assert_eq!(take(11, NOT_RUN), (HealthState::Unhealthy, 2, 4));
        assert_eq!(take(12, 0), (HealthState::Healthy, 0, 5));
        assert_eq!(take(13, 1), (HealthState::Healthy, 1, 5));
        assert_eq!(take(14, 1), (HealthState::Unhealthy, 2, 5));
    }
}
