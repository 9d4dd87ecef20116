//! What POSIX and Linux promise of files, on each kind of place that a container has.
//!
//! The cases are posix/cases.py, which python of the Debian image runs. What does not hold on a folder
//! of the host is listed here and in SPECIFICATION.md, each with its reason.

use std::path::Path;

use bulkhead_tests::Installation;

/// No place of a file server in a jail.
const NOT_ON_FOLDERS: [(&str, &str); 2] = [
    // Nobody makes devices of the host: F83.
    ("devices", "PermissionError: [Errno 1]"),
    // Programs fall back to names, as the manual page tells them to.
    ("unnamed_files", "OSError: [Errno 95]"),
];

/// Lines of the cases that failed, without the place.
fn failures(installation: &Installation, mounts: &[&str]) -> Vec<String> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/posix/cases.py");
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

fn expect_folder(failures: &[String]) {
    let unexpected: Vec<_> = failures
        .iter()
        .filter(|line| !NOT_ON_FOLDERS.iter().any(|(case, why)| line.starts_with(&format!("{case} {why}"))))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert_eq!(failures.len(), NOT_ON_FOLDERS.len(), "the list is out of date: {failures:#?}");
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
    expect_folder(&failures(&installation, &["-v", "data:/place"]));
}

#[test]
fn on_a_folder_of_the_host() {
    let installation = Installation::with_debian();
    let folder = installation.folder().join("host");
    std::fs::create_dir(&folder).unwrap();
    let volume = format!("{}:/place", folder.to_str().expect("a path in UTF-8"));
    expect_folder(&failures(&installation, &["-v", &volume]));
}
