//! OCI references, digests, platforms, manifests and image configuration, parsed once at the border.
//!
//! Everything here is a strict type: once a value exists, it is valid, and no later code has to look at
//! its text again. The documents follow the OCI image specification 1.1 and its Docker schema 2
//! ancestors; unknown fields are ignored, unknown *kinds* of documents are refused.
//!
//! ```
//! use bulkhead_oci::{Digest, Platform, Reference};
//!
//! let reference: Reference = "alpine".parse()?;
//! assert_eq!(reference.to_string(), "docker.io/library/alpine:latest");
//! assert_eq!(reference.familiar_name(), "alpine:latest");
//! let platform: Platform = "linux/arm64/v8".parse()?;
//! assert!(platform.matches(&"linux/arm64".parse()?));
//! assert!("sha256:../../etc".parse::<Digest>().is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate does no input or output and knows no registry but the default one of `docker.io` names.

mod configuration;
mod descriptor;
mod digest;
mod document;
pub mod instruction;
mod media_type;
mod platform;
mod reference;

pub use configuration::{
    ConfigurationError, ContainerConfiguration, Healthcheck, History, ImageConfiguration, RootFilesystem,
};
pub use descriptor::{
    ANNOTATION_CONTAINERD_NAME, ANNOTATION_DOCKER_REFERENCE_TYPE, ANNOTATION_REF_NAME, Descriptor,
};
pub use digest::{Digest, DigestError, DigestHasher};
pub use document::{Document, DocumentError, Index, MAX_DOCUMENT_BYTES, MAX_LAYERS, Manifest};
pub use media_type::{Compression, MediaType};
pub use platform::{Platform, PlatformError};
pub use reference::{DEFAULT_REGISTRY, DEFAULT_TAG, Reference, ReferenceError};
