//! Client of the OCI distribution protocol, for pulling and pushing.
//!
//! One [`Transport`] holds the connections of the process; a [`Client`] is one registry as one user sees it.
//! The registry is not trusted: sizes are bounded before anything is read, digests are computed here, credentials go
//! to the registry's own origin and token service only, and redirections neither carry them along nor lead from
//! TLS to plain text or to link-local addresses.
//!
//! ```no_run
//! use bulkhead_registry::{Client, ClientOptions, Patience, Transport};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let reference = "localhost:5000/tool:1".parse::<bulkhead_oci::Reference>()?;
//! let transport = Transport::new(Patience::default());
//! let client = Client::new(&transport, reference.registry(), ClientOptions::default())?;
//! let manifest = client.manifest(&reference).await?;
//! println!("{} has {} bytes", manifest.digest, manifest.bytes.len());
//! # Ok(())
//! # }
//! ```
//!
//! What a blob's stream gives out before its end is unverified; see [`BlobStream::next_chunk`].

mod ahead;
mod blob;
mod certificates;
mod challenge;
mod client;
mod credentials;
mod error;
mod exchange;
mod hosts;
mod options;
mod push;
mod redirect;
mod scheme;
mod session;
mod token;
mod transport;
mod trust;
mod upload;

pub use blob::BlobStream;
pub use client::{Client, FetchedManifest};
pub use credentials::Credentials;
pub use error::RegistryError;
pub use hosts::{Endpoint, EndpointError, Hosts};
pub use options::{ClientOptions, Patience, Splitting};
pub use push::BlobPush;
pub use scheme::{Scheme, SchemeError};
pub use transport::{Transport, TransportOptions};
