//! Restart policies: whether, and after which pause, a container that has ended is started again.

use std::time::Duration;

use bulkhead_api::restart::RestartPolicy;
use bulkhead_state::StateRecord;

/// Docker's: from a tenth of a second, doubling to a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A run that lasted so long was healthy: the pauses begin anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// The pauses of one container.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: RestartPolicy,
    next_pause: Duration,
}

impl Restarts {
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Self { policy, next_pause: FIRST_PAUSE }
    }

    /// Somebody starts it: whatever was before does not count.
    pub(super) fn reset(&mut self) {
        self.next_pause = FIRST_PAUSE;
    }

    /// The pause after a run that ended by itself and was the `count`-th restart; `None`: it stays
    /// stopped.
    pub(super) fn pause(&mut self, exit_code: i32, ran_for: Duration, count: u32) -> Option<Duration> {
        if !wants(self.policy, exit_code, count) {
            return None;
        }
        if ran_for >= HEALTHY_AFTER {
            self.reset();
        }
        let pause = self.next_pause;
        self.next_pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

fn wants(policy: RestartPolicy, exit_code: i32, count: u32) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { maximum_retries } => {
            exit_code != 0 && maximum_retries.is_none_or(|maximum| count < maximum)
        }
    }
}

/// Whether a container that does not run is started with the service, after an upgrade or a reboot.
/// One that was never started is not.
pub(super) fn starts_with_service(policy: RestartPolicy, state: &StateRecord) -> bool {
    let Some(exit) = &state.exit else { return false };
    let stopped = state.stopped_by_user && policy != RestartPolicy::Always;
    !stopped && wants(policy, exit.exit_code, state.restart_count)
}

#[cfg(test)]
mod tests {
    use bulkhead_state::ExitRecord;

    use super::*;

    const FAILURES: RestartPolicy = RestartPolicy::OnFailure { maximum_retries: Some(3) };
    const BRIEF: Duration = Duration::from_millis(10);

    #[test]
    fn f70_pauses_double_up_to_a_minute_and_begin_anew_after_a_healthy_run() {
        let mut restarts = Restarts::new(RestartPolicy::Always);
        let pauses: Vec<u128> =
            (0..12).map(|count| restarts.pause(0, BRIEF, count).unwrap().as_millis()).collect();
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000];
        assert_eq!(pauses, expected);
        assert_eq!(restarts.pause(0, HEALTHY_AFTER, 12), Some(FIRST_PAUSE));
        assert_eq!(restarts.pause(0, BRIEF, 13), Some(FIRST_PAUSE * 2));
        restarts.reset();
        assert_eq!(restarts.pause(0, BRIEF, 0), Some(FIRST_PAUSE));
    }

    #[test]
    fn policies_decide_by_exit_code_and_count() {
        let again = |policy, exit_code, count| Restarts::new(policy).pause(exit_code, BRIEF, count).is_some();
        assert!(!again(RestartPolicy::No, 1, 0));
        assert!(again(RestartPolicy::UnlessStopped, 0, 1000));
        assert!(!again(FAILURES, 0, 0));
        assert!(again(FAILURES, 1, 2));
        assert!(!again(FAILURES, 1, 3));
        assert!(again(RestartPolicy::OnFailure { maximum_retries: None }, 137, 1000));
    }

    #[test]
    fn f14_the_service_starts_what_docker_would() {
        let state = |exit_code: Option<i32>, stopped_by_user| StateRecord {
            exit: exit_code.map(|exit_code| ExitRecord {
                exit_code,
                finished_date: String::new(),
                oom_killed: false,
                reason: None,
            }),
            stopped_by_user,
            ..StateRecord::default()
        };
        let table = [
            (RestartPolicy::No, Some(1), false, false),
            (RestartPolicy::Always, None, false, false),
            (RestartPolicy::Always, Some(0), false, true),
            (RestartPolicy::Always, Some(143), true, true),
            (RestartPolicy::UnlessStopped, Some(0), false, true),
            (RestartPolicy::UnlessStopped, Some(143), true, false),
            (FAILURES, Some(0), false, false),
            (FAILURES, Some(137), false, true),
            (FAILURES, Some(143), true, false),
        ];
        for (policy, exit_code, stopped_by_user, expected) in table {
            let state = state(exit_code, stopped_by_user);
            assert_eq!(
                starts_with_service(policy, &state),
                expected,
                "{policy} {exit_code:?} {stopped_by_user}"
            );
        }
    }
}
