//! Source and destination of `copy`.

use super::{InvalidValue, invalid};

/// Where files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A path of this host.
    Local(String),
    /// `id:/path`, or `id:path`: as in Docker, such a path begins at the root.
    Container {
        /// Container.
        id: String,
        /// Absolute.
        path: String,
    },
    /// `-`: an archive on stdin or stdout.
    Standard,
}

impl Location {
    /// A path that begins with a slash or a dot is local, whatever colons it has.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidValue> {
        if text == "-" {
            return Ok(Self::Standard);
        }
        if text.is_empty() {
            return invalid("a path must not be empty");
        }
        match text.split_once(':') {
            _ if text.starts_with(['/', '.']) => Ok(Self::Local(text.to_owned())),
            None => Ok(Self::Local(text.to_owned())),
            Some(("", _)) => invalid(format!("invalid path given: '{text}' names no container")),
            Some((_, "")) => invalid(format!("invalid path given: '{text}' names no path in the container")),
            Some((id, path)) => {
                let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
                Ok(Self::Container { id: id.to_owned(), path })
            }
        }
    }
}

/// What a source's path ends in: the name that its copy gets in a directory, and whether only its contents
/// are meant (`dir/.`).
pub(crate) fn source_name(path: &str) -> (String, bool) {
    let contents_only = path == "." || path.ends_with("/.");
    let mut rest = path;
    while let Some(shorter) = rest.strip_suffix('/').or_else(|| rest.strip_suffix("/.")) {
        rest = shorter;
    }
    let name = rest.rsplit('/').next().unwrap_or_default();
    (if name == "." { String::new() } else { name.to_owned() }, contents_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_paths_are_told_apart() {
        let local = |text: &str| Location::Local(text.to_owned());
        let container =
            |id: &str, path: &str| Location::Container { id: id.to_owned(), path: path.to_owned() };
        let cases = [
            ("-", Location::Standard),
            ("file", local("file")),
            ("/a:b", local("/a:b")),
            ("./web:/x", local("./web:/x")),
            ("web:/x", container("web", "/x")),
            ("web:/x:y", container("web", "/x:y")),
            ("web:x/", container("web", "/x/")),
            ("web:.", container("web", "/.")),
            ("web:x:y", container("web", "/x:y")),
        ];
        for (text, expected) in cases {
            assert_eq!(Location::parse(text).unwrap(), expected, "{text}");
        }
        for text in ["", ":/x", ":x", "web:"] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sources_have_names() {
        let cases = [
            ("/a/b", "b", false),
            ("/a/b/", "b", false),
            ("/a/b/.", "b", true),
            ("b", "b", false),
            (".", "", true),
            ("./", "", false),
            ("/", "", false),
            ("/.", "", true),
            ("..", "..", false),
        ];
        for (path, name, contents_only) in cases {
            assert_eq!(source_name(path), (name.to_owned(), contents_only), "{path}");
        }
    }
}
