//! Client of the apiserver's HTTP interface.
//!
//! One connection carries one request, because descriptors belong to the request they travel with and
//! because an event stream occupies its connection until it ends. Dropping a stream closes its
//! connection, by which the apiserver learns that nobody waits any more.
//!
//! ```no_run
//! # async fn example() -> Result<(), bulkhead_client::ClientError> {
//! let client = bulkhead_client::Client::new("/run/bulkhead/api.sock");
//! for container in client.list_containers(true).await? {
//!     println!("{}", container.id);
//! }
//! # Ok(())
//! # }
//! ```

mod connection;
mod containers;
mod error;
mod event_stream;
mod files;
mod images;
mod log_stream;
mod networks;
mod path;
mod processes;
mod registries;
mod system;
mod system_events;
mod volumes;

pub use connection::{Client, Exchange, Observer};
pub use error::{ClientError, ProtocolError};
pub use event_stream::{EventStream, MAXIMUM_LINE_LENGTH_BYTES};
pub use log_stream::{LogChunk, LogSource, LogStream};
pub use system_events::SystemEventStream;
