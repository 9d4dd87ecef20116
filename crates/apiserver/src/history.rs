//! What happened to containers, images, networks and volumes, remembered for a while and told to whoever listens.
//!
//! Nobody waits for a listener: one that is slower than the events misses some and is told how many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::system_event::{SystemEvent, SystemEventKind};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::date;

/// Events that are remembered, and those that a listener may be behind.
const REMEMBERED: usize = 1000;
/// Of a container's labels, which an image may choose, in each of its events.
const LABEL_BYTES: usize = 8 * 1024;

/// Everything that happened lately.
#[derive(Debug)]
pub(crate) struct History {
    remembered: Mutex<VecDeque<Arc<SystemEvent>>>,
    listeners: broadcast::Sender<Arc<SystemEvent>>,
}

/// Events in their order, the past ones first.
#[derive(Debug)]
pub(crate) struct Listener {
    past: VecDeque<Arc<SystemEvent>>,
    to_come: broadcast::Receiver<Arc<SystemEvent>>,
}

impl Default for History {
    fn default() -> Self {
        Self { remembered: Mutex::default(), listeners: broadcast::Sender::new(REMEMBERED) }
    }
}

impl History {
    /// Something happened to a container.
    pub(crate) fn container(
        &self,
        configuration: &ContainerConfiguration,
        action: &str,
        attributes: &[(&str, String)],
    ) {
        let mut room_bytes = LABEL_BYTES;
        let fits = |(name, value): &(&String, &String)| {
            room_bytes = room_bytes.saturating_sub(name.len() + value.len());
            room_bytes > 0
        };
        let labels = configuration.labels.iter().take_while(fits);
        let mut all: BTreeMap<_, _> = labels.map(|(name, value)| (name.clone(), value.clone())).collect();
        all.insert("image".to_owned(), configuration.image.reference.clone());
        all.extend(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.record(SystemEventKind::Container, action, &configuration.id, all);
    }

    /// Something happened to an image.
    pub(crate) fn image(&self, action: &str, reference: &str, attributes: &[(&str, String)]) {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.record(SystemEventKind::Image, action, reference, attributes);
    }

    /// Something happened to a network, perhaps with a container.
    pub(crate) fn network(&self, action: &str, name: &str, container: Option<&str>) {
        let attributes = container.map(|id| ("container".to_owned(), id.to_owned())).into_iter().collect();
        self.record(SystemEventKind::Network, action, name, attributes);
    }

    /// Something happened to a volume.
    pub(crate) fn volume(&self, action: &str, name: &str) {
        self.record(SystemEventKind::Volume, action, name, BTreeMap::new());
    }

    fn record(&self, kind: SystemEventKind, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock may be set back; the order of events must not be (F65).
        let time_us = date::now_us().max(remembered.back().map_or(i64::MIN, |last| last.time_us));
        let event = Arc::new(event(time_us, kind, action, id, attributes));
        if remembered.len() == REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(Arc::clone(&event));
        // Nobody listens: fine. Under the lock, so that a new listener misses nothing.
        drop(self.listeners.send(event));
    }

    /// Listens from now on; with `since_us`, to what is remembered from then on before.
    pub(crate) fn listen(&self, since_us: Option<i64>) -> Listener {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |event: &&Arc<SystemEvent>| since_us.is_some_and(|since| event.time_us >= since);
        Listener {
            past: remembered.iter().filter(wanted).cloned().collect(),
            to_come: self.listeners.subscribe(),
        }
    }
}

impl Listener {
    /// The next one that happened already, if any is left.
    pub(crate) fn past(&mut self) -> Option<Arc<SystemEvent>> {
        self.past.pop_front()
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Option<Arc<SystemEvent>> {
        if let Some(event) = self.past() {
            return Some(event);
        }
        match self.to_come.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => {
                let attributes = BTreeMap::from([("count".to_owned(), count.to_string())]);
                Some(Arc::new(event(date::now_us(), SystemEventKind::Events, "dropped", "", attributes)))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

fn event(
    time_us: i64,
    kind: SystemEventKind,
    action: &str,
    id: &str,
    attributes: BTreeMap<String, String>,
) -> SystemEvent {
    let time = date::from_us(time_us);
    SystemEvent { time, time_us, kind, action: action.to_owned(), id: id.to_owned(), attributes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn f95_a_listener_that_does_not_read_is_told_how_many_it_missed() {
        let history = History::default();
        let mut slow = history.listen(None);
        for number in 0..REMEMBERED + 500 {
            history.image("tag", &number.to_string(), &[]);
        }
        let marker = slow.next().await.unwrap();
        assert_eq!((marker.kind, marker.action.as_str()), (SystemEventKind::Events, "dropped"));
        let missed: usize = marker.attributes["count"].parse().unwrap();
        assert_eq!(slow.next().await.unwrap().id, missed.to_string());
        assert!(missed >= 400, "the queue is bounded: {missed}");
    }

    #[tokio::test]
    async fn the_past_comes_first_and_is_bounded() {
        let history = History::default();
        for number in 0..REMEMBERED + 7 {
            history.image("tag", &number.to_string(), &[]);
        }
        let mut listener = history.listen(Some(0));
        assert_eq!(listener.past.len(), REMEMBERED);
        history.image("pull", "new", &[]);
        let mut ids = Vec::new();
        let mut last_us = 0;
        for _ in 0..=REMEMBERED {
            let event = listener.next().await.unwrap();
            assert!(event.time_us >= last_us);
            last_us = event.time_us;
            ids.push(event.id.clone());
        }
        assert_eq!((ids[0].as_str(), ids[REMEMBERED].as_str()), ("7", "new"));
        assert!(history.listen(None).past().is_none());
        assert!(history.listen(Some(i64::MAX)).past().is_none());
    }
}
