//! Containers.
//!
//! Each container has one actor: a task that alone changes its state and hears of its helper's
//! events. Requests send it commands and watch its status; they never share a lock.
//!
//! ```text
//!              Start, Resume             Event::Started
//!  Stopped ────────────────────▶ Starting ────────────▶ Running
//!   ▲  │ ▲                       ▲  │                     │ │ stop, kill
//!   │  │ │ Hold            pause │  │ start failed        │ ▼
//!   │  │ └────────── Restarting ─┘  │     Event::Stopped  │ Stopping
//!   │  │                  ▲         │     or helper lost  │ │
//!   │  │                  │ policy  ▼                     ▼ ▼
//!   └──┼──────────────────┴───────────────────────────────────
//!      │ Delete, Rename                        │ auto_remove, Delete(force)
//!      ▼                                       ▼
//!   Removed ◀──────────────────────────────────┘
//! ```
//!
//! `Starting` and `Restarting` are shown as stopped: nothing of the user's runs yet. A run that ends
//! leads to `Restarting` if the restart policy says so and nobody holds it; `stop` does (`Hold`), so it
//! wins over a pause. `Rename` removes the container of the old name and makes one of the new;
//! `Join` changes the networks of a stopped one.
//!
//! The files of a stopped container are reached through a machine that runs nothing of the container
//! (`maintenance`). It is still shown as stopped; what would start, delete or reach it waits for the end.
//!
//! What is where, and who is right after a crash:
//!
//! * the record in the database says that a container exists; a directory without one is removed;
//! * `run.json` in its directory names the helper that runs it, written before the helper is told to
//!   start, so that no kill -9 of ours leaves a VM that nobody knows;
//! * `maintenance.json` does the same for a maintenance machine, which is ended with its requester;
//! * `exit.json`, written by the helper before it tells anyone, says how the last run ended.

pub(crate) mod actor;
pub(crate) mod built_in;
pub(crate) mod capabilities;
pub(crate) mod commit;
pub(crate) mod configuration;
mod covered;
pub(crate) mod create;
pub(crate) mod delete;
mod emulation;
pub(crate) mod environment;
pub(crate) mod exec;
pub(crate) mod exposed_ports;
pub(crate) mod health;
pub(crate) mod hosts;
pub(crate) mod identifier;
pub(crate) mod identity;
mod image_configuration;
mod init_image;
pub(crate) mod kernel_arguments;
pub(crate) mod launch;
pub(crate) mod maintenance;
mod mounts;
pub(crate) mod observe;
pub(crate) mod paths;
pub(crate) mod pause;
pub(crate) mod prune;
pub(crate) mod published_ports;
pub(crate) mod recover;
pub(crate) mod registry;
mod rename;
pub(crate) mod resource_limits;
mod restart;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod signals;
pub(crate) mod snapshot;
pub(crate) mod sockets;
pub(crate) mod specification;
mod standstill;
pub(crate) mod status;
pub(crate) mod stop;
mod update;
pub(crate) mod user;
mod volumes_from;
mod wait;
