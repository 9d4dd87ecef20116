//! Flags, in the groups that commands share, and their resolution into requests.

mod create;
mod detach;
mod elsewhere;
mod fetch;
mod health;
mod identifiers;
mod inspected;
mod listing;
mod management;
mod no_question;
mod platform;
mod process;
mod progress;
mod registry;
mod resource;
mod sig_proxy;
mod truth;

pub(crate) use create::CreateFlags;
pub(crate) use detach::DetachFlags;
pub(crate) use elsewhere::{Elsewhere, ElsewhereFlags};
pub(crate) use fetch::FetchFlags;
pub(crate) use health::HealthFlags;
pub(crate) use identifiers::{Identifier, Selection};
pub(crate) use inspected::{InspectedFlags, size};
pub(crate) use listing::ListFlags;
pub(crate) use management::ManagementFlags;
pub(crate) use no_question::NoQuestion;
pub(crate) use platform::ImagePlatformFlags;
pub(crate) use process::ProcessFlags;
pub(crate) use progress::{ProgressFlags, ProgressMode};
pub(crate) use registry::RegistryFlags;
pub(crate) use resource::ResourceFlags;
pub(crate) use sig_proxy::SigProxyFlag;
pub(crate) use truth::Truth;
