//! Checks histories of concurrent operations against a sequential model (Wing and Gong, "Testing and
//! Verifying Concurrent Objects", 1993): is there an order of the operations that keeps to real time
//! and that the model allows?

use std::collections::HashSet;
use std::fmt::Debug;
use std::time::Instant;

/// An operation that began and ended.
#[derive(Clone, Debug)]
pub struct Operation<I, O> {
    /// Who did it, for messages.
    pub client: usize,
    /// What was asked.
    pub input: I,
    /// What came of it.
    pub output: O,
    /// When it was asked.
    pub began: Instant,
    /// When the answer was there.
    pub ended: Instant,
}

/// What one object would do if nothing ever happened at once.
pub trait Model {
    /// What is asked.
    type Input: Debug;
    /// What comes of it.
    type Output: Debug;
    /// What the object remembers.
    type State: Clone + Eq + std::hash::Hash + Debug;

    /// Before anything is asked.
    fn initial(&self) -> Self::State;

    /// The states that the operation may lead to; none: it cannot have this output.
    fn step(&self, state: &Self::State, input: &Self::Input, output: &Self::Output) -> Vec<Self::State>;
}

/// Whether the history of one object can be explained.
pub fn is_linearizable<M: Model>(model: &M, history: &[Operation<M::Input, M::Output>]) -> bool {
    let mut seen = HashSet::new();
    let mut pending = vec![(vec![false; history.len()], model.initial())];
    while let Some((done, state)) = pending.pop() {
        // Whatever ended first among the open ones bounds what may come next.
        let open = || history.iter().enumerate().filter(|(index, _)| !done[*index]);
        let Some(bound) = open().map(|(_, operation)| operation.ended).min() else { return true };
        for (index, operation) in open().filter(|(_, operation)| operation.began <= bound) {
            for next in model.step(&state, &operation.input, &operation.output) {
                let mut done = done.clone();
                done[index] = true;
                if seen.insert((done.clone(), next.clone())) {
                    pending.push((done, next));
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A register: `Some` writes, `None` reads.
    struct Register;

    impl Model for Register {
        type Input = Option<u8>;
        type Output = u8;
        type State = u8;

        fn initial(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, input: &Option<u8>, output: &u8) -> Vec<u8> {
            match input {
                Some(value) => vec![*value],
                None if output == state => vec![*state],
                None => Vec::new(),
            }
        }
    }

    fn history(operations: &[(Option<u8>, u8, u64, u64)]) -> Vec<Operation<Option<u8>, u8>> {
        let zero = Instant::now();
        let at = |milliseconds| zero + Duration::from_millis(milliseconds);
        let operation = |(input, output, began, ended): &(Option<u8>, u8, u64, u64)| Operation {
            client: 0,
            input: *input,
            output: *output,
            began: at(*began),
            ended: at(*ended),
        };
        operations.iter().map(operation).collect()
    }

    #[test]
    fn an_order_that_keeps_to_real_time_must_exist() {
        let cases = [
            // Reads may see either value while the write is under way …
            (&[(Some(1), 0, 0, 10), (None, 0, 1, 2), (None, 1, 3, 4)][..], true),
            // … but not the new one and then the old one,
            (&[(Some(1), 0, 0, 10), (None, 1, 1, 2), (None, 0, 3, 4)], false),
            // nor the old one after the write has ended,
            (&[(Some(1), 0, 0, 1), (None, 0, 2, 3)], false),
            // nor a value that nobody wrote.
            (&[(Some(1), 0, 0, 9), (None, 2, 1, 2)], false),
        ];
        for (operations, expected) in cases {
            assert_eq!(is_linearizable(&Register, &history(operations)), expected, "{operations:?}");
        }
    }
}
