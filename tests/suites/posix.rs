//! What POSIX and Linux promise of files, on each kind of place that a container has.
//!
//! The cases are posix/cases.py, which python of the Debian image runs. What does not hold on a folder
//! of the host is listed here and in SPECIFICATION.md, each with its reason.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use bulkhead_tests::{Installation, OwnHost, require_program};

/// No place of a file server in a jail.
const NOT_ON_FOLDERS: [(&str, &str); 1] = [
    // Nobody makes devices of the host: F83.
    ("devices", "PermissionError: [Errno 1]"),
];

/// Without root and subordinate ids there is one user on the host, who is root in the container: rootless.rs.
const NOT_WITHOUT_ROOT: [(&str, &str); 10] = [
    NOT_ON_FOLDERS[0],
    ("chmod_of_a_foreign_group_drops_setgid", "AssertionError: PermissionError(1"),
    ("chown", "AssertionError"),
    ("chown_by_a_user_drops_setuid", "AssertionError: PermissionError(1"),
    ("files_belong_to_who_makes_them", "AssertionError"),
    ("setgid_directories_pass_their_group_on", "AssertionError"),
    ("access_control_lists", "OSError: [Errno 22]"),
    ("access_control_lists_count", "OSError: [Errno 22]"),
    ("unnamed_files_have_owners", "AssertionError"),
    ("unnamed_files_inherit_access_control_lists", "OSError: [Errno 22]"),
];

/// Lines of the cases that failed, without the place.
fn failures(installation: &Installation, mounts: &[&str]) -> Vec<String> {
    // Where an ordinary user finds it, too.
    let cases = installation.folder().join("cases.py");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/posix/cases.py"), &cases).unwrap();
    let script = format!("{}:/cases.py:ro", cases.to_str().expect("a path in UTF-8"));
    let mut words = vec!["run", "--rm", "-v", &script];
    words.extend(mounts);
    words.extend(["debian:test", "sh", "-c", "mkdir -p /place/here && exec python3 /cases.py /place/here"]);
    let outcome = installation.container(&words);
    let text = outcome.text();
    let mut lines: Vec<&str> = text.lines().collect();
    let tried = lines.pop().unwrap_or_default();
    assert!(tried.starts_with("tried ") && outcome.code == 0, "{outcome:?}");
    lines.into_iter().map(|line| line.trim_start_matches("/place/here ").to_owned()).collect()
}

fn expect_failures(failures: &[String], known: &[(&str, &str)]) {
    let unexpected: Vec<_> = failures
        .iter()
        .filter(|line| !known.iter().any(|(case, why)| line.starts_with(&format!("{case} {why}"))))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert_eq!(failures.len(), known.len(), "the list is out of date: {failures:#?}");
}

#[test]
fn on_the_disk_of_a_container() {
    let installation = Installation::with_debian();
    assert_eq!(failures(&installation, &[]), [""; 0]);
}

#[test]
fn on_a_volume() {
    let installation = Installation::with_debian();
    assert_eq!(failures(&installation, &["-v", "data:/place"]), [""; 0]);
}

#[test]
fn on_a_shared_volume() {
    let installation = Installation::with_debian();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "data"]);
    expect_failures(&failures(&installation, &["-v", "data:/place"]), &NOT_ON_FOLDERS);
}

#[test]
fn on_a_folder_of_the_host() {
    let installation = Installation::with_debian();
    let folder = installation.folder().join("host");
    fs::create_dir(&folder).unwrap();
    let volume = format!("{}:/place", folder.to_str().expect("a path in UTF-8"));
    expect_failures(&failures(&installation, &["-v", &volume]), &NOT_ON_FOLDERS);
}

#[test]
fn on_a_folder_of_an_ordinary_user() {
    of_an_ordinary_user(OwnHost::new(), &NOT_WITHOUT_ROOT);
}

#[test]
fn on_a_folder_of_an_ordinary_user_with_subordinate_ids() {
    require_program("newuidmap", "uidmap");
    of_an_ordinary_user(OwnHost::with_subordinate_ids(), &NOT_ON_FOLDERS);
}

fn of_an_ordinary_user(host: OwnHost, known: &[(&str, &str)]) {
    require_program("slirp4netns", "slirp4netns");
    let installation = Installation::of_ordinary_user(host);
    let archive = installation.folder().join("debian.tar");
    fs::copy(installation.debian_archive(), &archive).unwrap();
    installation.load(&archive);
    let folder = installation.folder().join("host");
    fs::create_dir(&folder).unwrap();
    let user = installation.host().user();
    chown(&folder, Some(user), Some(user)).unwrap();
    let volume = format!("{}:/place", folder.to_str().expect("a path in UTF-8"));
    expect_failures(&failures(&installation, &["-v", &volume]), known);
}
