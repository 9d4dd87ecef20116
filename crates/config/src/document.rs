//! One file, checked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Problem, shown};
use crate::keys::{self, Key};
use crate::suggestion::nearest;
use crate::value::{self, Value};

/// What one file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    path: PathBuf,
    values: BTreeMap<(&'static str, &'static str), Value>,
}

impl Document {
    /// Reads the text of the file at `path`, which errors and origins name.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], with the line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let invalid = |(span, problem): (Range<usize>, Problem)| ConfigError::Invalid {
            path: path.to_owned(),
            line: line_of(text, span.start),
            problem,
        };
        let root = DeTable::parse(text).map_err(|error| {
            let message = error.message().trim_end_matches('\n').replace('\n', ", ");
            invalid((error.span().unwrap_or_default(), Problem::Syntax(message)))
        })?;
        let mut values = BTreeMap::new();
        for (name, content) in root.get_ref() {
            if name.get_ref() == keys::PLUGIN_SECTION {
                continue;
            }
            read_section(text, name, content, &mut values).map_err(invalid)?;
        }
        Ok(Self { path: path.to_owned(), values })
    }

    /// Where it was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn value(&self, key: &Key) -> Option<&Value> {
        self.values.get(&(key.section, key.name))
    }
}

fn read_section(
    text: &str,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    content: &Spanned<DeValue<'_>>,
    values: &mut BTreeMap<(&'static str, &'static str), Value>,
) -> Result<(), (Range<usize>, Problem)> {
    let sections = || keys::ALL.iter().map(|key| key.section).chain([keys::PLUGIN_SECTION]);
    let Some(section) = sections().find(|section| section == name.get_ref()) else {
        let problem = Problem::UnknownSection {
            name: shown(name.get_ref()),
            suggestion: nearest(name.get_ref(), sections()),
        };
        return Err((name.span(), problem));
    };
    let Some(table) = content.get_ref().as_table() else {
        return Err((name.span(), Problem::NoSection(section)));
    };
    for (name, content) in table {
        let keys = || keys::ALL.iter().filter(|key| key.section == section);
        let Some(key) = keys().find(|key| key.name == name.get_ref()) else {
            let problem = Problem::UnknownKey {
                section,
                name: shown(name.get_ref()),
                suggestion: nearest(name.get_ref(), keys().map(|key| key.name)),
            };
            return Err((name.span(), problem));
        };
        let value = value::check(key.kind, content.get_ref()).map_err(|expected| {
            let found = shown(text.get(content.span()).unwrap_or_default());
            (content.span(), Problem::Value { section: key.section, name: key.name, expected, found })
        })?;
        values.insert((key.section, key.name), value);
    }
    Ok(())
}

fn line_of(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Document::parse(Path::new("/c.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn every_key_of_the_compatible_command_is_known() {
        let text = "
            [build]\nrosetta = true\ncpus = 2\nmemory = \"2048MB\"\nimage = \"builder:1\"
            [container]\ncpus = 5\nmemory = \"2g\"
            [dns]\ndomain = \"test\"
            [kernel]\nbinaryPath = \"/bin/sh\"\nurl = \"https://example.org\"\ndigest = \"sha256:0\"
            [machine]\ncpus = 4\nmemory = 8589934592\nhomeMount = \"ro\"\nvirtualization = false
            kernelPath = \"/boot/linux\"
            [network]\nsubnet = \"10.1.0.0/16\"\nsubnetv6 = \"fd00:1::/64\"
            [registry]\ndomain = \"registry.example.org\"
            [vminit]\nimage = \"init:1\"
            [plugin.anything]\nof = [\"its\", 1]";
        let document = Document::parse(Path::new("/c.toml"), text).unwrap();
        // diskSize and hosts are ours alone.
        assert_eq!(document.values.len(), keys::ALL.len() - 2);
    }

    #[test]
    fn a_refusal_names_file_line_and_what_was_meant() {
        assert_eq!(
            refusal("# mine\n[container]\nmemory = \"1g\"\ncpu = 2\n"),
            "'/c.toml', line 4: unknown key 'cpu' in section 'container': did you mean 'cpus'?"
        );
        assert_eq!(
            refusal("[containers]\ncpus = 2\n"),
            "'/c.toml', line 1: unknown section 'containers': did you mean 'container'?"
        );
        assert_eq!(refusal("\n[zzz]\n"), "'/c.toml', line 2: unknown section 'zzz'");
        assert_eq!(refusal("container = 3"), "'/c.toml', line 1: 'container' must be a section: [container]");
        assert_eq!(
            refusal("[container]\ncpus = 0"),
            "'/c.toml', line 2: container.cpus must be a positive number, not 0"
        );
        assert_eq!(
            refusal("[machine]\nhomeMount = \"yes\""),
            "'/c.toml', line 2: machine.homeMount must be one of ro, rw, none, not \"yes\""
        );
        assert_eq!(
            refusal("[container]\nmemory = 5"),
            "'/c.toml', line 2: container.memory must be a size of at least 200 MiB: a number of bytes, or one \
             with suffix K, M, G, T or P in quotes, not 5"
        );
        for text in [
            "[container]\ndiskSize = \"1m\"",
            "[container]\nmemory = \"much\"",
            "[container]\ncpus = -1",
            "[container]\ncpus = \"two\"",
            "[dns]\ndomain = \"a b\"",
            "[dns]\ndomain = \"x\\nnameserver 1.2.3.4\"",
            "[registry]\ndomain = \"https://registry.example.org/\"",
            "[network]\nsubnet = \"10.0.0.1/8\"",
        ] {
            let told = refusal(text);
            let key = text.trim_start_matches('[').replace("]\n", ".");
            let key = key.split(' ').next().unwrap_or_default();
            assert!(told.starts_with(&format!("'/c.toml', line 2: {key} must be ")), "{told}");
            assert!(told.contains(", not ") && !told.contains('\n'), "{told}");
        }
        assert!(
            refusal("[network]\nsubnet = \"here\"")
                .contains("line 2: network.subnet must be a private subnet")
        );
        assert!(
            refusal("[network]\nsubnet = \"8.8.8.0/24\"")
                .contains("line 2: network.subnet must be a private")
        );
        let ipv6 = refusal("[network]\n\nsubnetv6 = \"2600::/64\"");
        assert!(ipv6.contains("line 3: network.subnetv6 must be a private subnet"), "{ipv6}");
        let syntax = refusal("[container]\ncpus = = 2");
        assert!(syntax.starts_with("'/c.toml', line 2: ") && !syntax.contains('\n'), "{syntax}");
        assert!(refusal("[\"a\\u001b[2J\"]").ends_with("unknown section 'a\\u{1b}[2J'"));
    }
}
