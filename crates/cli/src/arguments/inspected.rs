//! What `docker inspect` is asked for beyond the format.

use clap::Args;

use super::Elsewhere;

/// Flags that each noun here answers for itself.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectedFlags {
    /// Taken where it says container
    #[arg(long = "type", hide = true, value_name = "TYPE", value_parser = container)]
    _kind: Option<()>,

    /// Only refused
    #[arg(short = 's', long = "size", hide = true, value_name = "BOOLEAN", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = size)]
    _size: Option<()>,
}

/// `--size` of lists and of `inspect`.
pub(crate) fn size(text: &str) -> Result<(), Elsewhere> {
    match text {
        "false" => Ok(()),
        _ => Err(Elsewhere("how much of this host's disk containers take is told by `container system df`")),
    }
}

fn container(text: &str) -> Result<(), Elsewhere> {
    match text {
        "container" => Ok(()),
        _ => Err(Elsewhere(
            "each kind has a command of its own: `container image inspect`, `container volume inspect`, \
             `container network inspect`",
        )),
    }
}
