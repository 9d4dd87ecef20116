//! Folders and files of the host in containers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bulkhead_tests::{Installation, Outcome, wait_until};

fn text(path: &Path) -> &str {
    path.to_str().expect("path in UTF-8")
}

/// A folder that is shared, and a secret beside it.
fn shared(installation: &Installation) -> PathBuf {
    let folder = installation.folder().join("host/shared");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), "from the host\n").unwrap();
    fs::write(installation.folder().join("host/secret"), "secret\n").unwrap();
    folder
}

/// Runs a script with the folder at /shared.
fn run(installation: &Installation, folder: &Path, options: &str, script: &str) -> Outcome {
    let volume = format!("{}:/shared{options}", text(folder));
    installation.container(&["run", "--rm", "-v", &volume, "demo", "sh", "-c", script])
}

#[test]
fn a_folder_is_shared_both_ways() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let script = "cat /shared/file; mkdir -p /shared/deep/er; echo guest > /shared/deep/er/new; \
                  chown 1234:77 /shared/deep/er/new; chmod 640 /shared/deep/er/new; ln -s ../file /shared/deep/link; \
                  ln /shared/file /shared/hard; mv /shared/deep/er /shared/moved; sync";
    let outcome = run(&installation, &folder, "", script);
    assert_eq!((outcome.code, outcome.text().as_str()), (0, "from the host\n"), "{outcome:?}");
    assert_eq!(fs::read_to_string(folder.join("moved/new")).unwrap(), "guest\n");
    let new = fs::metadata(folder.join("moved/new")).unwrap();
    assert_eq!((new.uid(), new.gid(), new.mode() & 0o7777), (1234, 77, 0o640));
    assert_eq!(fs::read_link(folder.join("deep/link")).unwrap(), Path::new("../file"));
    assert_eq!(
        fs::metadata(folder.join("hard")).unwrap().ino(),
        fs::metadata(folder.join("file")).unwrap().ino()
    );
    // As the other flag has it, and read-only: also for the guest's root.
    let mount = format!("type=bind,source={},target=/shared,readonly", text(&folder));
    let script = "cat /shared/file; touch /shared/x; mount -o remount,rw /shared; echo no > /shared/file; rm /shared/file";
    let outcome = installation.container(&[
        "run",
        "--rm",
        "--privileged",
        "--mount",
        &mount,
        "demo",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(outcome.text(), "from the host\n", "{outcome:?}");
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "from the host\n");
    assert!(!folder.join("x").exists());
    wait_until("no server outlives its machine", || installation.pids("container-virtiofs").is_empty());
}

#[test]
fn the_example_of_the_reference_works_as_written() {
    let installation = Installation::with_demo();
    let home = installation.folder().join("home");
    fs::create_dir_all(home.join("Desktop/assets")).unwrap();
    fs::write(home.join("Desktop/assets/link.svg"), "x").unwrap();
    let volume = format!("{}/Desktop/assets:/content/assets", text(&home));
    let listed =
        installation.run_ok(&["run", "--rm", "--volume", &volume, "demo", "ls", "-l", "/content/assets"]);
    assert!(listed.contains("link.svg"), "{listed}");
    // Relative to the working directory of whoever types it.
    let mut command = installation.command(&["run", "--rm", "-v", "./Desktop:/d", "demo", "ls", "/d"]);
    let outcome = bulkhead_tests::run_with_deadline(command.current_dir(&home), b"");
    assert_eq!(outcome.text(), "assets\n", "{outcome:?}");
}

#[test]
fn a_file_is_shared_alone() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let volume = format!("{}:/etc/only:ro", text(&folder.join("file")));
    let script = "cat /etc/only; stat -c %F /etc/only; echo no > /etc/only; \
                  mkdir /m && mount -t virtiofs folder0 /m && ls -a /m; cat /m/../secret /m/file/../secret";
    let outcome =
        installation.container(&["run", "--rm", "--privileged", "-v", &volume, "demo", "sh", "-c", script]);
    assert_eq!(outcome.text(), "from the host\nregular file\n.\n..\nfile\n", "{outcome:?}");
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "from the host\n");
    let volume = format!("{}:/etc/only", text(&folder.join("file")));
    installation.run_ok(&["run", "--rm", "-v", &volume, "demo", "sh", "-c", "echo guest > /etc/only"]);
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "guest\n");
}

#[test]
fn what_the_host_changes_is_seen_at_once() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let volume = format!("{}:/shared", text(&folder));
    installation.run_ok(&["run", "-d", "--name", "box", "-v", &volume, "demo", "sleep", "600"]);
    let cat = |name: &str| installation.container(&["exec", "box", "cat", &format!("/shared/{name}")]);
    for round in 0..10 {
        let content = format!("{}\n", "x".repeat(round + 1));
        fs::write(folder.join("file"), &content).unwrap();
        assert_eq!(cat("file").text(), content, "round {round}");
        // Of the same length, and in place of the old file.
        let replaced = content.replace('x', "y");
        fs::write(folder.join("fresh"), &replaced).unwrap();
        fs::rename(folder.join("fresh"), folder.join("file")).unwrap();
        assert_eq!(cat("file").text(), replaced, "round {round}");
        // Also by those who have just listed it.
        let list = installation.run_ok(&["exec", "box", "sh", "-c", "ls /shared; stat -c %s /shared/file"]);
        assert_eq!(list, format!("file\n{}", replaced.len()), "round {round}");
        fs::write(folder.join("file"), format!("{replaced}longer")).unwrap();
        let size = installation.run_ok(&["exec", "box", "stat", "-c", "%s", "/shared/file"]);
        assert_eq!(size, (replaced.len() + 6).to_string(), "round {round}");
        fs::remove_file(folder.join("file")).unwrap();
        assert_eq!(cat("file").code, 1, "round {round}");
    }
    installation.run_ok(&["delete", "--force", "box"]);
}

#[test]
fn f83_nothing_outside_the_folder_is_reached() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let host = folder.parent().unwrap();
    symlink(host.join("secret"), folder.join("absolute")).unwrap();
    symlink("../secret", folder.join("relative")).unwrap();
    symlink("/", folder.join("root")).unwrap();
    fs::create_dir(host.join("outside")).unwrap();
    fs::write(host.join("outside/secret"), "secret\n").unwrap();
    let script = format!(
        "cat /shared/absolute /shared/relative /shared/../secret /shared/root{host}/secret; \
         mkdir /shared/a; cd /shared/a; mv /shared/a /shared/b; cat ../../secret ../../../secret; \
         mkdir /m; mount -t virtiofs folder0 /m; cat /m/../secret; \
         mknod /shared/disk b 259 0; mknod /shared/null c 1 3; mkfifo /shared/pipe; \
         chmod 4755 /shared/file; ls /shared/root",
        host = text(host)
    );
    let volume = format!("{}:/shared", text(&folder));
    let outcome =
        installation.container(&["run", "--rm", "--privileged", "-v", &volume, "demo", "sh", "-c", &script]);
    assert!(!outcome.text().contains("secret"), "{outcome:?}");
    // The link to / leads to the container's own root.
    assert!(outcome.text().contains("shared"), "{outcome:?}");
    assert!(!folder.join("disk").exists() && !folder.join("null").exists(), "no devices: {outcome:?}");
    assert_eq!(fs::metadata(folder.join("file")).unwrap().mode() & 0o7777, 0o4755);

    // A guest that swaps a directory for a link as fast as it can.
    fs::create_dir(folder.join("swapped")).unwrap();
    fs::write(folder.join("swapped/secret"), "decoy\n").unwrap();
    let script = "cd /shared; ( while :; do mv swapped kept; ln -s ../outside swapped; rm swapped; mv kept swapped; done ) & \
                  i=0; while [ $i -lt 300 ]; do cat swapped/secret; i=$((i+1)); done 2>/dev/null; kill $!";
    let outcome = run(&installation, &folder, "", script);
    assert!(!outcome.text().contains("secret"), "{outcome:?}");
    assert!(outcome.text().contains("decoy"), "nothing was read at all: {outcome:?}");
    assert_eq!(fs::read_to_string(host.join("secret")).unwrap(), "secret\n");
}

#[test]
fn f83_special_files_of_the_host_neither_open_nor_hang() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let made = Command::new("mknod").arg(folder.join("null")).args(["c", "1", "3"]).status().unwrap();
    assert!(made.success(), "mknod needs root");
    let made = Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
    assert!(made.success());
    // A device is the guest's affair, a pipe is one of the guest's processes among themselves.
    let script =
        "cat /shared/null; echo $?; (echo through > /shared/pipe &); cat /shared/pipe; cat /shared/file";
    let outcome = run(&installation, &folder, "", script);
    assert_eq!(outcome.text(), "1\nthrough\nfrom the host\n", "{outcome:?}");
}

#[test]
fn f59_sources_that_cannot_be_shared_are_refused() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    for (source, message) in [
        ("/missing/folder", "there is no '/missing/folder' on the host"),
        ("/dev/null", "neither a directory, a regular file nor a socket"),
    ] {
        let volume = format!("{source}:/x");
        let outcome = installation.container(&["run", "--name", "box", "-v", &volume, "demo", "true"]);
        assert_eq!(outcome.code, 125, "{outcome:?}");
        assert!(outcome.stderr.contains(message), "{outcome:?}");
    }
    let outcome = installation.container(&["run", "-v", "/tmp:/", "demo", "true"]);
    assert_ne!(outcome.code, 0, "F59: nothing over /");
    assert!(installation.ids().is_empty());
    // Gone between two starts.
    let volume = format!("{}:/shared", text(&folder));
    installation.run_ok(&["run", "--name", "box", "-v", &volume, "demo", "cat", "/shared/file"]);
    fs::rename(&folder, installation.folder().join("host/away")).unwrap();
    let outcome = installation.container(&["start", "-a", "box"]);
    assert_eq!(outcome.code, 125, "{outcome:?}");
    assert!(outcome.stderr.contains("there is no"), "{outcome:?}");
    // A link is followed once, by the host.
    symlink("away", &folder).unwrap();
    assert_eq!(installation.container(&["start", "-a", "box"]).text(), "from the host\n");
}

#[test]
fn death_of_a_file_server_ends_its_container_alone() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let volume = format!("{}:/shared", text(&folder));
    for name in ["victim", "other"] {
        installation.run_ok(&["run", "-d", "--name", name, "-v", &volume, "demo", "sleep", "600"]);
    }
    let vmm = |name: &str| installation.snapshot(name)["status"]["machine"]["pid"].as_i64().unwrap();
    let helper = |pid: i64| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse::<i64>().unwrap()
    };
    let owner = helper(vmm("victim"));
    let servers = installation.pids("container-virtiofs");
    let server = servers.into_iter().find(|pid| helper(i64::from(*pid)) == owner).expect("its server");
    installation.kill(server);
    wait_until("stopped", || installation.state("victim") == "stopped");
    let snapshot = installation.snapshot("victim");
    let reason = snapshot["status"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains(&format!("the server of '{}' ended", text(&folder))), "{reason}");
    assert_eq!(installation.run_ok(&["exec", "other", "cat", "/shared/file"]), "from the host");
    installation.run_ok(&["start", "victim"]);
    assert_eq!(installation.run_ok(&["exec", "victim", "cat", "/shared/file"]), "from the host");
    installation.run_ok(&["delete", "--force", "victim", "other"]);
    wait_until("no server is left", || installation.pids("container-virtiofs").is_empty());
}

#[test]
fn what_was_synced_survives_the_death_of_the_machine() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let volume = format!("{}:/d", text(&folder));
    let script =
        "i=0; while :; do i=$((i+1)); echo $i > /d/next; sync /d/next; mv /d/next /d/last; echo $i; done";
    installation.run_ok(&["run", "-d", "--name", "writer", "-v", &volume, "demo", "sh", "-c", script]);
    wait_until("some rounds", || installation.run_ok(&["logs", "writer"]).lines().count() > 20);
    let pid = installation.snapshot("writer")["status"]["machine"]["pid"].as_i64().unwrap();
    installation.kill(i32::try_from(pid).unwrap());
    wait_until("stopped", || installation.state("writer") == "stopped");
    let told: u64 = installation.run_ok(&["logs", "writer"]).lines().last().unwrap().parse().unwrap();
    let kept: u64 = fs::read_to_string(folder.join("last")).unwrap().trim().parse().unwrap();
    assert!(kept == told || kept == told + 1, "{kept} after {told} was told");
}

#[test]
fn permissions_are_those_of_the_guests_users() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    fs::set_permissions(folder.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    let volume = format!("{}:/shared", text(&folder));
    let outcome = installation.container(&[
        "run",
        "--rm",
        "-u",
        "1000:1000",
        "-v",
        &volume,
        "demo",
        "cat",
        "/shared/file",
    ]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    installation.run_ok(&["run", "--rm", "-u", "1000:1000", "-v", &volume, "demo", "touch", "/shared/mine"]);
    let mine = fs::metadata(folder.join("mine")).unwrap();
    assert_eq!((mine.uid(), mine.gid()), (1000, 1000));
}

#[test]
fn a_container_whose_folder_is_gone_still_gives_its_files() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let volume = format!("{}:/shared", text(&folder));
    let script = "cp /shared/file /own";
    installation.run_ok(&["run", "--name", "box", "-v", &volume, "demo", "sh", "-c", script]);
    fs::rename(&folder, folder.with_file_name("elsewhere")).unwrap();
    let started = installation.container(&["start", "box"]).expect_code(1);
    assert!(started.stderr.contains(text(&folder)), "{started:?}");
    let target = installation.folder().join("copied");
    installation.run_ok(&["copy", "box:/own", text(&target)]);
    assert_eq!(fs::read_to_string(target).unwrap(), "from the host\n");
}

#[test]
fn files_that_the_host_deleted_are_let_go() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    let volume = format!("{}:/shared", text(&folder));
    installation.run_ok(&["run", "-d", "--name", "box", "-v", &volume, "demo", "sleep", "600"]);
    // Listed, so that its name is kept.
    let script = "ls -l /shared && ls -l /shared && cat /shared/file";
    installation.run_ok(&["exec", "box", "sh", "-c", script]);
    // Its space is not free as long as a server has it open.
    let open = |ending: &str| {
        let servers = installation.file_servers();
        let files = servers.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok()).flatten();
        files
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .any(|target| target.to_string_lossy().ends_with(ending))
    };
    assert!(open("/file"), "this test looks at the wrong place");
    fs::remove_file(folder.join("file")).unwrap();
    wait_until("nobody has it", || !open("/file (deleted)"));
    assert_eq!(installation.container(&["exec", "box", "cat", "/shared/file"]).code, 1);
}

#[test]
fn a_file_at_rest_is_read_once_until_it_changes() {
    const BYTES: usize = 16 << 20;
    let installation = Installation::with_demo();
    // On a disk: what is on a tmpfs changes without a trace.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("at-rest-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("big");
    let fill = |byte: u8| fs::write(&file, vec![byte; BYTES]).unwrap();
    fill(b'a');
    let volume = format!("{}:/shared", text(&folder));
    installation.run_ok(&["run", "-d", "--name", "box", "-v", &volume, "demo", "sleep", "600"]);
    let read = || -> usize {
        let pids = installation.file_servers();
        let texts = pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/io")).ok());
        texts.filter_map(|text| text.lines().next()?.strip_prefix("rchar: ")?.parse::<usize>().ok()).sum()
    };
    let four_times = "for n in 1 2 3 4; do md5sum < /shared/big; done | uniq | wc -l; head -c 1 /shared/big";
    std::thread::sleep(Duration::from_secs(5));
    let before = read();
    assert_eq!(installation.run_ok(&["exec", "box", "sh", "-c", four_times]), "1\na");
    let bytes = read() - before;
    // Once, and once more if the guest's kernel forgets unused names in just this moment.
    assert!((BYTES..3 * BYTES).contains(&bytes), "{bytes} bytes were read of the host");
    // Of the same length, and with the time of before.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fill(b'b');
    let times = fs::FileTimes::new().set_modified(modified);
    fs::File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
    assert_eq!(installation.run_ok(&["exec", "box", "sh", "-c", four_times]), "1\nb");
    installation.run_ok(&["delete", "--force", "box"]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_directory_may_have_more_files_than_its_server_descriptors() {
    const FILES: usize = 6000;
    let installation = Installation::with_demo();
    // Servers that may raise that limit do.
    installation.restart_services_with_descriptors(2000);
    let folder = shared(&installation).join("many");
    fs::create_dir(&folder).unwrap();
    for number in 0..FILES {
        fs::write(folder.join(number.to_string()), b"").unwrap();
    }
    let script = "cd /shared; find . -type f | wc -l; ls -l | wc -l; mkdir new; i=0; \
                  while [ $i -lt 6000 ]; do : > new/$i || exit 1; i=$((i+1)); done; find new | wc -l; \
                  rm -r new; mkdir moved; find . -maxdepth 1 -type f | xargs mv -t moved; ls moved | wc -l";
    let outcome = run(&installation, &folder, "", script).expect_code(0);
    assert_eq!(outcome.text(), format!("{FILES}\n{0}\n{0}\n{FILES}\n", FILES + 1), "{outcome:?}");
    assert_eq!(fs::read_dir(folder.join("moved")).unwrap().count(), FILES);
    assert!(!folder.join("new").exists());
}

/// The guest swaps what a path leads to as fast as it can, while the host does the same.
#[test]
fn renames_that_race_lead_to_one_of_both_or_to_nothing() {
    let installation = Installation::with_demo();
    let folder = shared(&installation);
    for name in ["a", "b"] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("content"), name).unwrap();
    }
    let script = "cd /shared; touch started; n=0; while [ ! -e stop ]; do text=$(cat link/content 2>/dev/null); \
                  case \"$text\" in a|b|'') ;; *) echo \"read $text\"; exit 1;; esac; \
                  mv a swap 2>/dev/null && mv swap a; n=$((n+1)); done; [ $n -gt 0 ] && echo done";
    let volume = format!("{}:/shared", text(&folder));
    let words = ["run", "--rm", "-v", &volume, "demo", "sh", "-c", script];
    let mut guest =
        installation.command(&words).stdout(std::process::Stdio::piped()).spawn().expect("container");
    symlink("a", folder.join("link")).unwrap();
    wait_until("the guest reads", || folder.join("started").exists());
    for round in 0..500 {
        symlink(if round % 2 == 0 { "b" } else { "a" }, folder.join("fresh")).unwrap();
        fs::rename(folder.join("fresh"), folder.join("link")).unwrap();
    }
    fs::write(folder.join("stop"), b"").unwrap();
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut guest.stdout.take().unwrap(), &mut printed).unwrap();
    assert!(guest.wait().unwrap().success());
    assert_eq!(printed, "done\n");
    for name in ["a", "b"] {
        assert_eq!(fs::read_to_string(folder.join(name).join("content")).unwrap(), name);
    }
}
