//! The terminal's second screen, without history and cursor (xterm, "Alternate Screen Buffer").

use std::io::{self, Write};

/// The second screen as long as it lives.
#[derive(Debug)]
pub(crate) struct AlternateScreen(());

impl AlternateScreen {
    pub(crate) fn enter() -> io::Result<Self> {
        write("\u{1b}[?1049h\u{1b}[?25l").map(|()| Self(()))
    }

    /// What empties it.
    #[expect(clippy::unused_self, reason = "there is nothing to clear without the screen")]
    pub(crate) fn clear(&self) -> &'static str {
        "\u{1b}[H\u{1b}[J"
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to restore.
        let _ = write("\u{1b}[?25h\u{1b}[?1049l");
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}
