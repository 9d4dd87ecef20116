//! Answers of the host's resolvers, for as long as their records live.
//!
//! The key is the transport and the whole query but for its id: what is asked differently, with other flags or options, is
//! another question.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::message::{self, HEADER_BYTES};
use super::upstream::Transport;

/// Answers of all networks together.
const MAXIMUM_ENTRIES: usize = 1024;
/// The longest of them.
const MAXIMUM_BYTES: usize = 1232;
/// Whatever a record says: what has changed is seen by then.
const LONGEST: Duration = Duration::from_secs(300);
/// Of names that do not exist, or not in this type (RFC 2308, section 5 leaves a bound to us).
const LONGEST_NEGATIVE: Duration = Duration::from_secs(30);

/// What was asked, and with which answer.
#[derive(Debug, Default)]
pub(super) struct Cache {
    known: Mutex<HashMap<(Transport, Vec<u8>), Known>>,
}

#[derive(Debug)]
struct Known {
    response: Vec<u8>,
    since: Instant,
    lives: Duration,
}

impl Cache {
    /// The answer to a query, with its id and with what is left of its records' lives.
    pub(super) fn find(&self, transport: Transport, query: &[u8]) -> Option<Vec<u8>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(transport, query)?;
        let found = known.get(&key)?;
        let age = found.since.elapsed();
        if age >= found.lives {
            known.remove(&key);
            return None;
        }
        let mut response = found.response.clone();
        response[..2].copy_from_slice(&query[..2]);
        let age_s = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        message::visit_lives(&mut response, |life_s| life_s.saturating_sub(age_s))?;
        Some(response)
    }

    /// Keeps an answer, if it may be kept.
    pub(super) fn keep(&self, transport: Transport, query: &[u8], response: &[u8]) {
        let Some(lives) = life(response) else { return };
        let Some(key) = key(transport, query) else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAXIMUM_ENTRIES && !known.contains_key(&key) {
            known.retain(|_, one| one.since.elapsed() < one.lives);
            let soonest = known.iter().min_by_key(|(_, one)| one.lives.saturating_sub(one.since.elapsed()));
            if let (true, Some(soonest)) =
                (known.len() >= MAXIMUM_ENTRIES, soonest.map(|(key, _)| key.clone()))
            {
                known.remove(&soonest);
            }
        }
        known.insert(key, Known { response: response.to_vec(), since: Instant::now(), lives });
    }
}

/// What a client takes depends on how it asked: an answer over TCP may be too long for a datagram.
fn key(transport: Transport, query: &[u8]) -> Option<(Transport, Vec<u8>)> {
    Some((transport, query.get(2..)?.to_vec()))
}

/// How long a response may be kept: none that is truncated or tells of a failure.
fn life(response: &[u8]) -> Option<Duration> {
    if response.len() > MAXIMUM_BYTES || response.len() < HEADER_BYTES || message::is_truncated(response) {
        return None;
    }
    let longest = match (response[3] & 15, response[6..8] != [0, 0]) {
        (0, true) => LONGEST,
        // Without data, or without the name.
        (0, false) | (3, _) => LONGEST_NEGATIVE,
        _ => return None,
    };
    let mut shortest_s = None::<u32>;
    message::visit_lives(&mut response.to_vec(), |life_s| {
        shortest_s = Some(shortest_s.map_or(life_s, |shortest| shortest.min(life_s)));
        life_s
    })?;
    // A negative answer without the zone's SOA record says nothing of its life.
    let life = Duration::from_secs(shortest_s?.into()).min(longest);
    (!life.is_zero()).then_some(life)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for "x", and a response with one record of this life in the section with this counter.
    fn exchange(code: u8, section: usize, life_s: u32) -> (Vec<u8>, Vec<u8>) {
        let query = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x01x\0\0\x01\0\x01"].concat();
        let mut response = query.clone();
        response[2] |= 0x80;
        response[3] = code;
        response[section + 1] = 1;
        response.extend([0xc0, 12, 0, 1, 0, 1]);
        response.extend(life_s.to_be_bytes());
        response.extend([0, 4, 1, 2, 3, 4]);
        (query, response)
    }

    #[test]
    fn answers_are_kept_for_as_long_as_they_live_and_no_longer_than_we_want() {
        assert_eq!(life(&exchange(0, 6, 60).1), Some(Duration::from_secs(60)));
        assert_eq!(life(&exchange(0, 6, 86_400).1), Some(LONGEST));
        assert_eq!(life(&exchange(3, 8, 86_400).1), Some(LONGEST_NEGATIVE));
        assert_eq!(life(&exchange(0, 8, 5).1), Some(Duration::from_secs(5)));
        // Failures, lives of no length, truncated and broken ones.
        assert_eq!(life(&exchange(2, 6, 60).1), None);
        assert_eq!(life(&exchange(0, 6, 0).1), None);
        let mut truncated = exchange(0, 6, 60).1;
        truncated[2] |= 2;
        assert_eq!(life(&truncated), None);
        let response = exchange(0, 6, 60).1;
        assert_eq!(life(&response[..response.len() - 1]), None);
    }

    #[test]
    fn the_same_question_has_the_same_answer_with_another_id() {
        let cache = Cache::default();
        let (mut query, response) = exchange(0, 6, 60);
        cache.keep(Transport::Udp, &query, &response);
        query[1] = 9;
        assert_eq!(cache.find(Transport::Tcp, &query), None);
        let found = cache.find(Transport::Udp, &query).unwrap();
        assert_eq!((found[1], &found[12..]), (9, &response[12..]));
        // Asked with another flag.
        query[3] = 0x10;
        assert_eq!(cache.find(Transport::Udp, &query), None);
    }

    #[test]
    fn f75_no_more_is_kept_than_there_is_room_for() {
        let cache = Cache::default();
        let (query, response) = exchange(0, 6, 60);
        for number in 0..2 * MAXIMUM_ENTRIES {
            let key = [&query[..], &number.to_be_bytes()].concat();
            cache.keep(Transport::Udp, &key, &response);
            assert!(cache.find(Transport::Udp, &key).is_some());
        }
        assert_eq!(cache.known.lock().unwrap().len(), MAXIMUM_ENTRIES);
    }
}
