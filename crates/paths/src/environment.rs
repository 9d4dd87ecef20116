//! Every environment variable that Bulkhead reads, declared once.

/// Moves the app root. Absolute path.
pub const APP_ROOT: &str = "CONTAINER_APP_ROOT";
/// Moves the log root. Absolute path.
pub const LOG_ROOT: &str = "CONTAINER_LOG_ROOT";
/// Moves the runtime root. Absolute path, short: sockets below it must fit `sun_path`.
pub const RUNTIME_ROOT: &str = "CONTAINER_RUNTIME_ROOT";
/// Moves the install root. Absolute path.
pub const INSTALL_ROOT: &str = "CONTAINER_INSTALL_ROOT";
/// Any value turns on debug output of the command line.
pub const DEBUG: &str = "CONTAINER_DEBUG";
/// Platform of run, create, pull, push and save when no flag names one.
pub const DEFAULT_PLATFORM: &str = "CONTAINER_DEFAULT_PLATFORM";
/// Registry that [`REGISTRY_USER`] and [`REGISTRY_TOKEN`] are for; they go to no other.
pub const REGISTRY_HOST: &str = "CONTAINER_REGISTRY_HOST";
/// User name at [`REGISTRY_HOST`].
pub const REGISTRY_USER: &str = "CONTAINER_REGISTRY_USER";
/// Password or token at [`REGISTRY_HOST`].
pub const REGISTRY_TOKEN: &str = "CONTAINER_REGISTRY_TOKEN";

/// Host, user and token of the login in [`REGISTRY_HOST`], [`REGISTRY_USER`] and [`REGISTRY_TOKEN`]; the user may be
/// missing, as registries that go by the token alone do not ask for one.
#[must_use]
pub fn registry_login() -> Option<[String; 3]> {
    registry_login_of(|name| std::env::var(name).ok())
}

fn registry_login_of(variable: impl Fn(&str) -> Option<String>) -> Option<[String; 3]> {
    let given = |name| variable(name).filter(|value| !value.is_empty());
    Some([given(REGISTRY_HOST)?, given(REGISTRY_USER).unwrap_or_default(), given(REGISTRY_TOKEN)?])
}

/// Log filter of the daemons, in tracing's directive syntax.
pub const LOG: &str = "CONTAINER_LOG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_needs_a_host_and_a_token() {
        let login = |variables: &'static [(&str, &str)]| {
            registry_login_of(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let all = login(&[(REGISTRY_HOST, "h"), (REGISTRY_USER, "u"), (REGISTRY_TOKEN, "t")]);
        assert_eq!(all, Some(["h", "u", "t"].map(str::to_owned)));
        let tokens_only = login(&[(REGISTRY_HOST, "h"), (REGISTRY_TOKEN, "t")]);
        assert_eq!(tokens_only, Some(["h", "", "t"].map(str::to_owned)));
        assert_eq!(login(&[(REGISTRY_HOST, "h"), (REGISTRY_USER, "u"), (REGISTRY_TOKEN, "")]), None);
        assert_eq!(login(&[(REGISTRY_USER, "u"), (REGISTRY_TOKEN, "t")]), None);
    }
}
