//! `copy`: files in and out, of running and of stopped containers.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use bulkhead_tests::{Installation, wait_until};

fn text(path: &Path) -> &str {
    path.to_str().expect("path in UTF-8")
}

#[test]
fn trees_go_in_and_out_of_running_and_stopped_containers() {
    let installation = Installation::with_demo();
    let folder = installation.folder().to_owned();
    let source = folder.join("source");
    fs::create_dir_all(source.join("deep")).unwrap();
    fs::write(source.join("deep/file"), "content").unwrap();
    fs::set_permissions(source.join("deep/file"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::hard_link(source.join("deep/file"), source.join("same")).unwrap();
    symlink("deep/file", source.join("link")).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(b"middle", 1 << 39).unwrap();
    installation.run_ok(&["run", "-d", "--name", "web", "demo", "sleep", "600"]);
    for state in ["running", "stopped"] {
        if state == "stopped" {
            installation.run_ok(&["stop", "--time", "0", "web"]);
        }
        let inside = format!("web:/srv/{state}");
        assert_eq!(installation.run_ok(&["cp", text(&source), &inside]), inside);
        let target = folder.join(state);
        assert_eq!(installation.run_ok(&["copy", &inside, text(&target)]), text(&target));
        assert_eq!(installation.state("web"), state);
        assert_eq!(fs::read_to_string(target.join("deep/file")).unwrap(), "content");
        let file = fs::metadata(target.join("deep/file")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.nlink()), (0o751, 2));
        assert_eq!(file.ino(), fs::metadata(target.join("same")).unwrap().ino());
        assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("deep/file"));
        let sparse = fs::metadata(target.join("sparse")).unwrap();
        assert_eq!(sparse.len(), 1 << 40, "F58: a sparse file of 1 TiB");
        assert!(sparse.blocks() * 512 < 1 << 20);
    }
    assert!(!installation.container_directory("web").join("maintenance").exists());
    assert!(!installation.container_directory("web").join("maintenance.json").exists());
    installation.run_ok(&["start", "web"]);
    let listed = installation.run_ok(&[
        "exec",
        "web",
        "sh",
        "-c",
        "cat /srv/stopped/link; stat -c %a%u /srv/stopped/same",
    ]);
    assert_eq!(listed, "content7510");
}

#[test]
fn nothing_is_copied_to_or_from_below_the_mounts_of_a_stopped_container() {
    let installation = Installation::with_demo();
    let folder = installation.folder().to_owned();
    let (file, tree, shared) = (folder.join("file"), folder.join("data"), folder.join("host"));
    for folder in [&tree, &shared] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(&file, "new").unwrap();
    fs::write(tree.join("in-tree"), "new").unwrap();
    installation.run_ok(&["volume", "create", "stv"]);
    let host = format!("{}:/srv/host", shared.display());
    let mounts = ["-v", "stv:/data", "-v", &host, "--tmpfs", "/srv/memory"];
    let make = "echo kept > /data/k; touch /ready; sleep 600";
    installation.run_ok(&[&["run", "-d", "--name", "vs"], &mounts[..], &["demo", "sh", "-c", make]].concat());
    wait_until("the file", || installation.container(&["exec", "vs", "test", "-e", "/ready"]).code == 0);
    installation.run_ok(&["stop", "--time", "0", "vs"]);

    let (own, target) = (text(&file), folder.join("out"));
    for (from, to, mount) in [
        (own, "vs:/data/new", "/data"),
        (own, "vs:/data", "/data"),
        (own, "vs:/tmp/..//data/./new", "/data"),
        (text(&tree), "vs:/", "/data"),
        (own, "vs:/srv/host/new", "/srv/host"),
        (own, "vs:/srv/memory/new", "/srv/memory"),
        ("vs:/data/k", text(&target), "/data"),
        ("vs:/data", text(&target), "/data"),
        ("vs:/srv", text(&target), "/srv/"),
        ("vs:/srv/memory/k", text(&target), "/srv/memory"),
        ("vs:/data/k", "-", "/data"),
    ] {
        let refused = installation.container(&["cp", from, to]).expect_code(1);
        let path = if from.starts_with("vs:") { from } else { to }.trim_start_matches("vs:");
        let told = [&format!("'{path}"), &format!("the mount '{mount}"), "container start vs"];
        assert!(told.iter().all(|part| refused.stderr.contains(*part)), "{from} {to}: {refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        assert!(!target.exists());
    }
    // What has nothing to do with them is copied as ever.
    let archive = installation.container(&["cp", "vs:/etc", "-"]).expect_code(0);
    let _ = installation.container_with_input(&["cp", "-", "vs:/"], &archive.stdout).expect_code(0);
    installation.run_ok(&["cp", own, "vs:/"]);
    installation.run_ok(&["cp", own, "vs:/srv"]);
    installation.run_ok(&["cp", "vs:/srv/file", text(&target)]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");

    installation.run_ok(&["start", "vs"]);
    installation.run_ok(&["cp", own, "vs:/data/new"]);
    let inside = "cat /data/k /data/new; find /srv/host /srv/memory -type f";
    assert_eq!(installation.run_ok(&["exec", "vs", "sh", "-c", inside]), "kept\nnew");
}

#[test]
fn links_are_copied_as_links_unless_they_are_to_be_followed() {
    let installation = Installation::with_demo();
    let make = "echo data > /real; ln -s /real /link; sleep 600";
    installation.run_ok(&["run", "-d", "--name", "links", "demo", "sh", "-c", make]);
    wait_until("the link", || installation.container(&["exec", "links", "test", "-L", "/link"]).code == 0);
    let (link, file) = (installation.folder().join("link"), installation.folder().join("file"));
    installation.run_ok(&["copy", "links:/link", link.to_str().unwrap()]);
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("/real"));
    installation.run_ok(&["copy", "--follow-link", "links:/link", file.to_str().unwrap()]);
    assert!(file.symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read_to_string(&file).unwrap(), "data\n");
}

#[test]
fn trap11_parents_are_made_and_a_slash_forbids_a_file() {
    let installation = Installation::with_demo();
    let folder = installation.folder().to_owned();
    let file = folder.join("file");
    fs::write(&file, "new").unwrap();
    installation.run_ok(&["run", "-d", "--name", "web", "demo", "sleep", "600"]);
    installation.run_ok(&["cp", text(&file), "web:/made/up/name"]);
    installation.run_ok(&["cp", text(&file), "web:/tmp"]);
    assert_eq!(installation.run_ok(&["exec", "web", "cat", "/made/up/name", "/tmp/file"]), "newnew");
    let outcome = installation.container(&["cp", text(&file), "web:/missing/"]).expect_code(1);
    assert!(outcome.stderr.contains("/missing/"), "{outcome:?}");
    let missing = format!("{}/missing/", folder.display());
    let _ = installation.container(&["cp", "web:/etc/passwd", &missing]).expect_code(1);
    installation.run_ok(&["cp", "web:/etc", &missing]);
    assert!(folder.join("missing/passwd").is_file());
    installation.run_ok(&["cp", "web:/etc/.", text(&folder.join("a/b"))]);
    assert!(folder.join("a/b/passwd").is_file());
    for (from, to) in
        [("web:/etc", text(&file)), ("/etc/passwd", "/tmp/x"), ("web:/a", "web:/b"), ("web:a", "/tmp/x")]
    {
        let outcome = installation.container(&["cp", from, to]).expect_code(1);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
    let outcome = installation.container(&["cp", "web:/nothing", text(&folder)]).expect_code(1);
    assert!(outcome.stderr.contains("/nothing"), "{outcome:?}");
}

#[test]
fn archives_pass_through_standard_streams() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "web", "demo", "sleep", "600"]);
    installation.run_ok(&["exec", "web", "sh", "-c", "mkdir /srv /to; echo x >/srv/f; chown 12:34 /srv/f"]);
    let archive = installation.container(&["cp", "web:/srv", "-"]).expect_code(0);
    let _ = installation.container_with_input(&["cp", "-", "web:/to"], &archive.stdout).expect_code(0);
    let owner = installation.run_ok(&["exec", "web", "stat", "-c", "%u:%g", "/to/srv/f"]);
    assert_eq!(owner, "12:34");
    let junk = installation.container_with_input(&["cp", "-", "web:/to"], &[7; 1024]).expect_code(1);
    assert!(junk.stderr.contains("checksum"), "{junk:?}");
}

#[test]
fn f58_a_guest_that_swaps_links_reaches_nothing_of_the_host() {
    let installation = Installation::with_demo();
    let folder = installation.folder().to_owned();
    fs::write(folder.join("precious"), "good").unwrap();
    symlink(folder.join("precious"), folder.join("link")).unwrap();
    let swap = "mkdir -p /w/real; echo evil >/w/real/f; mkfifo /w/pipe; mknod /w/null c 1 3; cd /w; \
                while :; do ln -sfn /etc d; rm -f d; cp -r real d; rm -rf d; done";
    installation.run_ok(&["run", "-d", "--name", "evil", "demo", "sh", "-c", swap]);
    for round in 0..20 {
        let target = folder.join(format!("out-{round}"));
        let outcome = installation.container(&["cp", "evil:/w", text(&target)]);
        assert!(outcome.code == 0 || outcome.stderr.starts_with("Error: "), "{outcome:?}");
        assert!(!target.join("pipe").exists() && !target.join("null").exists());
        assert!(!target.join("d/passwd").is_file() || target.join("d").is_symlink(), "a link was followed");
        let _ = installation.container(&["cp", text(&folder.join("precious")), "evil:/w/d/f"]);
    }
    installation.run_ok(&["cp", "evil:/w/real/f", text(&folder.join("link"))]);
    assert_eq!(fs::read_to_string(folder.join("precious")).unwrap(), "good");
    assert_eq!(fs::read_to_string(folder.join("link")).unwrap(), "evil\n");
    for special in ["evil:/w/pipe", "evil:/w/null"] {
        let outcome = installation.container(&["cp", special, text(&folder.join("special"))]).expect_code(1);
        assert!(outcome.stderr.contains("cannot be copied"), "{outcome:?}");
    }
}
