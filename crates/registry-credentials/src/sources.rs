//! Where files with credentials are.

use std::ffi::OsString;
use std::path::PathBuf;

/// The files, in the order in which they are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files of Docker's and Podman's form.
    pub files: Vec<PathBuf>,
    /// The one among them whose helper a login is given to.
    pub docker: Option<PathBuf>,
}

impl Sources {
    /// As the environment says; relative paths are ignored, as the XDG specification wants.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from(|name| std::env::var_os(name))
    }

    fn from(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = path("HOME");
        let below_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
        let docker =
            path("DOCKER_CONFIG").or_else(|| below_home(".docker")).map(|folder| folder.join("config.json"));
        let files = [
            path("REGISTRY_AUTH_FILE"),
            path("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
            path("XDG_CONFIG_HOME")
                .or_else(|| below_home(".config"))
                .map(|folder| folder.join("containers/auth.json")),
            docker.clone(),
            below_home(".dockercfg"),
        ];
        Self { files: files.into_iter().flatten().collect(), docker }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_moves_them() {
        let sources = |variables: &'static [(&str, &str)]| {
            Sources::from(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            })
        };
        let plain = sources(&[("HOME", "/home/u")]);
        let paths: Vec<_> = plain.files.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            ["/home/u/.config/containers/auth.json", "/home/u/.docker/config.json", "/home/u/.dockercfg"]
        );
        let moved = sources(&[
            ("HOME", "/home/u"),
            ("REGISTRY_AUTH_FILE", "/a.json"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("XDG_CONFIG_HOME", "relative"),
            ("DOCKER_CONFIG", "/docker"),
        ]);
        let paths: Vec<_> = moved.files.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "/a.json",
                "/run/user/1/containers/auth.json",
                "/home/u/.config/containers/auth.json",
                "/docker/config.json",
                "/home/u/.dockercfg"
            ]
        );
        assert_eq!(sources(&[]), Sources::default());
    }
}
