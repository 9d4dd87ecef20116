//! All places together, with helpers that are real programs.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bulkhead_registry_credentials::{CredentialsError, Keyring, Login, Sources};

fn login(username: &str) -> Login {
    Login::new(username, format!("secret of {username}"))
}

/// Puts `docker-credential-<name>` into the folder; it keeps its one login in a file beside it.
fn helper(folder: &Path, name: &str) -> PathBuf {
    let (program, kept) =
        (folder.join(format!("docker-credential-{name}")), folder.join(format!("{name}.kept")));
    let script = format!(
        "#!/bin/sh\nkept={}\ncase $1 in\nstore) cat > $kept;;\nerase) rm -f $kept;;\nget) server=$(cat)\n\
         grep -q \"\\\"$server\\\"\" $kept 2>/dev/null && cat $kept && exit 0\n\
         echo credentials not found in native keychain; exit 1;;\nesac\n",
        kept.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    kept
}

/// The tests of this file share the process's PATH, so they are one.
#[test]
fn logins_are_kept_found_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    // SAFETY: this is the only test of this program, and no other thread runs yet.
    unsafe { std::env::set_var("PATH", path) };
    keeps_its_own_file_private(folder);
    gives_logins_to_the_helper_that_docker_uses(folder);
    asks_all_places_in_order(folder);
}

fn keeps_its_own_file_private(folder: &Path) {
    let own = folder.join("own.json");
    let keyring = Keyring::new(own.clone(), Sources::default());
    assert!(keyring.entries().unwrap().is_empty());
    assert!(!keyring.remove("r.example").unwrap());
    keyring.store("r.example", &login("first"), "day 1").unwrap();
    keyring.store("localhost:5000", &login("local"), "day 2").unwrap();
    keyring.store("r.example", &login("second"), "day 3").unwrap();
    assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);
    let entries = keyring.entries().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[1].server.as_str(), entries[1].username.as_str()), ("r.example", "second"));
    assert_eq!(
        (entries[1].creation_date.as_str(), entries[1].modification_date.as_str()),
        ("day 1", "day 3")
    );
    assert_eq!(keyring.find("r.example", "any").login, Some(login("second")));
    for other in ["example", "r.example:443", "xr.example", "localhost"] {
        assert_eq!(keyring.find(other, "any").login, None, "{other}");
    }
    assert!(keyring.remove("r.example").unwrap());
    assert_eq!(keyring.find("r.example", "any").login, None);
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["own.json"], "nothing is left beside it");
    fs::write(&own, "{ secret").unwrap();
    let error = keyring.entries().unwrap_err().to_string();
    assert!(error.contains("own.json") && !error.contains("secret"), "{error}");
    fs::remove_file(own).unwrap();
}

fn gives_logins_to_the_helper_that_docker_uses(folder: &Path) {
    let kept = helper(folder, "all");
    helper_with_identity_token(folder);
    helper(folder, "one");
    let docker = folder.join("config.json");
    fs::write(&docker, r#"{"credsStore":"all","credHelpers":{"one.example":"one"}}"#).unwrap();
    let sources = Sources { files: vec![docker.clone()], docker: Some(docker.clone()) };
    let own = folder.join("own.json");
    let keyring = Keyring::new(own.clone(), sources);
    keyring.store("docker.io", &login("hub"), "day 1").unwrap();
    assert!(fs::read_to_string(&kept).unwrap().contains("https://index.docker.io/v1/"));
    assert!(!fs::read_to_string(&own).unwrap().contains("secret of"), "the helper has the secret");
    assert_eq!(keyring.find("docker.io", "library/x").login, Some(login("hub")));
    assert_eq!(keyring.find("one.example", "x").login, None);
    // Docker is not configured any more: the login still knows its helper.
    fs::write(&docker, "{}").unwrap();
    assert_eq!(keyring.find("docker.io", "library/x").login, Some(login("hub")));
    assert!(keyring.remove("docker.io").unwrap());
    assert!(!kept.exists());

    fs::write(folder.join("docker-credential-bad"), "#!/bin/sh\necho it is locked; exit 1\n").unwrap();
    fs::set_permissions(folder.join("docker-credential-bad"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&docker, r#"{"credsStore":"bad","auths":{"r.example":{"auth":"YTox"}}}"#).unwrap();
    let error = keyring.store("r.example", &login("x"), "day 2").unwrap_err();
    assert!(error.to_string().contains("it is locked"), "{error}");
    assert!(keyring.entries().unwrap().is_empty());
    // Its failure is told, and what else there is gets used.
    let found = keyring.find("r.example", "x");
    assert_eq!(found.login.unwrap().username, "a");
    assert!(matches!(found.problems[..], [CredentialsError::Helper { .. }]), "{:?}", found.problems);
}

/// What Docker gives its helper after a login that brought an identity token.
fn helper_with_identity_token(folder: &Path) {
    let kept = helper(folder, "issued");
    let docker = folder.join("issued.json");
    fs::write(&docker, r#"{"credHelpers":{"r.example":"issued"}}"#).unwrap();
    let keyring = Keyring::new(folder.join("own3.json"), Sources { files: vec![docker], docker: None });
    let keep = |secret: &str| {
        let message = format!(r#"{{"ServerURL":"r.example","Username":"<token>","Secret":"{secret}"}}"#);
        fs::write(&kept, message.replace(":", ": ")).unwrap();
    };
    // The script finds its server by the quoted name.
    keep("refresh");
    let found = keyring.find("r.example", "x");
    assert_eq!((found.login, found.problems.len()), (Some(Login::identity_token("refresh")), 0));
    keep("");
    assert_eq!(keyring.find("r.example", "x").login, None);
}

fn asks_all_places_in_order(folder: &Path) {
    let (first, second) = (folder.join("auth.json"), folder.join("second.json"));
    fs::write(&first, r#"{"auths":{"r.example":{"auth":"YTox"}}}"#).unwrap();
    fs::write(&second, r#"{"auths":{"r.example":{"auth":"Yjoy"},"s.example":{"auth":"Yjoy"}}}"#).unwrap();
    let files = vec![folder.join("missing.json"), first.clone(), second];
    let keyring = Keyring::new(folder.join("own2.json"), Sources { files, docker: None });
    let user = |server: &str| keyring.find(server, "x").login.map(|login| login.username);
    assert_eq!(user("r.example").as_deref(), Some("a"));
    assert_eq!(user("s.example").as_deref(), Some("b"));
    fs::write(&first, "not JSON").unwrap();
    let found = keyring.find("r.example", "x");
    assert_eq!(found.login.unwrap().username, "b");
    assert!(found.problems[0].to_string().contains("auth.json"));
    keyring.store("r.example", &login("own"), "day").unwrap();
    assert_eq!(user("r.example").as_deref(), Some("own"));
}
