//! Logins at real registries: where they come from, who gets to see them, and TLS.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bulkhead_tests::{
    Access, Certificate, Installation, Outcome, Registry, Reply, ScriptedImage, ScriptedRegistry,
    run_with_deadline,
};
use serde_json::Value;

const USER: &str = Registry::USER;
const PASSWORD: &str = Registry::PASSWORD;

/// An installation whose user has a home of their own, with these further variables.
struct User {
    installation: Installation,
    home: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl User {
    fn new() -> Self {
        let installation = Installation::new();
        let home = installation.folder().join("home");
        fs::create_dir_all(home.join(".docker")).unwrap();
        let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap());
        let user = Self { installation, home, variables: vec![("PATH", path)] };
        let _checked = user
            .run(&["image", "load", "-i", user.installation.demo_archive().to_str().unwrap()], b"")
            .expect_code(0);
        user
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.installation.command(arguments);
        for name in ["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"] {
            command.env_remove(name);
        }
        command.env("HOME", &self.home).envs(self.variables.iter().map(|(name, value)| (name, value)));
        run_with_deadline(&mut command, input)
    }

    fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments, b"").expect_code(0).text().trim_end().to_owned()
    }

    fn log_in(&self, server: &str, password: &str) -> Outcome {
        let arguments = ["registry", "login", "--username", USER, "--password-stdin", server];
        self.run(&arguments, format!("{password}\n").as_bytes())
    }

    fn logins(&self) -> Value {
        serde_json::from_str(&self.ok(&["registry", "list", "--format", "json"])).unwrap()
    }
}

#[test]
fn a_login_is_checked_kept_used_and_forgotten() {
    let user = User::new();
    let registry = Registry::start_as(user.installation.folder(), Access::Private);
    let (server, reference) = (registry.server(), registry.reference("team/demo:1"));
    user.ok(&["image", "tag", "demo", &reference]);
    let without = user.run(&["image", "push", &reference], b"").expect_code(1);
    assert!(without.stderr.contains(&format!("container registry login {server}")), "{without:?}");

    let wrong = user.log_in(&server, "wrong horse").expect_code(1);
    assert!(wrong.stderr.contains("the user name or password is wrong"), "{wrong:?}");
    assert_eq!(user.logins(), serde_json::json!([]));
    let right = user.log_in(&server, PASSWORD).expect_code(0);
    assert_eq!((right.text().as_str(), right.stderr.as_str()), ("", "Login succeeded\n"));
    let logins = user.logins();
    assert_eq!((&logins[0]["id"], &logins[0]["username"]), (&Value::from(&*server), &Value::from(USER)));
    assert_eq!(user.ok(&["registry", "list", "--quiet"]), server);
    let own = user.installation.folder().join("app/registry-logins.json");
    assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);

    user.ok(&["image", "push", &reference]);
    user.ok(&["image", "delete", &reference]);
    assert_eq!(user.ok(&["run", "--rm", &reference, "echo", "private"]), "private");
    user.ok(&["image", "delete", &reference]);
    user.ok(&["registry", "logout", &format!("http://{server}/")]);
    assert!(!fs::read_to_string(&own).unwrap().contains(PASSWORD));
    let pulled = user.run(&["image", "pull", &reference], b"").expect_code(1);
    assert!(pulled.stderr.contains("registry login"), "{pulled:?}");
    let again = user.run(&["registry", "logout", &server], b"").expect_code(1);
    assert!(again.stderr.contains(&server), "{again:?}");

    // What makes no sense.
    let _usage = user.run(&["registry", "login", "--password-stdin", &server], b"x").expect_code(64);
    let _usage = user.run(&["registry", "login", "-u", USER, &server], b"x").expect_code(64);
    let empty = user.log_in(&server, "").expect_code(1);
    assert!(empty.stderr.contains("empty"), "{empty:?}");
    let odd = user.log_in("a b", "x").expect_code(1);
    assert!(odd.stderr.contains("is no registry"), "{odd:?}");
    for log in fs::read_dir(user.installation.folder().join("log")).unwrap().map(Result::unwrap) {
        assert!(!fs::read_to_string(log.path()).unwrap().contains(PASSWORD), "{:?}", log.path());
    }
}

#[test]
fn a_private_authority_counts_where_its_file_says() {
    let user = User::new();
    let registry = Registry::start_as(user.installation.folder(), Access::PrivateOverTls);
    let (server, reference) = (registry.server(), registry.reference("demo:1"));
    let log_in = || {
        let arguments = ["registry", "login", "--scheme", "https", "-u", USER, "--password-stdin", &server];
        user.run(&arguments, PASSWORD.as_bytes())
    };
    let unknown = log_in().expect_code(1);
    assert!(unknown.stderr.to_lowercase().contains("certificate"), "{unknown:?}");
    let certificates = user.home.join(".config/containers/certs.d");
    // For another registry it says nothing.
    let place = |name: &str| {
        fs::create_dir_all(certificates.join(name)).unwrap();
        fs::copy(registry.authority(), certificates.join(name).join("ca.crt")).unwrap();
    };
    place("127.0.0.1:1");
    place("127.0.0.1");
    let other = log_in().expect_code(1);
    assert!(other.stderr.to_lowercase().contains("certificate"), "{other:?}");
    place(&server);
    let _checked = log_in().expect_code(0);
    user.ok(&["image", "tag", "demo", &reference]);
    user.ok(&["image", "push", "--scheme", "https", &reference]);
    user.ok(&["image", "delete", &reference]);
    user.ok(&["image", "pull", "--scheme", "https", &reference]);
    // Plain http to a port that speaks TLS: refused, not tried the other way.
    let plain = user.run(&["image", "pull", "--scheme", "http", &reference], b"").expect_code(1);
    assert!(plain.stderr.trim_end().lines().next().unwrap().contains("Error"), "{plain:?}");
    fs::write(certificates.join(&server).join("ca.crt"), "nonsense").unwrap();
    let damaged = user.run(&["image", "pull", "--scheme", "https", &reference], b"").expect_code(1);
    assert!(damaged.stderr.contains("ca.crt"), "{damaged:?}");
}

#[test]
fn single_registries_are_described_in_the_configuration_file() {
    let user = User::new();
    let secure = Registry::start_as(user.installation.folder(), Access::PrivateOverTls);
    let mirror_folder = user.installation.folder().join("mirror");
    fs::create_dir_all(&mirror_folder).unwrap();
    let mirror = Registry::start(&mirror_folder);
    mirror.push(&user.installation.demo_archive(), "app:1");
    let text = format!(
        "[registry.hosts.\"{}\"]\nhttp = false\ncertificateAuthority = \"{}\"\n\
         [registry.hosts.\"registry.example\"]\nmirrors = [\"http://127.0.0.1:1\", \"http://{}\"]\n",
        secure.server(),
        secure.authority().display(),
        mirror.server()
    );
    let folder = user.home.join(".config/container");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), &text).unwrap();
    user.ok(&["system", "stop"]);
    user.ok(&["system", "start"]);

    // On loopback, it would be spoken to without TLS otherwise.
    let _checked = user.log_in(&secure.server(), PASSWORD).expect_code(0);
    // A name that only the mirror has heard of.
    user.ok(&["image", "pull", "registry.example/app:1"]);
    assert_eq!(user.ok(&["run", "--rm", "registry.example/app:1", "echo", "mirrored"]), "mirrored");

    let shown: Value =
        serde_json::from_str(&user.ok(&["system", "property", "list", "--format", "json"])).unwrap();
    let hosts = &shown["registry"]["hosts"];
    assert_eq!(hosts["registry.example"]["mirrors"][0], "http://127.0.0.1:1");
    assert_eq!(hosts[secure.server()]["http"], false);
    let text = user.ok(&["system", "property", "list"]);
    // What is shown can be used as a file.
    fs::write(folder.join("config.toml"), &text).unwrap();
    user.ok(&["system", "stop"]);
    user.ok(&["system", "start"]);
    assert!(user.ok(&["system", "property", "list"]).contains("hosts = { "), "{text}");

    let wrong = "[registry.hosts.'registry.example']\nmirors = []\n";
    fs::write(folder.join("config.toml"), wrong).unwrap();
    user.ok(&["system", "stop"]);
    let refused = user.run(&["image", "pull", "registry.example/app:1"], b"").expect_code(1);
    assert!(refused.stderr.contains("line 1: registry.hosts must be tables"), "{refused:?}");
    assert!(refused.stderr.contains("'mirors' is none of them"), "{refused:?}");
}

#[test]
fn f42_a_registry_that_does_not_prove_who_it_is_is_refused() {
    let user = User::new();
    let certificates = user.home.join(".config/containers/certs.d");
    for (certificate, is_trusted, words) in [
        (Certificate::Right, false, ["nobody whom this host trusts has signed it", "certs.d/"]),
        (Certificate::Expired, true, ["it expired", "days ago"]),
        (Certificate::NotYetValid, true, ["it is valid only in", "clock"]),
        (Certificate::OfAnotherHost, true, ["it is for", "other.example"]),
    ] {
        let registry = Registry::start_with(user.installation.folder(), Access::PrivateOverTls, certificate);
        let (server, reference) = (registry.server(), registry.reference("demo:1"));
        if is_trusted {
            fs::create_dir_all(certificates.join(&server)).unwrap();
            fs::copy(registry.authority(), certificates.join(&server).join("ca.crt")).unwrap();
        }
        let login = ["registry", "login", "--scheme", "https", "-u", USER, "--password-stdin", &server];
        let pull = ["image", "pull", "--scheme", "https", &reference];
        for arguments in [login.as_slice(), &pull] {
            let refused = user.run(arguments, PASSWORD.as_bytes()).expect_code(1);
            let told = refused.stderr.lines().find(|line| line.starts_with("Error: ")).unwrap();
            assert!(told.contains(&format!("the certificate of {server} is not accepted")), "{refused:?}");
            for word in words {
                assert!(told.contains(word), "no '{word}' in {refused:?}");
            }
        }
    }
    // What it sent was never read: nothing is known of the login or the image.
    assert_eq!(user.logins(), serde_json::json!([]));
}

#[test]
fn an_identity_token_that_docker_keeps_is_exchanged() {
    let user = User::new();
    let registry = ScriptedRegistry::start(ScriptedImage::new(100_000), |request| {
        let host = &request.headers["host"];
        if request.path == "/token" {
            return Reply::Answer("200 OK", Vec::new(), br#"{"access_token":"access"}"#.to_vec());
        }
        match request.headers.get("authorization").map(String::as_str) {
            Some("Bearer access") => Reply::Honest,
            _ => {
                let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
                Reply::Answer("401 Unauthorized", vec![challenge], Vec::new())
            }
        }
    });
    let docker = user.home.join(".docker/config.json");
    let server = registry.server();
    // "rider:" beside it, as Docker writes it.
    let entry = format!(r#"{{"auths":{{"{server}":{{"auth":"cmlkZXI6","identitytoken":"refresh"}}}}}}"#);
    fs::write(&docker, entry).unwrap();
    user.ok(&["image", "pull", &registry.reference("demo:1")]);
    // Without parameters in the path: it was posted.
    assert!(registry.requests().iter().any(|request| request.path == "/token"));
}

#[test]
fn logins_of_docker_and_podman_are_used_as_they_are() {
    let user = User::new();
    let registry = Registry::start_as(user.installation.folder(), Access::Private);
    let (server, reference) = (registry.server(), registry.reference("demo:1"));
    user.ok(&["image", "tag", "demo", &reference]);
    let push = || user.run(&["image", "push", &reference], b"");
    let docker = user.home.join(".docker/config.json");
    // "rider:correct horse", for an image's repository only.
    let auth = "cmlkZXI6Y29ycmVjdCBob3JzZQ==";
    let podman = user.home.join(".config/containers/auth.json");
    fs::create_dir_all(podman.parent().unwrap()).unwrap();
    fs::write(&podman, format!(r#"{{"auths":{{"{server}/other":{{"auth":"{auth}"}}}}}}"#)).unwrap();
    let _checked = push().expect_code(1);
    fs::write(&podman, format!(r#"{{"auths":{{"{server}/demo":{{"auth":"{auth}"}}}}}}"#)).unwrap();
    let _checked = push().expect_code(0);
    fs::remove_file(&podman).unwrap();
    let _checked = push().expect_code(1);

    let helper = user.home.join("docker-credential-test");
    let kept = user.home.join("kept");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat > {0};;\nerase) rm {0};;\nget) cat {0} 2>/dev/null && exit 0\n\
         echo credentials not found in native keychain; exit 1;;\nesac\n",
        kept.display()
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&docker, format!(r#"{{"credHelpers":{{"{server}":"test"}}}}"#)).unwrap();
    let _checked = push().expect_code(1);
    let _checked = user.log_in(&server, PASSWORD).expect_code(0);
    assert!(fs::read_to_string(&kept).unwrap().contains(PASSWORD));
    let own = fs::read_to_string(user.installation.folder().join("app/registry-logins.json")).unwrap();
    assert!(!own.contains(PASSWORD), "{own}");
    let _checked = push().expect_code(0);
    user.ok(&["registry", "logout", &server]);
    assert!(!kept.exists());
    let _checked = push().expect_code(1);

    // What cannot be asked is told, and does not stop what needs no login.
    fs::write(&docker, r#"{"credsStore":"missing"}"#).unwrap();
    let open = Registry::start(user.installation.folder());
    let public = open.reference("demo:1");
    user.ok(&["image", "tag", "demo", &public]);
    let told = user.run(&["image", "push", &public], b"").expect_code(0);
    assert!(told.stderr.contains("docker-credential-missing"), "{told:?}");
}

#[test]
fn a_login_of_the_environment_goes_to_its_host_alone() {
    let mut user = User::new();
    let registry = Registry::start_as(user.installation.folder(), Access::Private);
    let reference = registry.reference("demo:1");
    user.ok(&["image", "tag", "demo", &reference]);
    user.variables.extend([
        ("CONTAINER_REGISTRY_HOST", registry.server()),
        ("CONTAINER_REGISTRY_USER", USER.to_owned()),
        ("CONTAINER_REGISTRY_TOKEN", PASSWORD.to_owned()),
    ]);
    user.ok(&["image", "push", &reference]);

    // Somebody else who would like to have it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                if line.is_empty() {
                    break;
                }
                ears.lock().unwrap().push(line.to_ascii_lowercase());
            }
            let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                          Content-Length: 0\r\nConnection: close\r\n\r\n";
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    let stolen = user.run(&["image", "pull", &format!("{address}/demo:1")], b"").expect_code(1);
    assert!(stolen.stderr.contains("registry login"), "{stolen:?}");
    let heard = heard.lock().unwrap();
    assert!(heard.iter().any(|line| line.starts_with("get /v2/demo/")), "{heard:?}");
    assert!(!heard.iter().any(|line| line.starts_with("authorization")), "{heard:?}");

    // The daemon, which the first command started, remembers none of it.
    user.variables.truncate(1);
    drop(heard);
    user.ok(&["image", "delete", &reference]);
    let _checked = user.run(&["image", "pull", &reference], b"").expect_code(1);
}
