//! Fifty clients at once on ten names: every answer must be one that some order explains.

use std::thread;
use std::time::{Duration, Instant};

use bulkhead_tests::linearizability::{Model, Operation, is_linearizable};
use bulkhead_tests::{Installation, Outcome};

const CLIENTS: usize = 50;
const OPERATIONS_EACH: usize = 6;
const NAMES: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Start,
    Stop,
    Delete,
    DeleteForced,
    Exec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Exists,
    NotFound,
    Refused,
    /// exec: the container ended under it.
    CutOff,
    /// delete, while somebody started it: a start that comes to nothing is seen for a moment.
    RefusedWhileStarting,
    /// exec, while somebody deleted it by force: the container is seen stopped before it is gone.
    RefusedWhileDeleting,
    /// delete, while somebody else deleted it: both are told that it is gone.
    DoneTogether,
    /// A start that was cut short, or an exec that was cut off, while nobody ended the container.
    Unexplained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Container {
    Absent,
    Stopped,
    Running,
}

struct OneName;

impl Model for OneName {
    type Input = Verb;
    type Output = Answer;
    type State = Container;

    fn initial(&self) -> Container {
        Container::Absent
    }

    fn step(&self, state: &Container, verb: &Verb, answer: &Answer) -> Vec<Container> {
        use Container::{Absent, Running, Stopped};
        let next = match (verb, state, answer) {
            (Verb::Create, Absent, Answer::Done) => Some(Stopped),
            (Verb::Create, Stopped | Running, Answer::Exists) => Some(*state),
            (Verb::Create, ..) => None,
            (Verb::Delete | Verb::DeleteForced, Absent, Answer::DoneTogether) => Some(Absent),
            (Verb::DeleteForced, _, Answer::DoneTogether) | (Verb::Delete, Stopped, Answer::DoneTogether) => {
                Some(Absent)
            }
            (Verb::Delete, Stopped | Running, Answer::RefusedWhileStarting) => Some(*state),
            (_, Absent, Answer::NotFound) => Some(Absent),
            (_, Absent, _) | (_, _, Answer::NotFound | Answer::Exists) => None,
            (Verb::Start, _, Answer::Done) => Some(Running),
            // A forced delete ended it while it started.
            (Verb::Start, Stopped, Answer::Refused) => Some(Stopped),
            (Verb::Stop, _, Answer::Done) => Some(Stopped),
            (Verb::DeleteForced, _, Answer::Done) | (Verb::Delete, Stopped, Answer::Done) => Some(Absent),
            (Verb::Delete, Running, Answer::Refused) => Some(Running),
            (Verb::Exec, Running, Answer::Done | Answer::CutOff) => Some(Running),
            (Verb::Exec, Stopped, Answer::Refused) => Some(Stopped),
            (Verb::Exec, Stopped | Running, Answer::RefusedWhileDeleting) => Some(*state),
            _ => None,
        };
        next.into_iter().collect()
    }
}

fn perform(installation: &Installation, verb: Verb, name: &str) -> Outcome {
    let words: &[&str] = match verb {
        Verb::Create => {
            &["create", "--network", "none", "--memory", "200m", "--name", name, "demo", "sleep", "600"]
        }
        Verb::Start => &["start", name],
        Verb::Stop => &["stop", "--time", "0", name],
        Verb::Delete => &["delete", name],
        Verb::DeleteForced => &["delete", "--force", name],
        Verb::Exec => &["exec", name, "true"],
    };
    installation.container(words)
}

fn answer(verb: Verb, outcome: &Outcome) -> Answer {
    let code = outcome.stderr.strip_prefix("Error: ").and_then(|rest| rest.split(':').next());
    match (outcome.code, code) {
        (0, _) => Answer::Done,
        (_, Some("exists")) => Answer::Exists,
        (_, Some("notFound")) => Answer::NotFound,
        (_, Some("invalidState")) => Answer::Refused,
        // Killed with its machine, or asked of a machine that was being killed.
        (137 | 125, _) if verb == Verb::Exec => Answer::CutOff,
        _ => panic!("{verb:?} had no answer that anyone could explain: {outcome:?}"),
    }
}

/// What overlaps in time with what makes answers possible that no order of whole operations has.
fn consider_overlaps(history: &mut [Operation<Verb, Answer>]) {
    let before = history.to_vec();
    let deletes = |verb| matches!(verb, Verb::Delete | Verb::DeleteForced);
    let ends = |verb| matches!(verb, Verb::Stop | Verb::DeleteForced);
    for (index, operation) in history.iter_mut().enumerate() {
        let mut others = before
            .iter()
            .enumerate()
            .filter(|(other, one)| {
                *other != index && one.began < operation.ended && one.ended > operation.began
            })
            .map(|(_, one)| one);
        match (operation.input, operation.output) {
            (Verb::Delete, Answer::Refused) if others.any(|one| one.input == Verb::Start) => {
                operation.output = Answer::RefusedWhileStarting;
            }
            (Verb::Exec, Answer::Refused)
                if others.any(|one| one.input == Verb::DeleteForced && one.output == Answer::Done) =>
            {
                operation.output = Answer::RefusedWhileDeleting;
            }
            (Verb::Start, Answer::Refused) | (Verb::Exec, Answer::CutOff)
                if !others.any(|one| ends(one.input)) =>
            {
                operation.output = Answer::Unexplained;
            }
            (verb, Answer::Done)
                if deletes(verb) && others.any(|one| deletes(one.input) && one.output == Answer::Done) =>
            {
                operation.output = Answer::DoneTogether;
            }
            _ => {}
        }
    }
}

/// Knuth's multiplicative generator: the test is the same in every run but for its timing.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn f51_every_answer_is_explained_by_some_order() {
    let installation = Installation::with_demo();
    let histories: Vec<Vec<(usize, Operation<Verb, Answer>)>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let installation = &installation;
                scope.spawn(move || {
                    let mut seed = client as u64 + 1;
                    let mut history = Vec::new();
                    for _ in 0..OPERATIONS_EACH {
                        thread::sleep(Duration::from_millis(next(&mut seed) % 400));
                        let name = usize::try_from(next(&mut seed)).unwrap() % NAMES;
                        let verb = [
                            Verb::Create,
                            Verb::Create,
                            Verb::Start,
                            Verb::Start,
                            Verb::Stop,
                            Verb::Delete,
                            Verb::DeleteForced,
                            Verb::Exec,
                            Verb::Exec,
                        ][usize::try_from(next(&mut seed)).unwrap() % 9];
                        let began = Instant::now();
                        let outcome = perform(installation, verb, &format!("name-{name}"));
                        let ended = Instant::now();
                        let output = answer(verb, &outcome);
                        history.push((name, Operation { client, input: verb, output, began, ended }));
                    }
                    history
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let all: Vec<_> = histories.into_iter().flatten().collect();
    assert!(
        all.iter().filter(|(_, operation)| operation.output == Answer::Done).count() > 50,
        "nothing happened"
    );
    for name in 0..NAMES {
        let mut history: Vec<_> =
            all.iter().filter(|(of, _)| *of == name).map(|(_, operation)| operation.clone()).collect();
        history.sort_by_key(|operation| operation.began);
        consider_overlaps(&mut history);
        let begin = history.first().map(|operation| operation.began);
        let shown: Vec<String> = history
            .iter()
            .map(|one| {
                let since = |instant: Instant| instant.duration_since(begin.unwrap()).as_millis();
                format!("{:>5}-{:<5} {:?} -> {:?}", since(one.began), since(one.ended), one.input, one.output)
            })
            .collect();
        assert!(
            is_linearizable(&OneName, &history),
            "name-{name} cannot be explained:\n{}",
            shown.join("\n")
        );
    }
    for id in installation.ids() {
        installation.run_ok(&["delete", "--force", &id]);
    }
    assert!(installation.container_leftovers().is_empty());
}
