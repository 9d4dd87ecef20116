//! `copy`: files in and out, of running and of stopped containers.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// A stopped container with a volume, a shared one, a folder, memory and a socket; in `/ways` are links to them.
fn stopped_with_mounts(installation: &Installation) -> std::os::unix::net::UnixListener {
    let folder = installation.folder();
    fs::create_dir(folder.join("host")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(folder.join("x.sock")).unwrap();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    let host = format!("{}:/srv/host", folder.join("host").display());
    let socket = format!("{}:/run/x.sock", folder.join("x.sock").display());
    let mounts = ["-v", "stv:/data", "-v", "shared:/srv/shared", "-v", &host, "-v", &socket];
    let make = "mkdir -p /ways; ln -sfn /data /ways/volume; ln -sfn ../srv/memory /ways/memory; \
                for f in /data /srv/shared /srv/host; do echo kept > $f/k; done; touch /ready; sleep 600";
    let words = ["--tmpfs", "/srv/memory", "demo", "sh", "-c", make];
    installation.run_ok(&[&["run", "-d", "--name", "vs"], &mounts[..], &words].concat());
    wait_until("the file", || installation.container(&["exec", "vs", "test", "-e", "/ready"]).code == 0);
    installation.run_ok(&["stop", "--time", "0", "vs"]);
    listener
}

#[test]
fn the_mounts_of_a_stopped_container_are_there_for_copies() {
    let installation = Installation::with_demo();
    let _listener = stopped_with_mounts(&installation);
    let folder = installation.folder().to_owned();
    let (file, tree, target) = (folder.join("file"), folder.join("data"), folder.join("out"));
    fs::create_dir(&tree).unwrap();
    fs::write(&file, "new").unwrap();
    fs::write(tree.join("in-tree"), "new").unwrap();
    for place in ["/data", "/srv/shared", "/srv/host", "/ways/volume"] {
        installation.run_ok(&["cp", text(&file), &format!("vs:{place}/of{}", place.replace('/', "-"))]);
        installation.run_ok(&["cp", &format!("vs:{place}/k"), text(&target)]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept\n", "{place}");
    }
    assert_eq!(fs::read_to_string(folder.join("host/of-srv-host")).unwrap(), "new");
    // Trees whose names lead there, and archives.
    installation.run_ok(&["cp", text(&tree), "vs:/"]);
    installation.run_ok(&["cp", &format!("{}/.", tree.display()), "vs:/srv/shared"]);
    let packed = installation.container(&["cp", "vs:/srv/shared", "-"]).expect_code(0);
    let _ = installation.container_with_input(&["cp", "-", "vs:/srv/host"], &packed.stdout).expect_code(0);
    assert_eq!(fs::read_to_string(folder.join("host/shared/in-tree")).unwrap(), "new");
    installation.run_ok(&["cp", "vs:/", text(&folder.join("all"))]);
    for name in ["data/k", "data/in-tree", "srv/shared/k", "srv/host/shared/k"] {
        assert!(folder.join("all").join(name).is_file(), "{name}");
    }
    installation.run_ok(&["start", "vs"]);
    let inside = "ls /data /srv/shared; cat /srv/host/shared/k";
    assert_eq!(
        installation.run_ok(&["exec", "vs", "sh", "-c", inside]),
        "/data:\nin-tree\nk\nof-data\nof-ways-volume\n\n/srv/shared:\nin-tree\nk\nof-srv-shared\nkept"
    );
    // A disk is of one machine at a time, this one included; the container's own files are there without.
    installation.run_ok(&["stop", "--time", "0", "vs"]);
    installation.run_ok(&["run", "-d", "--name", "holder", "-v", "stv:/d", "demo", "sleep", "600"]);
    let refused = installation.container(&["cp", "vs:/data/k", text(&target)]).expect_code(1);
    assert!(refused.stderr.contains("volume 'stv' is in use by container 'holder'"), "{refused:?}");
    installation.run_ok(&["cp", "vs:/etc/hostname", text(&target)]);
    installation.run_ok(&["cp", "vs:/", text(&folder.join("without-disk"))]);
    assert!(folder.join("without-disk/srv/host/shared/k").is_file());
    assert!(!folder.join("without-disk/data/k").exists());
    installation.run_ok(&["export", "-o", text(&folder.join("exported.tar")), "vs"]);
    installation.run_ok(&["delete", "--force", "holder"]);
    installation.run_ok(&["cp", "vs:/data/k", text(&target)]);
    fs::remove_dir_all(folder.join("host")).unwrap();
    let refused = installation.container(&["cp", "vs:/srv/host/k", text(&target)]).expect_code(1);
    assert!(refused.stderr.contains("host' on the host"), "{refused:?}");
    installation.run_ok(&["cp", "vs:/data/k", text(&target)]);
}

#[test]
fn what_is_not_there_for_a_copy_is_no_hindrance_to_a_later_start() {
    let installation = Installation::with_demo();
    let folder = installation.folder().to_owned();
    let (target, host) = (folder.join("out"), folder.join("host"));
    fs::create_dir(&host).unwrap();
    fs::write(folder.join("file"), "shared").unwrap();
    installation.run_ok(&["run", "-d", "--name", "ca", "-v", "data:/data", "demo", "sleep", "600"]);
    let gone = format!("{}:/new/folder", host.display());
    let gone_file = format!("{}:/new/file", folder.join("file").display());
    let mounts = ["-v", "data:/newplace/vol", "-v", &gone, "-v", &gone_file];
    installation.run_ok(&[&["create", "--name", "cb"], &mounts[..], &["demo", "sleep", "600"]].concat());
    fs::rename(&host, folder.join("away")).unwrap();
    fs::rename(folder.join("file"), folder.join("file-away")).unwrap();
    installation.run_ok(&["cp", "cb:/etc/passwd", text(&target)]);
    installation.run_ok(&["cp", text(&target), "cb:/etc/copied"]);
    let changes = installation.run_ok(&["diff", "cb"]);
    assert!(changes.contains("/etc/copied") && !changes.contains("/vol"), "{changes}");
    fs::rename(folder.join("away"), &host).unwrap();
    fs::rename(folder.join("file-away"), folder.join("file")).unwrap();
    installation.run_ok(&["delete", "--force", "ca"]);
    installation.run_ok(&["start", "cb"]);
    let inside = "touch /newplace/vol/x /new/folder/x && cat /new/file";
    assert_eq!(installation.run_ok(&["exec", "cb", "sh", "-c", inside]), "shared");
    assert!(host.join("x").is_file());
}

#[test]
fn an_interrupted_copy_is_no_hindrance_to_a_later_start() {
    let installation = Installation::with_demo();
    let file = installation.folder().join("file");
    let away = installation.folder().join("away");
    fs::write(&file, "shared").unwrap();
    let mount = format!("{}:/new/file", file.display());
    installation.run_ok(&["create", "--name", "box", "-v", &mount, "demo", "sleep", "600"]);
    fs::rename(&file, &away).unwrap();
    // Its reader is slow, so that it is in its midst when the disk has all of it: ext4 commits every five seconds.
    let mut command = installation.command(&["cp", "box:/", "-"]);
    let mut copy = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the command line");
    let record = installation.container_directory("box").join("maintenance.json");
    wait_until("the copy", || record.exists());
    std::thread::sleep(Duration::from_secs(12));
    copy.kill().expect("a process");
    copy.wait().expect("the end of the command line");
    wait_until("the end of the copy", || !record.exists());
    fs::rename(&away, &file).unwrap();
    installation.run_ok(&["start", "box"]);
    assert_eq!(installation.run_ok(&["exec", "box", "cat", "/new/file"]), "shared");
}

#[test]
fn mounts_below_memory_are_there_for_copies() {
    let installation = Installation::with_demo();
    let folder = installation.folder().to_owned();
    let _listener = std::os::unix::net::UnixListener::bind(folder.join("x.sock")).unwrap();
    let (file, target) = (folder.join("file"), folder.join("out"));
    fs::write(&file, "new").unwrap();
    installation.run_ok(&["run", "-d", "--name", "holder", "-v", "held:/data", "demo", "sleep", "600"]);
    let socket = format!("{}:/run/x.sock", folder.join("x.sock").display());
    let mounts = ["--tmpfs", "/run", "-v", "inner:/run/db", "-v", "held:/run/held", "-v", &socket];
    let below = ["-v", "deep:/run/held/deep"];
    let words = [&["create", "--name", "box"], &mounts[..], &below, &["demo", "sleep", "600"]].concat();
    installation.run_ok(&words);
    installation.run_ok(&["cp", "box:/etc/passwd", text(&target)]);
    for place in ["/run/db", "/run/held/deep"] {
        installation.run_ok(&["cp", text(&file), &format!("box:{place}/k")]);
        installation.run_ok(&["cp", &format!("box:{place}/k"), text(&target)]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "new", "{place}");
    }
    // The memory itself is refused by its name, and cannot be written by another.
    let refused = installation.container(&["cp", text(&file), "box:/run/k"]).expect_code(1);
    assert!(refused.stderr.contains("the mount '/run'"), "{refused:?}");
    let contents = format!("{}/.", folder.join("tree").display());
    for place in ["run", "run/held", "run/x.sock"] {
        fs::create_dir_all(folder.join("tree").join(place)).unwrap();
        fs::write(folder.join("tree").join(place).join("k"), "new").unwrap();
        let refused = installation.container(&["cp", &contents, "box:/"]).expect_code(1);
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        fs::remove_dir_all(folder.join("tree")).unwrap();
    }
    installation.run_ok(&["delete", "--force", "holder"]);
    installation.run_ok(&["start", "box"]);
    let found = installation.run_ok(&["exec", "box", "sh", "-c", "cat /run/db/k /run/held/deep/k"]);
    assert_eq!(found, "newnew");
}

#[test]
fn nothing_is_copied_below_what_a_stopped_container_has_not_got() {
    let installation = Installation::with_demo();
    let _listener = stopped_with_mounts(&installation);
    let folder = installation.folder().to_owned();
    let (file, tree, target) = (folder.join("file"), folder.join("memory"), folder.join("out"));
    fs::create_dir(&tree).unwrap();
    fs::write(&file, "new").unwrap();
    fs::write(tree.join("in-tree"), "new").unwrap();
    let own = text(&file);
    for (from, to, mount) in [
        (own, "vs:/srv/memory/new", "/srv/memory"),
        (own, "vs:/srv/memory", "/srv/memory"),
        (own, "vs:/tmp/..//srv/./memory/new", "/srv/memory"),
        (text(&tree), "vs:/srv", "/srv/memory"),
        (own, "vs:/run/x.sock", "/run/x.sock"),
        ("vs:/srv/memory/k", text(&target), "/srv/memory"),
        ("vs:/srv/memory/k", "-", "/srv/memory"),
    ] {
        let refused = installation.container(&["cp", from, to]).expect_code(1);
        let path = if from.starts_with("vs:") { from } else { to }.trim_start_matches("vs:");
        let told = [&format!("'{path}"), &format!("the mount '{mount}"), "container start vs"];
        assert!(told.iter().all(|part| refused.stderr.contains(*part)), "{from} {to}: {refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        assert!(!target.exists());
    }
    // Where only the guest sees it: by links, by what a tree or an archive names.
    let contents = format!("{}/.", folder.join("trees").display());
    fs::create_dir_all(folder.join("trees/memory")).unwrap();
    fs::write(folder.join("trees/memory/in-tree"), "new").unwrap();
    for (from, to) in [(own, "vs:/ways/memory/new"), (&contents, "vs:/srv")] {
        let refused = installation.container(&["cp", from, to]).expect_code(1);
        assert!(refused.stderr.contains("Read-only file system"), "{from} {to}: {refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    }
    let archive = Command::new("tar").arg("-C").arg(folder.join("trees")).args(["-c", "memory"]).output();
    let archive = archive.unwrap().stdout;
    let refused = installation.container_with_input(&["cp", "-", "vs:/srv"], &archive).expect_code(1);
    assert!(refused.stderr.contains("Read-only file system"), "{refused:?}");

    installation.run_ok(&["start", "vs"]);
    let inside = "umount /srv/memory /run/x.sock; find /srv/memory /run/x.sock -type f -size +0";
    let found = installation.container(&["exec", "--privileged", "vs", "sh", "-c", inside]).expect_code(0);
    assert_eq!((found.text().as_str(), found.stderr.as_str()), ("", ""));
    // What has nothing to do with them is copied as ever.
    let archive = installation.container(&["cp", "vs:/etc", "-"]).expect_code(0);
    installation.run_ok(&["stop", "--time", "0", "vs"]);
    let _ = installation.container_with_input(&["cp", "-", "vs:/"], &archive.stdout).expect_code(0);
    installation.run_ok(&["cp", own, "vs:/srv"]);
    installation.run_ok(&["cp", "vs:/srv/file", text(&target)]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
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
    for (from, to) in [("/etc/passwd", "/tmp/x"), ("web:/a", "web:/b"), ("web:", "/tmp/x")] {
        let outcome = installation.container(&["cp", from, to]).expect_code(1);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
    let outcome = installation.container(&["cp", "web:/nothing", text(&folder)]).expect_code(1);
    assert!(outcome.stderr.contains("/nothing"), "{outcome:?}");
}

#[test]
fn what_is_in_the_way_on_the_host_is_named() {
    let installation = Installation::with_demo();
    let folder = installation.folder().to_owned();
    let file = folder.join("file");
    fs::write(&file, "host").unwrap();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    let told = |from: &str, to: &str, words: &str| {
        let outcome = installation.container(&["cp", from, to]).expect_code(1);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
        assert!(!outcome.stderr.contains("ended"), "{outcome:?}");
    };
    let below = format!("{}/1/y", text(&file));
    for state in ["running", "stopped"] {
        if state == "stopped" {
            installation.run_ok(&["stop", "--time", "0", "box"]);
        }
        // Much and little: whether the other end has more to say or not.
        for tree in ["box:/bin", "box:/root"] {
            told(tree, text(&file), &format!("cannot copy a directory onto '{}'", text(&file)));
        }
        told("box:/etc/passwd", &below, &format!("'{}' exists and is no directory", text(&file)));
        told(text(&file), "box:/etc/passwd/y/z", "'/etc/passwd' exists and is no directory");
        told(text(&folder), "box:/etc/passwd", "cannot copy a directory onto '/etc/passwd'");
    }
    installation.run_ok(&["start", "box"]);
    told("box:/dev/zero", &below, "'/dev/zero' is a character device, which cannot be copied");
    told("/dev/zero", "box:/tmp", "'/dev/zero' is a character device, which cannot be copied");
    assert_eq!(fs::read_to_string(&file).unwrap(), "host");
}

#[test]
fn a_relative_path_of_a_container_begins_at_its_root() {
    let installation = Installation::with_demo();
    let (file, target) = (installation.folder().join("file"), installation.folder().join("target"));
    fs::write(&file, "new").unwrap();
    installation.run_ok(&["run", "-d", "--name", "box", "-w", "/tmp", "demo", "sleep", "600"]);
    assert_eq!(installation.run_ok(&["cp", text(&file), "box:etc/"]), "box:/etc/file");
    installation.run_ok(&["cp", "box:etc/file", text(&target)]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    assert_eq!(installation.run_ok(&["exec", "box", "cat", "/etc/file"]), "new");
}

#[test]
fn files_of_proc_and_sys_are_copied_with_what_they_say() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    let target = installation.folder().join("target");
    for path in [
        "/proc/cpuinfo",
        "/proc/version",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/uevent_seqnum",
    ] {
        let wanted = installation.container(&["exec", "box", "cat", path]);
        if wanted.code == 0 {
            installation.run_ok(&["cp", &format!("box:{path}"), text(&target)]);
            assert_eq!(fs::read(&target).unwrap(), wanted.stdout, "{path}");
        }
    }
    assert!(!fs::read(&target).unwrap().is_empty());
    installation.run_ok(&["cp", "/proc/version", "box:/version"]);
    let own = fs::read_to_string("/proc/version").unwrap();
    assert_eq!(installation.run_ok(&["exec", "box", "cat", "/version"]), own.trim_end());
    // What cannot be read there is no hindrance to the rest.
    let tree = installation.folder().join("tree");
    let outcome = installation.container(&["cp", "box:/proc/1", text(&tree)]).expect_code(0);
    assert!(outcome.stderr.contains("left out './mem'"), "{outcome:?}");
    assert_eq!(fs::read_to_string(tree.join("comm")).unwrap(), "sleep\n");
    let outcome = installation.container(&["cp", "box:/proc/1/pagemap", text(&target)]).expect_code(1);
    assert!(outcome.stderr.contains("longer than 16 MiB"), "{outcome:?}");
}

/// As Docker and cp(1) have it, on either side.
#[test]
fn a_link_to_a_file_is_followed_and_no_device_or_pipe_is_replaced() {
    let installation = Installation::with_demo();
    let folder = installation.folder().to_owned();
    let path = |name: &str| folder.join(name);
    // What the link leads to must be looked for in the container: the host's file of that path stays.
    let make = format!(
        "mkdir -p {0}; echo old >{0}/file; ln -s {0}/file /link; mkfifo /pipe; echo new >/f; exec sleep 600",
        folder.display()
    );
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sh", "-c", &make]);
    wait_until("the files", || installation.container(&["exec", "box", "test", "-s", "/f"]).code == 0);
    fs::write(path("file"), "host").unwrap();
    symlink("file", path("link")).unwrap();
    symlink("/proc/self/fd/1", path("stdout")).unwrap();
    installation.run_ok(&["cp", text(&path("file")), "box:/link"]);
    let inside = format!("readlink /link; cat {}/file", folder.display());
    let expected = format!("{}/file\nhost", folder.display());
    assert_eq!(installation.run_ok(&["exec", "box", "sh", "-c", &inside]), expected);
    installation.run_ok(&["cp", "box:/f", text(&path("link"))]);
    assert_eq!(fs::read_link(path("link")).unwrap(), Path::new("file"));
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "new\n");

    // Nodes of our own: the kernel has no device with these numbers.
    for (name, kind) in [("pipe", "p"), ("device", "c"), ("f", "b")] {
        let numbers: &[&str] = if kind == "p" { &[] } else { &["511", "77"] };
        let made = Command::new("mknod").arg(path(name)).arg(kind).args(numbers).status();
        assert!(made.expect("mknod is missing: apt-get install coreutils").success());
    }
    let node = |name: &str| fs::symlink_metadata(path(name)).unwrap().ino();
    let before = ["pipe", "device", "f"].map(node);
    let targets = [path("pipe"), path("device"), path("f"), path("stdout"), folder.clone()];
    for target in targets.iter().map(|target| text(target)) {
        let outcome = installation.container(&["cp", "box:/f", target]).expect_code(1);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert!(outcome.stderr.contains("must be a directory or a regular file"), "{outcome:?}");
    }
    assert_eq!(["pipe", "device", "f"].map(node), before);
    for target in ["box:/pipe", "box:/dev/null"] {
        let outcome = installation.container(&["cp", text(&path("file")), target]).expect_code(1);
        assert!(outcome.stderr.contains("must be a directory or a regular file"), "{outcome:?}");
    }
    let kinds = "stat -c %F /pipe /dev/null";
    let kinds = installation.run_ok(&["exec", "box", "sh", "-c", kinds]);
    assert_eq!(kinds.to_lowercase(), "fifo\ncharacter special file");
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
    assert_eq!(fs::read_to_string(folder.join("precious")).unwrap(), "good");
    for special in ["evil:/w/pipe", "evil:/w/null"] {
        let outcome = installation.container(&["cp", special, text(&folder.join("special"))]).expect_code(1);
        assert!(outcome.stderr.contains("cannot be copied"), "{outcome:?}");
    }
}
