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
    let mut printed = 0;
    let mut failed = false;
    while let Some(joined) = running.join_next().await {
        let Ok((index, outcome)) = joined else {
            failed = true;
            continue;
        };
        match order {
            Order::Completion => failed |= !conclude(outcome)?,
            Order::Argument => {
                outcomes[index] = Some(outcome);
                while let Some(outcome) = outcomes.get_mut(printed).and_then(Option::take) {
                    failed |= !conclude(outcome)?;
                    printed += 1;
                }
            }
        }
    }
    Ok(if failed { ExitStatus::Failure } else { ExitStatus::Success })
}

fn conclude(outcome: Result<String, Failure>) -> Result<bool, Failure> {
    match outcome {
        Ok(text) => output::print(&escape::text(&text)).map(|()| true),
        Err(failure) => {
            failure.report(OwnFailure::Plain);
            Ok(false)
        }
    }
}
