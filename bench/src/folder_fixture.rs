//! A folder that both tools share with a container, and the script that measures itself in there: to
//! enter a container takes longer than much of what is done in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const DIRECTORIES: usize = 100;
const FILES: usize = 100;
/// Has git know all files of the tree. Nothing of it goes on in the background afterwards.
pub(crate) const COMMIT: [&str; 3] = [
    "sh",
    "-c",
    "cd /shared/tree && git config --global safe.directory '*' && git init -q && git config gc.auto 0 && \
     git add . && git -c user.name=one -c user.email=one@example.org commit -q -m first && git gc -q --prune=now",
];
const BIG_BYTES: usize = 256 << 20;

/// Makes the folder; each tool has one of its own.
pub(crate) fn make(folder: &Path) -> Result<PathBuf> {
    let shared = folder.with_extension("shared");
    for directory in 0..DIRECTORIES {
        let directory = shared.join(format!("tree/directory-{directory}"));
        std::fs::create_dir_all(&directory).context("cannot make the shared folder")?;
        for file in 0..FILES {
            std::fs::write(directory.join(format!("file-{file}")), [b'x'; 200])
                .context("cannot fill the shared folder")?;
        }
    }
    std::fs::write(shared.join("big"), vec![1; BIG_BYTES]).context("cannot fill the shared folder")?;
    Ok(shared)
}

/// Prints the hundredths of a second that the script took.
pub(crate) fn timed(script: &str) -> String {
    format!(
        "read begin rest < /proc/uptime; {{ {script}; }} 2>/dev/null || exit 1; read end rest < /proc/uptime; \
         echo $begin $end"
    )
}

/// What [`timed`] printed, in milliseconds.
pub(crate) fn elapsed_ms(printed: &str) -> Result<f64> {
    let times: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [begin, end] = times[..] else { anyhow::bail!("no times: {printed}") };
    Ok((end - begin) * 1000.0)
}
