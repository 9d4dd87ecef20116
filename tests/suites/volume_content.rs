//! What a new volume holds: what the image has where it is mounted.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bulkhead_tests::{
    FIRST_SUBORDINATE_ID, Installation, OwnHost, read_image, require_program, wait_until, write_layers,
};
use tar::{Builder, EntryType, Header};

/// A directory of the image; more is in `/srv/many`, `/srv/big`, `/srv/empty` and `/srv/far`.
const SITE: &str = "/srv/site";
const MANY: usize = 4000;
const BIG_BYTES: usize = 8 << 20;
/// All that can be told of what is there.
const TELL: &str = "cd $0 && ls -A | sort && stat -c '%n %F %u:%g %a %Y' . && cd $0 && for f in deep deep/file \
                    deep/same link pipe; do stat -c '%n %F %u:%g %a %h %Y' $f; done; cat deep/file; readlink link";

fn add(layer: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, mode: u32, contents: &[u8]) {
    add_of(layer, 33, path, kind, mode, contents);
}

fn add_of(layer: &mut Builder<Vec<u8>>, user: u64, path: &str, kind: EntryType, mode: u32, contents: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(user);
    header.set_gid(44);
    header.set_mtime(1_600_000_000);
    header.set_size(if kind == EntryType::Regular { contents.len() as u64 } else { 0 });
    let path = path.trim_start_matches('/');
    match kind {
        EntryType::Link | EntryType::Symlink => {
            let target = std::str::from_utf8(contents).expect("a path");
            layer.append_link(&mut header, path, target).expect("entry");
        }
        _ => layer.append_data(&mut header, path, contents).expect("entry"),
    }
}

fn installation() -> Installation {
    let installation = Installation::with_demo();
    let demo = installation.demo_archive();
    with_filled(installation, &demo)
}

/// Gives it `filled:latest`, the demo image with more in it.
fn with_filled(installation: Installation, demo: &Path) -> Installation {
    let (_, compressed) = read_image(demo);
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is missing: apt-get install gzip");
    let mut input = gzip.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || input.write_all(&compressed));
    let demo = gzip.wait_with_output().expect("an archive").stdout;
    feeder.join().expect("no panic").expect("an archive that is read");

    let mut layer = Builder::new(Vec::new());
    add(&mut layer, SITE, EntryType::Directory, 0o2750, b"");
    add(&mut layer, "/srv/site/deep", EntryType::Directory, 0o1711, b"");
    add(&mut layer, "/srv/site/deep/file", EntryType::Regular, 0o4640, b"content\n");
    add(&mut layer, "/srv/site/deep/same", EntryType::Link, 0o4640, b"srv/site/deep/file");
    add(&mut layer, "/srv/site/link", EntryType::Symlink, 0o777, b"deep/file");
    add(&mut layer, "/srv/site/pipe", EntryType::Fifo, 0o620, b"");
    add(&mut layer, "/srv/empty", EntryType::Directory, 0o1777, b"");
    add(&mut layer, "/srv/way", EntryType::Symlink, 0o777, b"/srv/site");
    add(&mut layer, "/srv/big/file", EntryType::Regular, 0o644, &vec![7; BIG_BYTES]);
    add_of(&mut layer, 100_000, "/srv/far/file", EntryType::Regular, 0o4755, b"far");
    add_of(&mut layer, 100_000, "/srv/far/link", EntryType::Symlink, 0o777, b"file");
    for number in 0..MANY {
        add(&mut layer, &format!("/srv/many/{}/{number}", number % 7), EntryType::Regular, 0o644, b"x");
    }
    let layers = [demo, layer.into_inner().expect("layer")];
    installation.load(&write_layers(installation.folder(), "filled", "amd64", &layers));
    installation
}

fn content(installation: &Installation, name: &str) -> PathBuf {
    installation.folder().join("app/volumes").join(name).join("content")
}

/// What a shell in a container of the image says that has `mount`.
fn run(installation: &Installation, mount: &str, script: &str, argument: &str) -> String {
    let words = ["run", "--rm", "--no-dns", "-v", mount, "filled", "sh", "-c", script, argument];
    installation.run_ok(&words)
}

#[test]
fn a_new_volume_takes_what_the_image_has_in_its_place() {
    let installation = installation();
    let expected = installation.run_ok(&["run", "--rm", "filled", "sh", "-c", TELL, SITE]);
    assert!(expected.contains("deep/file regular file 33:44 4640 2 1600000000"), "{expected}");
    assert!(expected.contains(". directory 33:44 2750"), "{expected}");
    // The time of the top is that of its last change.
    let without_time = |text: &str| text.replacen(" 1600000000", "", 1);
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    for name in ["disk", "shared"] {
        let mount = format!("{name}:{SITE}");
        let found = run(&installation, &mount, TELL, SITE);
        let top = |text: &str| text.lines().position(|line| line.starts_with(". ")).expect("the top");
        let (mut found, mut expected): (Vec<_>, Vec<_>) =
            (found.lines().collect(), expected.lines().collect());
        let (one, other) = (found.remove(top(&found.join("\n"))), expected.remove(top(&expected.join("\n"))));
        assert_eq!(found, expected, "{name}");
        assert!(one.starts_with(without_time(other).trim_end()), "{one} {other}");
        // Only once, whatever becomes of it.
        run(&installation, &mount, "rm -r $0/deep $0/link; chmod 700 $0", SITE);
        assert_eq!(run(&installation, &mount, "ls -A $0; stat -c %a $0", SITE), "pipe\n700");
        run(&installation, &mount, "rm $0/pipe", SITE);
        assert_eq!(run(&installation, &mount, "ls -A $0; stat -c %a $0", SITE), "700");
    }
    // Nobody wants it, or nothing is there to be had.
    for (mount, path) in [("bare:/srv/site:nocopy", SITE), ("other:/nothing", "/nothing")] {
        assert_eq!(run(&installation, mount, "ls -A $0; stat -c %u%a $0", path), "0755", "{mount}");
    }
    let mount = "type=volume,source=third,target=/srv/site,volume-nocopy";
    let words = ["run", "--rm", "--mount", mount, "filled", "ls", "-A", SITE];
    assert_eq!(installation.run_ok(&words), "");
    // It is as empty as it was.
    assert_eq!(run(&installation, "other:/srv/site", "ls -A $0", SITE), "deep\nlink\npipe");
    // An empty directory has an owner and a mode to give.
    for name in ["disk-2", "shared-2"] {
        if name == "shared-2" {
            installation.run_ok(&["volume", "create", "--opt", "type=shared", name]);
        }
        let mount = format!("{name}:/srv/empty");
        assert_eq!(run(&installation, &mount, "stat -c %u:%g-%a $0", "/srv/empty"), "33:44-1777");
        run(&installation, &mount, "chmod 711 $0", "/srv/empty");
        assert_eq!(run(&installation, &mount, "stat -c %u:%g-%a $0", "/srv/empty"), "33:44-711");
    }
}

#[test]
fn a_new_volume_of_an_ordinary_user_has_the_owners_of_the_image() {
    require_program("slirp4netns", "slirp4netns");
    require_program("newuidmap", "uidmap");
    // That of the user's own installation is only on his host.
    let demo = Installation::new().demo_archive();
    let installation = Installation::of_ordinary_user(OwnHost::with_subordinate_ids());
    let installation = with_filled(installation, &demo);
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    let tell = "stat -c %u:%g-%a $0 $0/deep/file && cat $0/deep/file";
    for name in ["disk", "shared"] {
        let mount = format!("{name}:{SITE}");
        for _ in 0..2 {
            assert_eq!(run(&installation, &mount, tell, SITE), "33:44-2750\n33:44-4640\ncontent", "{name}");
        }
    }
    // His ids end before 100000: such files are his own, and nobody gains anything by them.
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "far"]);
    let tell = "cat $0/file && stat -c %u:%g-%a $0/file && readlink $0/link";
    assert_eq!(run(&installation, "far:/srv/far", tell, "/srv/far"), "far0:44-755\nfile");
    let on_host = fs::metadata(content(&installation, "shared").join("deep/file")).unwrap();
    let expected = (FIRST_SUBORDINATE_ID + 33 - 1, FIRST_SUBORDINATE_ID + 44 - 1);
    assert_eq!((on_host.uid(), on_host.gid()), expected);
}

#[test]
fn links_read_only_mounts_and_mounts_below_each_other() {
    let installation = installation();
    // By a link, and for reading only: from the first moment on.
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    for name in ["disk", "shared"] {
        let mount = format!("{name}:/srv/way:ro");
        let script = "cat $0/link; mount -o remount,rw $0; echo no > $0/new; ls $0";
        let words = ["run", "--rm", "--privileged", "-v", &mount, "filled", "sh", "-c", script, "/srv/way"];
        let outcome = installation.container(&words);
        assert_eq!(outcome.text(), "content\ndeep\nlink\npipe\n", "{outcome:?}");
        assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
    }
    // Each takes what the image has, not what is mounted meanwhile.
    let words = ["run", "--rm", "-v", "inner:/srv/site", "-v", "outer:/srv", "filled", "sh", "-c"];
    let script = "ls /srv /srv/site; umount /srv/site 2>/dev/null; ls /srv/empty";
    assert_eq!(
        installation.run_ok(&[&words[..], &[script]].concat()),
        "/srv:\nbig\nempty\nfar\nmany\nsite\nway\n\n/srv/site:\ndeep\nlink\npipe"
    );
    assert_eq!(run(&installation, "outer:/o", "ls $0/site", "/o"), "deep\nlink\npipe");
    // One volume in two places takes what is in the first.
    let words =
        ["run", "--rm", "-v", "twice:/srv/site", "-v", "twice:/srv/empty:ro", "filled", "ls", "/srv/empty"];
    assert_eq!(installation.run_ok(&words), "deep\nlink\npipe");
    // No directory.
    let refused = installation.container(&["run", "--rm", "-v", "file:/bin/sh", "filled", "true"]);
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("/bin/sh"), "{refused:?}");
    // Without a name.
    let words = ["run", "--rm", "-v", SITE, "filled", "sh", "-c", "cat $0/link; stat -c %u $0", SITE];
    assert_eq!(installation.run_ok(&words), "content\n33");
}

#[test]
fn a_volume_without_room_stays_empty_and_nothing_starts() {
    let installation = installation();
    installation.run_ok(&["volume", "create", "-s", "4m", "small"]);
    let words = ["run", "--rm", "-v", "small:/srv/big", "filled", "echo", "started"];
    let outcome = installation.container(&words).expect_code(125);
    assert_eq!(outcome.text(), "", "{outcome:?}");
    let told = ["new volume at /srv/big", "'file'", "No space left on device"];
    assert!(told.iter().all(|part| outcome.stderr.contains(part)), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().filter(|line| line.starts_with("Error")).count(), 1, "{outcome:?}");
    assert_eq!(run(&installation, "small:/srv/site:nocopy", "ls -A $0", SITE), "");
    assert_eq!(run(&installation, "small:/srv/site", "cat $0/link", SITE), "content");
}

#[test]
fn a_machine_that_dies_meanwhile_leaves_nothing_that_counts() {
    let installation = installation();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    installation.run_ok(&["create", "--name", "box", "-v", "shared:/srv/many", "filled", "sleep", "600"]);
    let partial = content(&installation, "shared").join(".bulkhead-filling/partial/content");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| installation.container(&["start", "box"]));
        wait_until("some of it is copied", || {
            fs::read_dir(&partial).is_ok_and(|entries| entries.count() > 2)
        });
        for pid in installation.file_servers() {
            installation.kill(pid);
        }
        let outcome = starting.join().expect("no panic");
        assert_ne!(outcome.code, 0, "{outcome:?}");
    });
    let left = content(&installation, "shared").join(".bulkhead-filling");
    assert!(left.exists() && !left.with_file_name("0").exists(), "it was not in the middle of the copy");
    installation.run_ok(&["start", "box"]);
    let script = "ls -A /srv/many; find /srv/many -type f | wc -l";
    let found = installation.run_ok(&["exec", "box", "sh", "-c", script]);
    assert_eq!(found, format!("0\n1\n2\n3\n4\n5\n6\n{MANY}"));
}

#[test]
fn of_several_that_come_at_once_one_fills_a_shared_volume() {
    let installation = installation();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    let script = "ls -A $0 | wc -l; find $0 -type f | wc -l; find $0 -name .bulkhead* | wc -l";
    std::thread::scope(|scope| {
        let start = || run(&installation, "shared:/srv/many", script, "/srv/many");
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(start)).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), format!("7\n{MANY}\n0"));
        }
    });
    assert_eq!(fs::read_dir(content(&installation, "shared")).expect("a directory").count(), 7);
}

#[test]
fn what_is_copied_to_a_container_that_never_ran_comes_beside_it() {
    let installation = installation();
    let file = installation.folder().join("new");
    fs::write(&file, "new").expect("a file");
    for mount in ["disk:/srv/site", "read:/srv/site:ro"] {
        installation.run_ok(&["create", "--name", "box", "-v", mount, "filled", "sleep", "600"]);
        let found = installation.container(&["cp", "box:/srv/site/deep/file", "-"]).expect_code(0);
        assert!(found.stdout.windows(8).any(|part| part == b"content\n"), "{mount}");
        let copied = installation.container(&["cp", file.to_str().expect("a path"), "box:/srv/site"]);
        installation.run_ok(&["start", "box"]);
        let names = installation.run_ok(&["exec", "box", "ls", SITE]);
        if mount.ends_with("ro") {
            assert!(copied.code == 1 && copied.stderr.contains("Read-only"), "{copied:?}");
            assert_eq!(names, "deep\nlink\npipe");
        } else {
            assert_eq!((copied.code, names.as_str()), (0, "deep\nlink\nnew\npipe"), "{copied:?}");
        }
        installation.run_ok(&["delete", "--force", "box"]);
    }
}

#[test]
fn a_kernel_of_the_users_never_has_what_it_may_only_read() {
    let installation = installation();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    let kernel = installation.folder().join("kernel");
    fs::copy("/bin/false", &kernel).expect("a program");
    let kernel = kernel.to_str().expect("a path");
    for name in ["disk", "shared"] {
        let mount = format!("{name}:/srv/site:ro");
        let words = ["run", "--rm", "--kernel", kernel, "-v", &mount, "filled", "true"];
        let _ = installation.container(&words).expect_code(125);
        // The machine that fills it is ours.
        assert!(is_known_to_hold_something(&installation, name), "{name}");
        assert_eq!(run(&installation, &format!("{name}:/v"), "cat $0/link", "/v"), "content");
    }
}

fn is_known_to_hold_something(installation: &Installation, name: &str) -> bool {
    installation.folder().join("app/volumes").join(name).join("filled").exists()
}

#[test]
fn what_a_container_writes_to_an_empty_volume_is_its_content() {
    let installation = installation();
    for name in ["shared", "shared-bare"] {
        installation.run_ok(&["volume", "create", "--opt", "type=shared", name]);
    }
    for (name, options) in [("disk", ""), ("bare", ":nocopy"), ("shared", ""), ("shared-bare", ":nocopy")] {
        let mount = format!("{name}:/nowhere{options}");
        run(&installation, &mount, "ls $0", "/nowhere");
        assert!(!is_known_to_hold_something(&installation, name), "{name}");
        run(&installation, &mount, "touch $0/x", "/nowhere");
        assert!(is_known_to_hold_something(&installation, name), "{name}");
    }
}

#[test]
fn f10_a_container_can_be_ended_while_its_volume_is_filled() {
    let installation = installation();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    let partial = content(&installation, "shared").join(".bulkhead-filling/partial/content");
    let mount = "shared:/srv/many:ro";
    for (end, told) in [
        (&["stop", "box"][..], "was stopped while it started"),
        (&["kill", "box"], "was stopped while it started"),
        (&["delete", "--force", "box"], "was removed while it started"),
        (&["system", "stop"], "was stopped while it started"),
    ] {
        // What the last one has left would be seen at once.
        let _ = fs::remove_dir_all(content(&installation, "shared").join(".bulkhead-filling"));
        if !installation.ids().iter().any(|id| id == "box") {
            installation.run_ok(&["create", "--name", "box", "-v", mount, "filled", "sleep", "600"]);
        }
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| installation.container(&["start", "box"]));
            wait_until("some of it is copied", || {
                fs::read_dir(&partial).is_ok_and(|entries| entries.count() > 2)
            });
            // Now it would take for ever.
            for pid in installation.file_servers() {
                signal(pid, "-STOP");
            }
            let began = std::time::Instant::now();
            installation.run_ok(end);
            assert!(began.elapsed().as_secs() < 60, "{end:?} waited for the volume");
            let outcome = starting.join().expect("no panic").expect_code(1);
            assert!(outcome.stderr.contains(told), "{end:?}: {outcome:?}");
        });
    }
    installation.run_ok(&["start", "box"]);
    assert_eq!(
        installation.run_ok(&["exec", "box", "sh", "-c", "find /srv/many -type f | wc -l"]),
        MANY.to_string()
    );
}

/// A process that is stopped is like a host with a disk that does not answer.
fn signal(pid: i32, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.expect("kill is missing: apt-get install procps").success());
}

#[test]
fn what_is_in_the_way_of_filling_a_shared_volume_is_content() {
    let installation = installation();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    run(&installation, "shared:/v:nocopy", "touch $0/.bulkhead-filling", "/v");
    fs::remove_file(installation.folder().join("app/volumes/shared/filled")).expect("what is known of it");
    assert_eq!(run(&installation, "shared:/srv/site", "ls -A $0", SITE), ".bulkhead-filling");
    // A lock in there, which a container can hold as well, holds up nobody.
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "locked"]);
    let staging = content(&installation, "locked").join(".bulkhead-filling");
    fs::create_dir(&staging).expect("a directory");
    let lock = fs::File::create(staging.join("lock")).expect("a file");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    assert_eq!(run(&installation, "locked:/srv/site", "cat $0/link", SITE), "content");
}

#[test]
fn what_a_container_leaves_where_a_volume_is_filled_fails_no_other() {
    let installation = installation();
    let scripts = [
        "mkdir $0; touch $0/complete",
        "mkdir -p $0/complete; touch $0/complete/content",
        "mkdir -p $0/complete; ln -s / $0/complete/top",
    ];
    for (number, script) in scripts.iter().enumerate() {
        let (disk, shared) = (format!("disk-{number}"), format!("shared-{number}"));
        installation.run_ok(&["volume", "create", "--opt", "type=shared", &shared]);
        leave_and_start(&installation, &disk, script);
        leave_and_start(&installation, &shared, script);
    }
    // Deeper than any copy, and than any path is long.
    let script = "p=d; for n in 0 1 2 3 4 5 6 7 8 9; do p=$p/$p; done; mkdir -p $0/x/$p $0/y/$p $0/partial/$p; \
                  mv $0/x $0/y/$p/ && mv $0/y $0/partial/$p/";
    leave_and_start(&installation, "deep", script);
}

/// A container leaves something in a new volume, and another one starts with it.
fn leave_and_start(installation: &Installation, name: &str, script: &str) {
    // The image has nothing there, so nobody has looked into the volume yet.
    run(installation, &format!("{name}:/v"), script, "/v/.bulkhead-filling");
    assert!(!is_known_to_hold_something(installation, name), "{script}");
    assert_eq!(run(installation, &format!("{name}:{SITE}"), "echo started", SITE), "started", "{script}");
    assert!(is_known_to_hold_something(installation, name), "{script}");
}

#[test]
fn a_start_waits_for_the_filling_of_a_copy_as_for_the_copy() {
    let installation = installation();
    installation.run_ok(&["create", "--name", "copied", "-v", "data:/srv/many:ro", "filled", "true"]);
    installation.run_ok(&["create", "--name", "started", "-v", "data:/data", "filled", "sleep", "600"]);
    let record = installation.container_directory("copied").join("maintenance.json");
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| installation.container(&["cp", "copied:/srv/many/0/0", "-"]));
        wait_until("the machine that fills it", || record.exists());
        // Ten seconds, which are enough but where much else goes on.
        while let started = installation.container(&["start", "started"])
            && started.code != 0
        {
            assert!(started.stderr.contains("is being copied"), "{started:?}");
        }
        let copied = copying.join().expect("no panic");
        assert_eq!(copied.code, 0, "{copied:?}");
    });
}

#[test]
fn a_start_that_filled_its_volume_waits_for_a_copy_as_long_as_any() {
    let installation = installation();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "own"]);
    installation.run_ok(&["create", "--name", "copied", "-v", "data:/data", "filled", "true"]);
    let words = ["create", "--name", "started", "-v", "own:/srv/many:ro", "-v", "data:/data", "filled"];
    installation.run_ok(&[&words[..], &["sleep", "600"]].concat());
    let partial = content(&installation, "own").join(".bulkhead-filling/partial/content");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| installation.container(&["start", "started"]));
        wait_until("some of it is copied", || {
            fs::read_dir(&partial).is_ok_and(|entries| entries.count() > 2)
        });
        let servers = installation.file_servers();
        servers.iter().for_each(|pid| signal(*pid, "-STOP"));
        // Its reader is slow: whatever it copies is not done before the pipe is closed.
        let mut command = installation.command(&["cp", "copied:/", "-"]);
        let mut copy =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the command line");
        let record = installation.container_directory("copied").join("maintenance.json");
        wait_until("the copy", || record.exists());
        // Longer than any start waits for a copy.
        std::thread::sleep(Duration::from_secs(11));
        servers.iter().for_each(|pid| signal(*pid, "-CONT"));
        wait_until("the volume is filled", || is_known_to_hold_something(&installation, "own"));
        std::thread::sleep(Duration::from_secs(2));
        assert!(!starting.is_finished());
        drop(copy.stdout.take());
        let started = starting.join().expect("no panic");
        assert_eq!(started.code, 0, "{started:?}");
        copy.wait().expect("the end of the command line");
    });
}
