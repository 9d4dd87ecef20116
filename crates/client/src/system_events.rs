//! What happened and happens.

use std::fmt::Write;

use bulkhead_api::request::EventsQuery;
use bulkhead_api::route;
use bulkhead_api::system_event::SystemEvent;
use hyper::body::Incoming;

use crate::connection::Client;
use crate::error::{ClientError, ProtocolError};
use crate::event_stream::Lines;

/// Events as they happen. Dropping it closes the connection.
#[derive(Debug)]
pub struct SystemEventStream(Lines);

impl SystemEventStream {
    fn new(body: Incoming) -> Self {
        Self(Lines::new(body))
    }

    /// The next event; `None` at the end that was asked for, or when the service ends.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] for a broken connection or a line that is no event.
    pub async fn next(&mut self) -> Result<Option<SystemEvent>, ClientError> {
        match self.0.next().await? {
            Some(line) => Ok(Some(serde_json::from_slice(&line).map_err(ProtocolError::Decode)?)),
            None => Ok(None),
        }
    }
}

impl Client {
    /// Events of containers and images.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn system_events(&self, query: EventsQuery) -> Result<SystemEventStream, ClientError> {
        let mut path = format!("{}?", route::EVENTS);
        for (name, value) in [("sinceUs", query.since_us), ("untilUs", query.until_us)] {
            if let Some(value) = value {
                // Writing into a String cannot fail.
                let _ = write!(path, "{name}={value}&");
            }
        }
        path.pop();
        Ok(SystemEventStream::new(self.get_for_stream(&path).await?))
    }
}
