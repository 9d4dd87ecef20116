//! Which of an image's platforms is meant.
//!
//! `run` and `create`: `--platform`, else the environment, else `--os` and `--arch`. `pull`:
//! `--platform`, else `--os` and `--arch`, else the environment.

use bulkhead_oci::Platform;
use bulkhead_paths::environment;

use super::InvalidValue;
use crate::output::message;

/// The flags.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlatformFlags<'a> {
    pub(crate) platform: Option<&'a str>,
    pub(crate) os: Option<&'a str>,
    pub(crate) architecture: Option<&'a str>,
}

/// Which goes first when `--platform` is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precedence {
    EnvironmentFirst,
    FlagsFirst,
}

/// The platform asked for; `None` is the host's. Warns when the environment decided.
pub(crate) fn resolve(
    flags: PlatformFlags<'_>,
    precedence: Precedence,
) -> Result<Option<String>, InvalidValue> {
    let variable = std::env::var(environment::DEFAULT_PLATFORM).ok();
    let (platform, from_environment) = pick(flags, variable.as_deref(), precedence)?;
    if let Some(platform) = platform.as_ref().filter(|_| from_environment) {
        message::warning(&format!("using platform '{platform}' from {}", environment::DEFAULT_PLATFORM));
    }
    Ok(platform.map(|platform| platform.to_string()))
}

/// One that is named, in its normal form.
pub(crate) fn named(text: &str) -> Result<String, InvalidValue> {
    let platform = text.parse::<Platform>().map_err(|error| InvalidValue(error.to_string()))?;
    Ok(platform.to_string())
}

fn pick(
    flags: PlatformFlags<'_>,
    variable: Option<&str>,
    precedence: Precedence,
) -> Result<(Option<Platform>, bool), InvalidValue> {
    let parse = |text: &str| text.parse::<Platform>().map_err(|error| InvalidValue(error.to_string()));
    if let Some(platform) = flags.platform {
        return Ok((Some(parse(platform)?), false));
    }
    let by_flags = flags.os.is_some() || flags.architecture.is_some();
    if let Some(variable) = variable.filter(|text| !text.is_empty())
        && !(by_flags && precedence == Precedence::FlagsFirst)
    {
        let platform = parse(variable)
            .map_err(|error| InvalidValue(format!("{}: {error}", environment::DEFAULT_PLATFORM)))?;
        return Ok((Some(platform), true));
    }
    if !by_flags {
        return Ok((None, false));
    }
    let host = Platform::host();
    let os = flags.os.unwrap_or("linux");
    let architecture = flags.architecture.unwrap_or(&host.architecture);
    Ok((Some(parse(&format!("{os}/{architecture}"))?), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explicit_flags_and_the_environment_differ_between_run_and_pull() {
        use Precedence::{EnvironmentFirst, FlagsFirst};
        let none = PlatformFlags::default();
        let arch = PlatformFlags { architecture: Some("arm64"), ..none };
        let both = PlatformFlags { platform: Some("linux/s390x"), ..arch };
        let table = [
            (none, None, EnvironmentFirst, None, false),
            (none, Some("linux/riscv64"), EnvironmentFirst, Some("linux/riscv64"), true),
            (none, Some("linux/riscv64"), FlagsFirst, Some("linux/riscv64"), true),
            (arch, Some("linux/riscv64"), EnvironmentFirst, Some("linux/riscv64"), true),
            (arch, Some("linux/riscv64"), FlagsFirst, Some("linux/arm64"), false),
            (arch, None, EnvironmentFirst, Some("linux/arm64"), false),
            (both, Some("linux/riscv64"), EnvironmentFirst, Some("linux/s390x"), false),
        ];
        for (flags, variable, precedence, expected, warned) in table {
            let (platform, from_environment) = pick(flags, variable, precedence).unwrap();
            assert_eq!(platform.map(|platform| platform.to_string()).as_deref(), expected, "{flags:?}");
            assert_eq!(from_environment, warned);
        }
        assert!(pick(none, Some("nonsense//"), EnvironmentFirst).is_err());
    }
}
