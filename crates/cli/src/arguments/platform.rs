//! Which platforms of an image are pulled, pushed or saved.

use clap::Args;

use crate::failure::Failure;
use crate::values::platform::{self, PlatformFlags, Precedence};

/// Flags of a platform.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ImagePlatformFlags {
    /// Only this architecture
    #[arg(short, long, value_name = "ARCHITECTURE")]
    arch: Option<String>,

    /// Only this operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Only this platform, before --os and --arch [environment: CONTAINER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    platform: Option<String>,
}

impl ImagePlatformFlags {
    /// `None` when neither a flag nor the environment names one.
    pub(crate) fn resolve(&self, command: &str) -> Result<Option<String>, Failure> {
        let flags = PlatformFlags {
            platform: self.platform.as_deref(),
            os: self.os.as_deref(),
            architecture: self.arch.as_deref(),
        };
        platform::resolve(flags, Precedence::FlagsFirst)
            .map_err(|error| Failure::Usage { message: error.to_string(), command: command.to_owned() })
    }
}
