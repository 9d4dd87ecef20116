//! Verbs that act on several objects: on every one, whatever became of the others.

use std::future::Future;

use tokio::task::{JoinSet, LocalSet};

use crate::exit_status::{ExitStatus, OwnFailure};
use crate::failure::Failure;
use crate::output;
use crate::output::escape;

/// In which order ids of successes are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Completion,
    Argument,
}

/// Acts on all ids at once; prints those that succeeded, reports the others, fails if there are any.
pub(super) async fn for_each<Work>(
    ids: Vec<String>,
    order: Order,
    act: impl Fn(String) -> Work,
) -> Result<ExitStatus, Failure>
where
    Work: Future<Output = Result<(), Failure>> + 'static,
{
    print_each(ids, order, |id| {
        let work = act(id.clone());
        async move { work.await.map(|()| id) }
    })
    .await
}

/// As [`for_each`], printing what came of each success.
pub(super) async fn print_each<Work>(
    ids: Vec<String>,
    order: Order,
    act: impl Fn(String) -> Work,
) -> Result<ExitStatus, Failure>
where
    Work: Future<Output = Result<String, Failure>> + 'static,
{
    // On this thread: what repeats requests cannot promise to go to another.
    LocalSet::new().run_until(act_on_all(ids, order, act)).await
}

async fn act_on_all<Work>(
    ids: Vec<String>,
    order: Order,
    act: impl Fn(String) -> Work,
) -> Result<ExitStatus, Failure>
where
    Work: Future<Output = Result<String, Failure>> + 'static,
{
    let mut running = JoinSet::new();
    for (index, id) in ids.iter().enumerate() {
        let work = act(id.clone());
        running.spawn_local(async move { (index, work.await) });
    }
    let mut outcomes: Vec<Option<Result<String, Failure>>> = ids.iter().map(|_| None).collect();
    let mut concluded = 0;
    let mut result = Conclusion::default();
    while let Some(joined) = running.join_next().await {
        let Ok((index, outcome)) = joined else {
            result.failed = true;
            continue;
        };
        match order {
            Order::Completion => result.add(outcome),
            Order::Argument => {
                outcomes[index] = Some(outcome);
                while let Some(outcome) = outcomes.get_mut(concluded).and_then(Option::take) {
                    result.add(outcome);
                    concluded += 1;
                }
            }
        }
    }
    result.finish()
}

/// What came of all of them.
#[derive(Debug, Default)]
struct Conclusion {
    failed: bool,
    /// Nobody reads the successes any more, which keeps nothing from being done.
    unprinted: Option<Failure>,
}

impl Conclusion {
    fn add(&mut self, outcome: Result<String, Failure>) {
        match outcome {
            Ok(text) if self.unprinted.is_none() => {
                self.unprinted = output::print(&escape::text(&text)).err()
            }
            Ok(_) => {}
            Err(failure) => {
                failure.report(OwnFailure::Plain);
                self.failed = true;
            }
        }
    }

    fn finish(self) -> Result<ExitStatus, Failure> {
        match self.unprinted {
            Some(failure) if self.failed => {
                failure.report(OwnFailure::Plain);
                Ok(ExitStatus::Failure)
            }
            Some(failure) => Err(failure),
            None if self.failed => Ok(ExitStatus::Failure),
            None => Ok(ExitStatus::Success),
        }
    }
}
