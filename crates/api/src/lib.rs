//! Types of the HTTP interface and of the command line's JSON.
//!
//! The shapes of [`container`], [`image`], [`network`], [`volume`] and [`system`] are those that
//! `container list --format json` and its siblings print: keys in camelCase, absent when nil. The
//! bodies of [`request`] and the lines of [`event`] exist on the wire only.
//!
//! [`route`] names every path once for server and client.

pub mod container;
pub mod detach_keys;
pub mod egress;
pub mod error;
pub mod event;
pub mod files;
pub mod health;
pub mod image;
pub mod log;
pub mod network;
pub mod observation;
pub mod process;
pub mod registry;
pub mod request;
pub mod restart;
pub mod route;
pub mod size;
pub mod system;
pub mod system_event;
pub mod volume;
