//! The one request of the guest that waits for events, and events that wait for it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::mask;
use super::table::Record;

/// What a guest that does not ask may make us keep.
const MAXIMUM_WAITING: usize = 16 * 1024;

/// A request that can be answered once.
pub(crate) trait Request: Send {
    /// How many bytes an answer may have.
    fn room(&self) -> usize;
    fn answer(self: Box<Self>, outcome: io::Result<&[u8]>);
}

#[derive(Default)]
pub(crate) struct Waiting(Mutex<State>);

#[derive(Default)]
struct State {
    request: Option<Box<dyn Request>>,
    records: VecDeque<Vec<u8>>,
    lost: bool,
}

impl Waiting {
    /// A guest that does not ask loses events, and is told so when it does.
    pub(crate) fn add(&self, record: &Record) {
        let mut state = self.lock();
        if state.records.len() >= MAXIMUM_WAITING {
            state.lost = true;
        } else {
            state.records.push_back(record.bytes());
        }
        state.serve();
    }

    /// Events are missing.
    pub(crate) fn lose(&self) {
        let mut state = self.lock();
        state.lost = true;
        state.serve();
    }

    /// Answers now or later; only one at a time.
    pub(crate) fn ask(&self, request: Box<dyn Request>) {
        let mut state = self.lock();
        if state.request.is_some() {
            return request.answer(Err(io::Error::from_raw_os_error(libc::EBUSY)));
        }
        state.request = Some(request);
        state.serve();
    }

    /// Gives the request back.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.records.clear();
        state.lost = false;
        if let Some(request) = state.request.take() {
            request.answer(Err(io::Error::from_raw_os_error(libc::ECANCELED)));
        }
    }

    /// The machine has begun anew, and knows of no request.
    pub(crate) fn forget(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn serve(&mut self) {
        if self.records.is_empty() && !self.lost {
            return;
        }
        let Some(request) = self.request.take() else { return };
        let room = request.room();
        let mut answer = Vec::new();
        while let Some(record) = self.records.pop_front() {
            if answer.len() + record.len() > room {
                self.records.push_front(record);
                break;
            }
            answer.extend(record);
        }
        // After those that came before.
        if self.lost && self.records.is_empty() {
            let record = Record { directory: 0, node: 0, mask: mask::OVERFLOW, cookie: 0, name: Vec::new() };
            let bytes = record.bytes();
            if answer.len() + bytes.len() <= room {
                answer.extend(bytes);
                self.lost = false;
            }
        }
        request.answer(if answer.is_empty() {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        } else {
            Ok(&answer)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    struct Asked {
        room: usize,
        answers: Sender<Result<Vec<u8>, i32>>,
    }

    impl Request for Asked {
        fn room(&self) -> usize {
            self.room
        }

        fn answer(self: Box<Self>, outcome: io::Result<&[u8]>) {
            let outcome = outcome.map(<[u8]>::to_vec).map_err(|error| error.raw_os_error().unwrap());
            self.answers.send(outcome).unwrap();
        }
    }

    fn ask(waiting: &Waiting, room: usize) -> Receiver<Result<Vec<u8>, i32>> {
        let (answers, answered) = channel();
        waiting.ask(Box::new(Asked { room, answers }));
        answered
    }

    fn record(node: u64) -> Record {
        Record { directory: 0, node, mask: mask::MODIFY, cookie: 0, name: Vec::new() }
    }

    #[test]
    fn a_request_waits_for_events_and_events_for_a_request() {
        let waiting = Waiting::default();
        let first = ask(&waiting, 4096);
        assert!(first.try_recv().is_err());
        assert_eq!(ask(&waiting, 4096).recv().unwrap(), Err(libc::EBUSY));
        waiting.add(&record(1));
        assert_eq!(first.recv().unwrap(), Ok(record(1).bytes()));
        for node in 2..5 {
            waiting.add(&record(node));
        }
        let two = [record(2).bytes(), record(3).bytes()].concat();
        assert_eq!(ask(&waiting, 70).recv().unwrap(), Ok(two));
        assert_eq!(ask(&waiting, 70).recv().unwrap(), Ok(record(4).bytes()));
        let last = ask(&waiting, 70);
        waiting.stop();
        assert_eq!(last.recv().unwrap(), Err(libc::ECANCELED));
        waiting.add(&record(5));
        assert_eq!(ask(&waiting, 3).recv().unwrap(), Err(libc::EINVAL));
    }

    #[test]
    fn what_does_not_fit_is_told_to_be_lost() {
        let waiting = Waiting::default();
        for node in 0..=MAXIMUM_WAITING as u64 {
            waiting.add(&record(node));
        }
        let answer = ask(&waiting, usize::MAX).recv().unwrap().unwrap();
        assert_eq!(answer.len(), (MAXIMUM_WAITING + 1) * 32);
        assert_eq!(answer[answer.len() - 16..][..4], mask::OVERFLOW.to_ne_bytes());
        let next = ask(&waiting, 4096);
        assert!(next.try_recv().is_err(), "told twice");
    }
}
