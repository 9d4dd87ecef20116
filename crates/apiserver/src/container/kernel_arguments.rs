//! `--kernel-arg`: words of the guest kernel's command line.

use bulkhead_api::error::ApiError;

use crate::error::invalid;

/// A kernel that has stumbled must not go on as if nothing were; the reason is shown.
const DEFAULTS: [&str; 1] = ["oops=panic"];
/// How the machine is put together: its memory, disks, network and console.
const RESERVED: [&str; 8] = ["mem", "initrd", "root", "init", "rdinit", "con", "ssl", "umid"];
const RESERVED_PREFIXES: [&str; 5] = ["con0", "vec", "virtio_uml.", "ubd", "eth"];
/// Linux's `COMMAND_LINE_SIZE` for User-Mode Linux, minus what the machine itself says.
const MAXIMUM_BYTES: usize = 2048;

/// Refuses what could not arrive as it is, or would take the machine apart.
pub(crate) fn validate(arguments: &[String]) -> Result<(), ApiError> {
    for argument in arguments {
        let shown: String = argument.chars().take(80).flat_map(char::escape_default).collect();
        if argument.is_empty() || argument.chars().any(|character| character.is_control()) {
            return Err(invalid(format!("'{shown}' is not an argument of a kernel")));
        }
        let name = name(argument);
        let reserved = RESERVED.contains(&name)
            || RESERVED_PREFIXES.iter().any(|prefix| {
                name.strip_prefix(prefix).is_some_and(|rest| {
                    prefix.ends_with('.') || rest.bytes().all(|byte| byte.is_ascii_digit())
                })
            });
        if reserved {
            return Err(invalid(format!("kernel argument '{shown}' belongs to the machine itself")));
        }
    }
    if arguments.iter().map(|argument| argument.len() + 1).sum::<usize>() > MAXIMUM_BYTES {
        return Err(invalid(format!("the kernel's arguments have more than {MAXIMUM_BYTES} bytes")));
    }
    Ok(())
}

/// The guest's own, as far as the container's do not name them, then those.
pub(crate) fn merge(wanted: &[String]) -> Vec<String> {
    let is_replaced = |default: &&str| wanted.iter().any(|argument| name(argument) == name(default));
    let defaults = DEFAULTS.iter().filter(|default| !is_replaced(default)).map(|text| (*text).to_owned());
    defaults.chain(wanted.iter().cloned()).collect()
}

fn name(argument: &str) -> &str {
    argument.split(['=', ':']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_default_gives_way_to_its_name() {
        assert_eq!(merge(&[]), ["oops=panic"]);
        assert_eq!(merge(&strings(&["quiet", "oops=continue"])), ["quiet", "oops=continue"]);
        assert_eq!(merge(&strings(&["a=1", "a=2"])), ["oops=panic", "a=1", "a=2"]);
    }

    #[test]
    fn the_machines_own_arguments_are_refused() {
        for argument in
            ["mem=1M", "initrd=/x", "con0=fd:5", "vec0:x", "vec1=x", "virtio_uml.device=x", "", "a\nb"]
        {
            assert!(validate(&strings(&[argument])).is_err(), "{argument:?}");
        }
        for argument in ["panic=5", "console=tty0", "memmap=1", "vector=1", "lsm=landlock", "loglevel=7"] {
            assert!(validate(&strings(&[argument])).is_ok(), "{argument:?}");
        }
        assert!(validate(&strings(&[&"x".repeat(2048)])).is_err());
    }
}
