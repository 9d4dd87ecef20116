//! Flags of `docker run` that would have nothing to act on in a machine of one's own. What they ask for is
//! taken where it is so anyway; else it is told what there is instead. Help does not show them.

use std::ffi::OsStr;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use thiserror::Error;

/// Why there is no such thing, and what there is.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct Elsewhere(pub(crate) &'static str);

const DEVICES: &str = "a container has a kernel of its own, and no device of this host: --volume shares files, folders \
                       and sockets";
const SPEEDS: &str = "nothing bounds how fast a container reads and writes its disk";
const WEIGHTS: &str =
    "containers have no shares of the host among each other: bound each with --cpus and --memory";
const REAL_TIME: &str = "a machine is scheduled as other programs of this host: bound it with --cpus";
const PROCESSORS: &str = "a machine runs on any processor of this host: bound it with --cpus";
const WINDOWS: &str = "it is for Windows: say --cpus";
const WINDOWS_DISK: &str =
    "it is for Windows, and nothing bounds how fast a container reads and writes its disk";

/// A flag: its name, what it asks for that is so anyway, and what there is instead of all else.
struct Word(&'static str, &'static [&'static str], &'static str);

const WORDS: [Word; 32] = [
    Word("annotation", &[], "nothing here reads annotations: say --label"),
    Word("blkio-weight", &["0"], WEIGHTS),
    Word("blkio-weight-device", &[], WEIGHTS),
    Word(
        "cgroup-parent",
        &[""],
        "cgroups of this host have no say in a machine: bound it with --cpus, --memory and --pids-limit",
    ),
    Word("cgroupns", &["", "private"], "a container sees the cgroups of a kernel of its own"),
    Word("cpu-count", &["0"], WINDOWS),
    Word("cpu-percent", &["0"], WINDOWS),
    Word("cpu-rt-period", &["0"], REAL_TIME),
    Word("cpu-rt-runtime", &["0"], REAL_TIME),
    Word("cpu-shares", &["0", "1024"], WEIGHTS),
    Word("cpuset-cpus", &[""], PROCESSORS),
    Word("cpuset-mems", &[""], PROCESSORS),
    Word("device-cgroup-rule", &[], DEVICES),
    Word("device-read-bps", &[], SPEEDS),
    Word("device-read-iops", &[], SPEEDS),
    Word("device-write-bps", &[], SPEEDS),
    Word("device-write-iops", &[], SPEEDS),
    Word("gpus", &[], DEVICES),
    Word("io-maxbandwidth", &["0"], WINDOWS_DISK),
    Word("io-maxiops", &["0"], WINDOWS_DISK),
    Word(
        "ipc",
        &["", "private"],
        "machines have no memory in common: --shm-size says how much /dev/shm holds, --volume shares files",
    ),
    Word("isolation", &["", "default"], "each container is isolated by a machine of its own"),
    Word("kernel-memory", &["0"], "the kernel's memory is part of the machine's: say --memory"),
    Word("link-local-ip", &[], "containers have addresses of their networks: say --ip or --ip6"),
    Word(
        "memory-reservation",
        &["0"],
        "memory that a container does not touch takes none of this host's: --memory is the only bound",
    ),
    Word("memory-swappiness", &["-1", "0"], "a machine has no swap: give it what it needs with --memory"),
    Word(
        "oom-score-adj",
        &["0"],
        "when this host runs out of memory, it ends machines before other programs",
    ),
    Word(
        "pid",
        &["", "private"],
        "a container sees the processes of a kernel of its own: look into another with `container top` and \
         `container exec`",
    ),
    Word(
        "storage-opt",
        &[],
        "each container has a disk of `diskSize` in section [container] of config.toml: bound what is in \
         a volume, with `container volume create --opt size=SIZE`",
    ),
    Word(
        "userns",
        &["", "host", "private"],
        "users of a container are those of a kernel of its own: say --user",
    ),
    Word("uts", &["", "private"], "a container has a host name of its own: say --hostname"),
    Word(
        "volume-driver",
        &["", "local"],
        "volumes are files of this host: make one that several containers share with `container volume create \
         --opt type=shared`",
    ),
];

/// Flags without a value; each may be said to be false.
const BOOLEANS: [Word; 3] = [
    // Whatever is said, Docker no longer looks.
    Word("disable-content-trust", &["true", "false"], ""),
    Word(
        "oom-kill-disable",
        &["false"],
        "a kernel that cannot get memory ends a process: give the machine more with --memory",
    ),
    Word("use-api-socket", &["false"], "containers have no way to the container services"),
];

/// All of them; nothing comes of those that are taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct ElsewhereFlags;

impl ElsewhereFlags {
    /// Whether one of them is called so.
    pub(crate) fn has(name: &OsStr) -> bool {
        WORDS.iter().chain(&BOOLEANS).any(|Word(known, ..)| *known == name)
    }
}

impl Args for ElsewhereFlags {
    fn augment_args(command: Command) -> Command {
        let valued = WORDS.iter().map(|word| argument(word).value_name("VALUE"));
        let booleans = BOOLEANS.iter().map(|word| {
            let argument = argument(word).value_name("BOOLEAN");
            argument.num_args(0..=1).require_equals(true).default_missing_value("true")
        });
        command.args(valued.chain(booleans))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ElsewhereFlags {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self)
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Ok(())
    }
}

fn argument(&Word(name, taken, instead): &'static Word) -> Arg {
    let parser = StringValueParser::new()
        .try_map(move |value| if taken.contains(&value.as_str()) { Ok(()) } else { Err(Elsewhere(instead)) });
    Arg::new(name)
        .long(name)
        .hide(true)
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .help(instead)
        .value_parser(parser)
}
