//! Names of registries, as files and users write them.

/// The key of Docker Hub in files and helpers of Docker.
pub(crate) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ALIASES: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// The registry that a user or a file means by `text`: its host and port in lower case, without scheme and path.
#[must_use]
pub fn server_name(text: &str) -> String {
    let (host, _) = split(text);
    host
}

/// Host, and the repository prefix that a key of containers-auth.json(5) may name.
pub(crate) fn split(key: &str) -> (String, String) {
    let without_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) =
        without_scheme.unwrap_or(key).split_once('/').unwrap_or((without_scheme.unwrap_or(key), ""));
    let host = host.to_ascii_lowercase();
    let host = if DOCKER_HUB_ALIASES.contains(&host.as_str()) { DOCKER_HUB.to_owned() } else { host };
    let path = path.trim_end_matches('/');
    // The API's version is no repository; neither is anything behind a URL.
    let path = if without_scheme.is_some() || matches!(path, "v1" | "v2") { "" } else { path };
    (host, path.to_owned())
}

/// What Docker's files and helpers know a registry by.
pub(crate) fn docker_key(server: &str) -> &str {
    if server == DOCKER_HUB { DOCKER_HUB_KEY } else { server }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_hosts_and_repositories() {
        for (key, host, path) in [
            ("localhost:5000", "localhost:5000", ""),
            ("https://index.docker.io/v1/", "docker.io", ""),
            ("docker.io", "docker.io", ""),
            ("docker.io/team/image", "docker.io", "team/image"),
            ("https://Registry.Example/v2/", "registry.example", ""),
            ("registry.example/v2/", "registry.example", ""),
            ("registry.example/team/", "registry.example", "team"),
            ("http://registry.example:80", "registry.example:80", ""),
        ] {
            assert_eq!(split(key), (host.to_owned(), path.to_owned()), "{key}");
        }
        assert_eq!(server_name("https://ghcr.io/"), "ghcr.io");
        assert_eq!(docker_key("docker.io"), DOCKER_HUB_KEY);
    }
}
