//! Names of users.

use std::fs;
use std::process::{Command, Stdio};

use crate::program;

const FILE: &str = "/etc/passwd";

/// A user as passwd(5) has him.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    /// His primary one.
    pub(crate) group: u32,
}

/// Who has this number, by the file or by a directory service, which getent(1) asks.
pub(crate) fn find(user: u32) -> Option<User> {
    let text = fs::read(FILE).unwrap_or_default();
    parse(&String::from_utf8_lossy(&text), user).or_else(|| {
        let mut command = Command::new(program::path("getent")?);
        command.args(["passwd", &user.to_string()]).env_clear().current_dir("/");
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        parse(&String::from_utf8_lossy(&output.stdout), user)
    })
}

fn parse(text: &str, user: u32) -> Option<User> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(':').collect();
        let is_meant = words.get(2).and_then(|word| word.parse().ok()) == Some(user);
        let name = words.first().filter(|name| is_meant && !name.is_empty())?;
        Some(User { name: (*name).to_owned(), group: words.get(3)?.parse().ok()? })
    };
    text.lines().find_map(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_counts() {
        let text = "root:x:0:0:root:/root:/bin/sh\n+\nann:x:1000:1000::/home/ann:\nalso:x:1000:1:::\n";
        let user = |name: &str, group| Some(User { name: name.to_owned(), group });
        assert_eq!(parse(text, 1000), user("ann", 1000));
        assert_eq!(parse(text, 0), user("root", 0));
        assert_eq!(parse(text, 1), None);
    }
}
