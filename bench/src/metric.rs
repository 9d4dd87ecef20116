//! What can be measured, and what is asked for.

use anyhow::{Context, Result, bail};

/// Containers that one sample of [`Metric::StartFifty`] starts, and that [`Metric::ListHundred`] lists.
pub(crate) const FIFTY: usize = 50;
pub(crate) const HUNDRED: usize = 100;
/// Bytes of one sample of an output metric.
const OUTPUT_BYTES: u64 = 1 << 30;
const MEMORY: &str = "memory";
const NETWORK: &str = "network";

/// A thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// `run --rm demo true`, default network.
    StartDefaultNetwork,
    /// The same without network.
    StartNoNetwork,
    /// `exec` of `true` in a running container.
    Exec,
    /// `rm -f` of a running container.
    RemoveRunning,
    /// `list --all` with a hundred containers.
    ListHundred,
    /// Fifty detached runs at once, until all are running.
    StartFifty,
    /// A gibibyte of stdout in writes of 1 KiB, as busybox's `head` makes them.
    OutputInLines,
    /// The same in writes of 4 KiB, as C's stdio makes them into a pipe.
    OutputInPages,
    /// The same in writes of 64 KiB, as programs that copy files make them.
    OutputInBlocks,
    /// Pull of five layers of 100 MiB.
    PullLarge,
    /// Pull of a layer of 50 000 small files.
    PullFiles,
    /// Pull of an image of which only the top layer is new.
    PullChanged,
    /// Load of an archive of a gigabyte.
    Load,
    /// Sequential reading of a folder of the host.
    FolderRead,
    /// Sequential writing, to the end of fsync.
    FolderWrite,
    /// `find` over 10 000 files, by type, which GNU's does not examine.
    FolderNames,
    /// `find` over 10 000 files, of which busybox examines each.
    FolderFind,
    /// `git status` of 10 000 files.
    FolderStatus,
    /// A program writes into 256 MiB of fresh memory.
    FillMemory,
    /// Fifty starts of an interpreter, one after the other.
    StartPrograms,
}

impl Metric {
    const ALL: [Self; 20] = [
        Self::StartDefaultNetwork,
        Self::StartNoNetwork,
        Self::Exec,
        Self::RemoveRunning,
        Self::ListHundred,
        Self::StartFifty,
        Self::OutputInLines,
        Self::OutputInPages,
        Self::OutputInBlocks,
        Self::PullLarge,
        Self::PullFiles,
        Self::PullChanged,
        Self::Load,
        Self::FolderRead,
        Self::FolderWrite,
        Self::FolderNames,
        Self::FolderFind,
        Self::FolderStatus,
        Self::FillMemory,
        Self::StartPrograms,
    ];
    /// What `make bench` measures.
    const QUICK: [Self; 4] =
        [Self::StartDefaultNetwork, Self::StartNoNetwork, Self::Exec, Self::RemoveRunning];

    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::StartDefaultNetwork => "start",
            Self::StartNoNetwork => "start-no-network",
            Self::Exec => "exec",
            Self::RemoveRunning => "remove",
            Self::ListHundred => "list",
            Self::StartFifty => "fifty",
            Self::OutputInLines => "output-in-lines",
            Self::OutputInPages => "output-in-pages",
            Self::OutputInBlocks => "output-in-blocks",
            Self::PullLarge => "pull",
            Self::PullFiles => "pull-files",
            Self::PullChanged => "pull-changed",
            Self::Load => "load",
            Self::FolderRead => "folder-read",
            Self::FolderWrite => "folder-write",
            Self::FolderNames => "folder-names",
            Self::FolderFind => "folder-find",
            Self::FolderStatus => "folder-status",
            Self::FillMemory => "fill-memory",
            Self::StartPrograms => "start-programs",
        }
    }

    /// Its name in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::StartDefaultNetwork => "run --rm true, default network",
            Self::StartNoNetwork => "run --rm true, no network",
            Self::Exec => "exec true",
            Self::RemoveRunning => "rm -f of a running one",
            Self::ListHundred => "list --all, 100 containers",
            Self::StartFifty => "50 x run -d at once",
            Self::OutputInLines => "1 GiB of stdout, 1 KiB writes",
            Self::OutputInPages => "1 GiB of stdout, 4 KiB writes",
            Self::OutputInBlocks => "1 GiB of stdout, 64 KiB writes",
            Self::PullLarge => "pull, 5 layers of 100 MiB",
            Self::PullFiles => "pull, 50 000 small files",
            Self::PullChanged => "pull, 1 of 5 layers is new",
            Self::Load => "load, 1 GB",
            Self::FolderRead => "folder, read 256 MiB, 4 times",
            Self::FolderWrite => "folder, write 256 MiB",
            Self::FolderNames => "folder, GNU find, 10 000, 4 times",
            Self::FolderFind => "folder, busybox find, same",
            Self::FolderStatus => "folder, git status, same",
            Self::FillMemory => "256 MiB of fresh memory, 4 times",
            Self::StartPrograms => "perl -e 1, 50 times",
        }
    }

    /// A sample that takes many seconds is repeated less often.
    pub(crate) fn rounds(self, wanted: usize) -> usize {
        match self {
            Self::StartFifty => wanted.div_ceil(6),
            _ if self.is_about_images() || self.output_command().is_some() => wanted.div_ceil(6),
            _ => wanted,
        }
    }

    /// What a container is to do for metrics of output.
    pub(crate) fn output_command(self) -> Option<Vec<String>> {
        let block_kib = match self {
            Self::OutputInLines => 1,
            Self::OutputInPages => 4,
            Self::OutputInBlocks => 64,
            _ => return None,
        };
        let (size, count) = (format!("bs={block_kib}k"), OUTPUT_BYTES / (block_kib << 10));
        Some(["busybox", "dd", "if=/dev/zero", &size, &format!("count={count}")].map(str::to_owned).to_vec())
    }

    /// What a container with the folder at /shared is to do, for metrics of what happens in there.
    pub(crate) fn inner_script(self) -> Option<&'static str> {
        match self {
            Self::FolderRead => {
                Some("for n in 1 2 3 4; do busybox dd if=/shared/big of=/dev/null bs=1M; done")
            }
            Self::FolderWrite => Some("busybox dd if=/dev/zero of=/shared/new bs=1M count=256 conv=fsync"),
            Self::FolderNames => Some("for n in 1 2 3 4; do find /shared/tree -type f > /dev/null; done"),
            Self::FolderFind => Some("for n in 1 2 3 4; do busybox find /shared/tree > /dev/null; done"),
            Self::FolderStatus => {
                Some("cd /shared/tree; for n in 1 2 3 4; do test -z \"$(git status --porcelain)\"; done")
            }
            Self::FillMemory => Some("for n in 1 2 3 4; do perl -e '$all = q(x) x (256 << 20)'; done"),
            Self::StartPrograms => Some("for n in $(seq 50); do perl -e 1; done"),
            _ => None,
        }
    }

    fn is_about_folders(self) -> bool {
        matches!(
            self,
            Self::FolderRead | Self::FolderWrite | Self::FolderNames | Self::FolderFind | Self::FolderStatus
        )
    }

    /// Whether it needs images that are made for it.
    pub(crate) fn is_about_images(self) -> bool {
        matches!(self, Self::PullLarge | Self::PullFiles | Self::PullChanged | Self::Load)
    }
}

/// What a run of the benchmark measures.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) rounds: usize,
    pub(crate) metrics: Vec<Metric>,
    /// Memory of idle containers and of the daemon.
    pub(crate) memory: bool,
    /// Throughputs and requests.
    pub(crate) network: bool,
}

impl Selection {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut selection = Self { rounds: 30, metrics: Vec::new(), memory: false, network: false };
        for word in words {
            let known = Metric::ALL.into_iter().find(|metric| metric.name() == word);
            match (known, word.as_str()) {
                (Some(metric), _) => selection.metrics.push(metric),
                (None, MEMORY) => selection.memory = true,
                (None, NETWORK) => selection.network = true,
                (None, "folders") => {
                    let folders = Metric::ALL.into_iter().filter(|metric| metric.is_about_folders());
                    selection.metrics.extend(folders);
                }
                (None, "all") => {
                    selection.metrics = Metric::ALL.to_vec();
                    selection.memory = true;
                    selection.network = true;
                }
                (None, number) => selection.rounds = rounds(number)?,
            }
        }
        if selection.metrics.is_empty() && !selection.memory && !selection.network {
            selection.metrics = Metric::QUICK.to_vec();
        }
        Ok(selection)
    }
}

fn rounds(word: &str) -> Result<usize> {
    let names = Metric::ALL.map(Metric::name).join(", ");
    let rounds = word.parse().with_context(|| {
        format!(
            "'{word}' is neither a number of rounds nor one of {names}, folders, {MEMORY}, {NETWORK}, all"
        )
    })?;
    if rounds == 0 {
        bail!("no rounds, no result");
    }
    Ok(rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Selection> {
        Selection::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn rounds_and_metrics_are_told_apart() {
        assert_eq!(parse(&[]).unwrap().metrics, Metric::QUICK);
        let some = parse(&["5", "exec", "memory"]).unwrap();
        let expected = Selection { rounds: 5, metrics: vec![Metric::Exec], memory: true, network: false };
        assert_eq!(some, expected);
        let network = parse(&["network"]).unwrap();
        assert!(network.network && network.metrics.is_empty());
        assert_eq!(parse(&["all"]).unwrap().metrics, Metric::ALL);
        assert_eq!(parse(&["memory"]).unwrap().metrics, []);
        assert!(parse(&["0"]).is_err());
        assert!(parse(&["nonsense"]).unwrap_err().to_string().contains("exec"));
    }
}
