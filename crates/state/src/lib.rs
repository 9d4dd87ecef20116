//! Durable records in SQLite.
//!
//! One thread owns the connection. It commits everything that waits in its queue as one transaction,
//! so that fifty containers started at once cost a few fsyncs and callers never block: each hears of
//! its commit through a callback. Reads happen once, in [`Database::open`]; from then on the
//! apiserver's memory is the faster copy.
//!
//! | table | key | columns |
//! |---|---|---|
//! | `containers` | id | configuration, state (JSON) |
//! | `images` | reference | descriptor (JSON), creation date |
//! | `networks` | name | configuration (JSON), creation date |
//! | `volumes` | name | configuration (JSON) |
//! | `domains` | name | configuration (JSON) |
//! | `quarantine` | | rows that could not be read, moved here so that the others load |
//!
//! WAL with `synchronous=FULL`: what was committed survives a power cut.

mod change;
mod error;
mod load;
mod record;
mod schema;
mod writer;

pub use change::Change;
pub use error::StateError;
pub use load::{Contents, Quarantined};
pub use record::{
    ContainerRecord, DomainRecord, ExitRecord, HelperIdentity, ImageRecord, NetworkRecord, RunRecord,
    StateRecord,
};
pub use writer::Database;
