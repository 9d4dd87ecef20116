//! How far a pull or load is, on stderr.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{escape, images, message};
use crate::arguments::ProgressMode;

/// Bars that are drawn; a hostile registry may name more layers than any screen has lines.
const MAXIMUM_BARS: usize = 64;

/// Shows progress until dropped.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing.
    Hidden,
    /// One line when an item is done.
    Plain(BTreeMap<String, bool>),
    /// One bar for each item.
    Bars {
        /// All of them.
        all: MultiProgress,
        /// By item.
        items: BTreeMap<String, ProgressBar>,
    },
}

impl Progress {
    /// As asked for; `auto` draws on terminals only.
    pub(crate) fn new(mode: ProgressMode) -> Self {
        let bars = match mode {
            ProgressMode::None => return Self::Hidden,
            ProgressMode::Plain => false,
            ProgressMode::Ansi | ProgressMode::Color => true,
            ProgressMode::Auto => {
                let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
                std::io::stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none()
            }
        };
        if bars {
            Self::Bars { all: MultiProgress::new(), items: BTreeMap::new() }
        } else {
            Self::Plain(BTreeMap::new())
        }
    }

    /// An item moved on.
    pub(crate) fn update(&mut self, item: &str, completed_bytes: u64, total_bytes: Option<u64>) {
        let item = escape::text(item).into_owned();
        let done = total_bytes == Some(completed_bytes);
        match self {
            Self::Hidden => {}
            Self::Plain(items) => {
                if items.insert(item.clone(), done) == Some(true) {
                    return;
                }
                if done {
                    message::line(&format!("{item}: done, {}", images::size(completed_bytes)));
                }
            }
            Self::Bars { all, items } => {
                if !items.contains_key(&item) {
                    if items.len() >= MAXIMUM_BARS {
                        return;
                    }
                    items.insert(item.clone(), add_bar(all, &item, total_bytes.unwrap_or(0)));
                }
                let Some(bar) = items.get(&item) else { return };
                bar.set_length(total_bytes.unwrap_or(completed_bytes));
                bar.set_position(completed_bytes);
                if done {
                    bar.finish();
                }
            }
        }
    }

    /// A line for people, above the bars.
    pub(crate) fn notice(&self, text: &str) {
        match self {
            Self::Bars { all, .. } => all.suspend(|| message::line(&escape::text(text))),
            Self::Hidden | Self::Plain(_) => message::line(&escape::text(text)),
        }
    }

    /// Clears the bars: what follows belongs to the process.
    pub(crate) fn finish(&mut self) {
        if let Self::Bars { all, items } = self {
            for bar in items.values() {
                bar.finish_and_clear();
            }
            items.clear();
            // Nothing is left to draw when stderr is gone.
            let _ = all.clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn add_bar(all: &MultiProgress, item: &str, total_bytes: u64) -> ProgressBar {
    let template = "{prefix:24!} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = all.add(ProgressBar::new(total_bytes).with_style(style.progress_chars("=> ")));
    bar.set_prefix(item.to_owned());
    bar
}
