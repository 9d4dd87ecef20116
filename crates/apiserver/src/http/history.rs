//! What happened and happens: one JSON object a line.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bulkhead_api::request::EventsQuery;
use bulkhead_api::system_event::SystemEvent;
use tokio::time::Instant;

use super::body::Parameters;
use super::problem::Problem;
use crate::date;
use crate::error::invalid;
use crate::history::Listener;
use crate::service::Service;

/// A year; keeps deadlines from overflowing.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

struct Reading {
    service: Arc<Service>,
    listener: Listener,
    until_us: i64,
    /// When `until_us` will have come.
    end: Instant,
}

pub(super) async fn events(
    State(service): State<Arc<Service>>,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<Response, Problem> {
    if let (Some(since), Some(until)) = (query.since_us, query.until_us)
        && since > until
    {
        return Err(invalid("the events are to end before they begin").into());
    }
    let until_us = query.until_us.unwrap_or(i64::MAX);
    let left_us = u64::try_from(until_us.saturating_sub(date::now_us())).unwrap_or(0);
    let end = Instant::now() + Duration::from_micros(left_us).min(LONGEST);
    // What has happened is wanted in any case when the end is in the past.
    let since = query.since_us.or((left_us == 0).then_some(i64::MIN));
    let reading = Reading { listener: service.history.listen(since), service, until_us, end };
    let body = Body::from_stream(futures_util::stream::unfold(reading, |mut reading| async move {
        let event = reading.next().await?;
        let mut line = serde_json::to_vec(&*event).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), reading))
    }));
    Ok(([("content-type", "application/x-ndjson")], body).into_response())
}

impl Reading {
    async fn next(&mut self) -> Option<Arc<SystemEvent>> {
        let event = match self.listener.past() {
            Some(event) => Some(event),
            None => tokio::select! {
                event = self.listener.next() => event,
                () = tokio::time::sleep_until(self.end) => None,
                () = self.service.ending.cancelled() => None,
            },
        };
        event.filter(|event| event.time_us <= self.until_us)
    }
}
