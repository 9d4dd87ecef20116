//! Names of users.

use std::fs;
use std::process::{Command, Stdio};

use crate::program;

const FILE: &str = "/etc/passwd";

/// What a user is called, passwd(5); or by a directory service, which getent(1) asks.
pub(crate) fn name(user: u32) -> Option<String> {
    let text = fs::read(FILE).unwrap_or_default();
    parse(&String::from_utf8_lossy(&text), user).or_else(|| {
        let mut command = Command::new(program::path("getent")?);
        command.args(["passwd", &user.to_string()]).env_clear().current_dir("/");
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        parse(&String::from_utf8_lossy(&output.stdout), user)
    })
}

fn parse(text: &str, user: u32) -> Option<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(':').collect();
        let is_meant = words.get(2).and_then(|word| word.parse().ok()) == Some(user);
        words.first().filter(|name| is_meant && !name.is_empty()).map(|name| (*name).to_owned())
    };
    text.lines().find_map(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_counts() {
        let text = "root:x:0:0:root:/root:/bin/sh\n+\nann:x:1000:1000::/home/ann:\nalso:x:1000:1:::\n";
        assert_eq!(parse(text, 1000).as_deref(), Some("ann"));
        assert_eq!(parse(text, 0).as_deref(), Some("root"));
        assert_eq!(parse(text, 1), None);
    }
}
