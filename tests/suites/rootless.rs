//! Everything for an ordinary user, on a host of its own.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use bulkhead_tests::{
    Installation, OwnHost, PATIENCE, put_program, require_program, run_with_deadline, wait_until,
};

fn installation() -> Installation {
    require_program("slirp4netns", "slirp4netns");
    Installation::of_ordinary_user(OwnHost::new())
}

#[test]
fn a_folder_that_the_user_may_not_enter_is_refused_before_a_machine_starts() {
    let installation = installation();
    let user = installation.host().user();
    for (name, mode, verb) in
        [("closed", 0o700, "enter"), ("unlisted", 0o711, "enter"), ("file", 0o600, "read")]
    {
        let path = installation.folder().join(name);
        match name {
            "file" => fs::write(&path, "secret\n").unwrap(),
            _ => fs::create_dir(&path).unwrap(),
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let volume = format!("{}:/s", path.display());
        let refused =
            installation.container(&["run", "--rm", "-v", &volume, "demo", "true"]).expect_code(125);
        let told = format!("cannot share '{}': user {user} may not {verb} it", path.display());
        assert!(
            refused.stderr.contains(&told) && refused.stderr.contains("Permission denied"),
            "{refused:?}"
        );
        assert_eq!(
            refused.stderr.lines().filter(|line| line.starts_with("Error:")).count(),
            1,
            "{refused:?}"
        );
    }
    assert!(installation.ids().is_empty());
}

#[test]
fn files_of_folders_and_volumes_belong_to_the_user() {
    let installation = installation();
    let user = installation.host().user();
    let folder = installation.folder().join("shared");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine"), "mine\n").unwrap();
    for path in [folder.clone(), folder.join("mine")] {
        chown(path, Some(user), Some(user)).unwrap();
    }
    fs::write(folder.join("foreign"), "foreign\n").unwrap();
    fs::set_permissions(folder.join("foreign"), fs::Permissions::from_mode(0o600)).unwrap();
    let volume = format!("{}:/folder", folder.display());
    let script = "cat /folder/mine && stat -c %u /folder/mine && ! cat /folder/foreign && \
                  echo new > /folder/new && chown 33:33 /folder/new && stat -c %u:%g /folder/new && \
                  mkdir /folder/sub && mv /folder/new /folder/sub/ && echo 1 > /volume/x";
    let run = ["run", "--rm", "-v", &volume, "-v", "disk:/volume", "demo", "sh", "-c", script];
    let outcome = installation.container(&run).expect_code(0);
    // Whoever a file is given to: there is nobody but the user, who is root there.
    assert_eq!(outcome.text(), "mine\n0\n0:0\n");
    let made = fs::metadata(folder.join("sub/new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (user, user));
    let again = ["run", "--rm", "-v", "disk:/volume", "demo", "cat", "/volume/x"];
    assert_eq!(installation.run_ok(&again), "1");

    let file = format!("{}:/file:ro", folder.join("mine").display());
    let outcome =
        installation.container(&["run", "--rm", "-v", &file, "demo", "sh", "-c", "cat /file; : > /file"]);
    assert_eq!((outcome.text().as_str(), outcome.code), ("mine\n", 1), "{outcome:?}");
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "all"]);
    let script = "echo shared > /all/x && chown 33 /all/x && cat /all/x && chmod 777 /all";
    assert_eq!(installation.run_ok(&["run", "--rm", "-v", "all:/all", "demo", "sh", "-c", script]), "shared");
    // Whoever writes in the container.
    installation.run_ok(&["run", "--rm", "-u", "33", "-v", "all:/all", "demo", "touch", "/all/of-33"]);
    // By a group that is not the program's first.
    installation.run_ok(&["run", "--rm", "-v", "all:/all", "demo", "chmod", "775", "/all"]);
    let member = ["run", "--rm", "-u", "33:33", "--group-add", "0", "-v", "all:/all", "demo", "sh", "-c"];
    let script = "cd /all && touch member && mkdir folder && ln -s member link && mkfifo pipe";
    installation.run_ok(&[&member[..], &[script]].concat());
    for name in ["x", "of-33", "member", "folder", "link", "pipe"] {
        let file =
            fs::symlink_metadata(installation.folder().join("app/volumes/all/content").join(name)).unwrap();
        assert_eq!((file.uid(), file.gid()), (user, user), "{name}");
    }
    // A new one takes what the image has.
    for name in ["filled", "filled-disk"] {
        let kind = if name == "filled" { "type=shared" } else { "type=disk" };
        installation.run_ok(&["volume", "create", "--opt", kind, name]);
        let run = ["run", "--rm", "-v", &format!("{name}:/etc"), "demo", "cat", "/etc/passwd"];
        assert!(installation.run_ok(&run).starts_with("root:"), "{name}");
    }
    let file = fs::metadata(installation.folder().join("app/volumes/filled/content/passwd")).unwrap();
    assert_eq!((file.uid(), file.gid()), (user, user));
}

#[test]
fn programs_are_told_what_happens_to_a_folder() {
    for host in [OwnHost::new(), OwnHost::with_subordinate_ids()] {
        programs_are_told(&Installation::of_ordinary_user(host));
    }
}

fn programs_are_told(installation: &Installation) {
    let user = installation.host().user();
    let folder = installation.folder().join("shared");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(user), Some(user)).unwrap();
    let volume = format!("{}:/shared", folder.display());
    installation.run_ok(&["run", "-d", "--name", "box", "-v", &volume, "demo", "sleep", "600"]);
    put_program(installation, "box", "watcher");
    let mut command = installation.command(&["exec", "box", "watcher", "/shared"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    installation.run_ok(&["exec", "box", "mkdir", "/shared/inside"]);
    fs::create_dir(folder.join("outside")).unwrap();
    let told: Vec<String> = lines.map_while(Result::ok).take_while(|line| line != "rest").collect();
    assert_eq!(told, ["inside", "outside"].map(|name| format!("/shared CREATE|DIRECTORY {name}")));
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn without_a_word_about_it_everything_is_in_the_users_own_folders() {
    let installation = installation();
    installation.run_ok(&["system", "stop"]);
    let (home, runtime) = (installation.folder().join("home"), installation.folder().join("xdg"));
    let user = installation.host().user();
    for path in [&home, &runtime] {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        chown(path, Some(user), Some(user)).unwrap();
    }
    let container = |arguments: &[&str]| {
        let mut command = installation.command(arguments);
        for variable in ["APP", "LOG", "RUNTIME", "INSTALL"] {
            command.env_remove(format!("CONTAINER_{variable}_ROOT"));
        }
        for variable in ["CONFIG", "DATA", "STATE"] {
            command.env_remove(format!("XDG_{variable}_HOME"));
        }
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &runtime);
        run_with_deadline(&mut command, b"")
    };
    let archive = installation.demo_archive();
    let _ = container(&["image", "load", "-i", archive.to_str().unwrap()]).expect_code(0);
    let ran = container(&["run", "--rm", "demo", "hostname", "-i"]).expect_code(0);
    assert!(ran.text().starts_with("192.168."), "{ran:?}");
    assert!(home.join(".local/share/bulkhead/state.sqlite").exists());
    assert!(home.join(".local/state/bulkhead/network.log").exists());
    assert!(runtime.join("bulkhead/api.sock").exists());
    let _ = container(&["system", "stop"]).expect_code(0);
    assert!(!runtime.join("bulkhead/network.ns").exists());
}

/// What a socket says to a user who says something to it; an error is nothing.
fn said_by(path: &Path, user: u32) -> Vec<u8> {
    let path = path.to_owned();
    let said = std::thread::spawn(move || {
        let user = rustix::process::Uid::from_raw(user);
        // Of this thread alone, which ends here.
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        let Ok(mut stream) = UnixStream::connect(path) else { return Vec::new() };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Whoever hangs up has said what he has to say.
        let _ = stream.write_all(b"\x04\0\0\0nonsense\r\n\r\n");
        let mut said = vec![0; 64];
        let length = stream.read(&mut said).unwrap_or(0);
        said.truncate(length);
        said
    });
    said.join().unwrap()
}

#[test]
fn f87_f88_other_users_get_no_answer() {
    let installation = installation();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    let runtime = installation.folder().join("run");
    let mut sockets: Vec<_> =
        ["api.sock", "network.sock", "network.ns"].map(|name| runtime.join(name)).into();
    for folder in fs::read_dir(runtime.join("c")).unwrap().map(|entry| entry.unwrap().path()) {
        assert_eq!(folder.metadata().unwrap().mode() & 0o077, 0, "{}", folder.display());
        sockets.extend(Some(folder.join("control.sock")).filter(|path| path.exists()));
    }
    assert_eq!(sockets.len(), 4, "{sockets:?}");
    let owner = installation.host().user();
    let stranger = owner + 5000;
    for socket in &sockets {
        assert_eq!(socket.metadata().unwrap().mode() & 0o077, 0, "{}", socket.display());
        assert!(said_by(socket, stranger).is_empty());
    }
    // Should the modes fail one day, they are asked who they are.
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    [installation.folder(), &runtime, &runtime.join("c")].into_iter().for_each(open);
    for socket in &sockets {
        open(socket);
        open(socket.parent().unwrap());
        let said = said_by(socket, stranger);
        assert!(said.is_empty(), "{} says {}", socket.display(), String::from_utf8_lossy(&said));
    }
    // The same from the owner is heard.
    assert!(!said_by(&runtime.join("api.sock"), owner).is_empty());
    assert!(!said_by(&runtime.join("network.ns"), owner).is_empty());
    // The folders are found to be another's.
    open(&installation.folder().join("app"));
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(installation.state("box"), "running");
}

/// `system start` on the installation's host, by way of what these words do.
fn start_by(installation: &Installation, words: &[&str]) -> Command {
    let start = installation.command(&["system", "start"]);
    let mut command = Command::new(start.get_program());
    // On its host first: whoever is in a user namespace enters no others.
    let arguments: Vec<_> = start.get_args().collect();
    let (enter, user) = arguments.split_at(2);
    command.args(enter).args(words).args(user);
    for (name, value) in start.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn f91_a_host_without_user_namespaces_is_told_about() {
    let installation = installation();
    installation.run_ok(&["system", "stop"]);
    // A user namespace with all users, in which nobody can make another. The shell is executed once more, as the
    // root that it is by then.
    let script = "read go; exec sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"' sh \"$@\"";
    let mut command = start_by(&installation, &["unshare", "--user", "sh", "-c", script, "sh"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    let folder = Path::new("/proc").join(child.id().to_string());
    wait_until("the user namespace", || fs::read_link(folder.join("ns/user")).unwrap() != own);
    for map in ["uid_map", "gid_map"] {
        fs::write(folder.join(map), "0 0 4294967295\n").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    let refused = installation.container(&["run", "--rm", "demo", "true"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("user.max_user_namespaces is 0"), "{refused:?}");
    let status = installation.run_ok(&["system", "status"]);
    assert!(status.contains("sysctl -w user.max_user_namespaces=15000"), "{status}");

    // Where no switch says why: user_namespaces(7) knows none within chroot(2).
    installation.run_ok(&["system", "stop"]);
    installation.host().run(|| rustix::mount::mount_bind_recursive("/", "/mnt").unwrap());
    let started = run_with_deadline(&mut start_by(&installation, &["/usr/sbin/chroot", "/mnt"]), b"");
    assert_eq!(started.code, 0, "{started:?}");
    let refused = installation.container(&["run", "--rm", "demo", "true"]);
    assert!(
        refused.stderr.contains("user namespaces cannot be made (Operation not permitted"),
        "{refused:?}"
    );
}
