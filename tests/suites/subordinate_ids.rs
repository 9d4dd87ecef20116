//! Folders of the host and shared volumes of an ordinary user who has subordinate ids, subuid(5), and of one who
//! has none.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use bulkhead_tests::{
    FIRST_SUBORDINATE_ID, Installation, OwnHost, SUBORDINATE_IDS, require_program, run_with_deadline,
    wait_until,
};

fn installation() -> Installation {
    require_program("slirp4netns", "slirp4netns");
    require_program("newuidmap", "uidmap");
    Installation::of_ordinary_user(OwnHost::with_subordinate_ids())
}

/// A folder of the user's.
fn folder(installation: &Installation) -> PathBuf {
    let user = installation.host().user();
    let folder = installation.folder().join("shared");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(user), Some(user)).unwrap();
    folder
}

/// Of a file on the host, by what they are in the container.
fn owners(path: &Path) -> (u32, u32) {
    let status = fs::symlink_metadata(path).unwrap();
    let inside = |id: u32| id.checked_sub(FIRST_SUBORDINATE_ID).map_or(0, |id| id + 1);
    (inside(status.uid()), inside(status.gid()))
}

#[test]
fn files_belong_to_whom_the_container_gives_them() {
    let installation = installation();
    let (user, folder) = (installation.host().user(), folder(&installation));
    fs::write(folder.join("foreign"), "foreign\n").unwrap();
    fs::set_permissions(folder.join("foreign"), fs::Permissions::from_mode(0o600)).unwrap();
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "all"]);
    let volume = format!("{}:/folder", folder.display());
    let content = installation.folder().join("app/volumes/all/content");
    for (place, on_host) in [("/folder", &folder), ("/all", &content)] {
        let run = |more: &[&str], script: &str| {
            let words = ["run", "--rm", "-v", &volume, "-v", "all:/all"];
            installation.container(&[&words[..], more, &["demo", "sh", "-c", script]].concat())
        };
        let script = format!(
            "cd {place} && echo mine > mine && echo given > given && chown 999:998 given && mkdir -m 700 private && \
             chown 999:999 private && mkdir -m 1777 everybody && stat -c %u:%g mine given private"
        );
        assert_eq!(run(&[], &script).expect_code(0).text(), "0:0\n999:998\n999:999\n");
        let mine = fs::metadata(on_host.join("mine")).unwrap();
        assert_eq!((mine.uid(), mine.gid()), (user, user));
        assert_eq!(owners(&on_host.join("given")), (999, 998));
        // Whoever writes in the container, and where he may.
        let script = format!(
            "cd {place}/private && echo x > x && mkdir d && ln -s x link && mkfifo pipe && ln x hard && mv x y && \
             stat -c %u:%g y && ! (echo 2>&1 > {place}/new) && ! (: > {place}/mine) && ! chown 5 y && cat y"
        );
        let outcome = run(&["-u", "999:999"], &script).expect_code(0);
        assert_eq!(outcome.text().lines().collect::<Vec<_>>()[0], "999:999", "{outcome:?}");
        for name in ["y", "d", "link", "pipe", "hard"] {
            assert_eq!(owners(&on_host.join("private").join(name)), (999, 999), "{name}");
        }
        // Others are kept out, by their groups as well.
        assert_ne!(run(&["-u", "1000:1000"], &format!("ls {place}/private")).code, 0);
        let member = ["-u", "33:33", "--group-add", "998"];
        let script = format!(
            "cd {place} && ! cat private/y && cd everybody && mkdir -m 2770 team && chgrp 998 team && \
             chmod 2770 team && touch team/x && stat -c %u:%g team/x"
        );
        assert_eq!(run(&member, &script).expect_code(0).text(), "33:998\n");
        // There is nobody beyond the range.
        let last = SUBORDINATE_IDS;
        let script = format!("cd {place} && touch last && chown {last} last && ! chown {} last", last + 1);
        assert_eq!(run(&[], &script).expect_code(0).text(), "");
        assert_eq!(owners(&on_host.join("last")), (SUBORDINATE_IDS, 0));
    }
    // The folder itself, as an image's first start gives it away.
    let script = "chown 999:999 /folder && chmod 700 /folder";
    installation.run_ok(&["run", "--rm", "-v", &volume, "demo", "sh", "-c", script]);
    let again = ["run", "--rm", "-u", "999:999", "-v", &volume, "demo", "cat", "/folder/private/y"];
    assert_eq!(installation.run_ok(&again), "x");
    // What belongs to nobody that the container knows, and root of the container may not read.
    let script = "stat -c %u:%g /folder/foreign && ! cat /folder/foreign && ! chown 0 /folder/foreign";
    let outcome = installation.container(&["run", "--rm", "-v", &volume, "demo", "sh", "-c", script]);
    assert_eq!(outcome.expect_code(0).text(), "65534:65534\n");
    let status = installation.run_ok(&["system", "status"]);
    let last = FIRST_SUBORDINATE_ID + SUBORDINATE_IDS - 1;
    let told = format!("who are their users 1 and further: {FIRST_SUBORDINATE_ID} to {last}\n");
    assert!(format!("{status}\n").contains(&told), "{status}");
    assert!(!status.contains("chown has no effect"), "{status}");
}

#[test]
fn the_server_of_a_folder_has_no_more_rights_than_roots() {
    let rights = |installation: &Installation, folder: &Path| {
        let volume = format!("{}:/shared", folder.display());
        installation.run_ok(&["run", "-d", "--name", "box", "-v", &volume, "demo", "sleep", "600"]);
        let servers = installation.file_servers();
        assert_eq!(servers.len(), 1);
        let status = fs::read_to_string(format!("/proc/{}/status", servers[0])).unwrap();
        let names = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:"];
        let lines = status.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        // Nothing but the socket to its machine is left of what it was started with.
        let open = fs::read_dir(format!("/proc/{}/fd", servers[0])).unwrap();
        let sockets = open.filter(|entry| {
            let target = fs::read_link(entry.as_ref().unwrap().path()).unwrap_or_default();
            target.to_string_lossy().starts_with("socket:")
        });
        (lines, sockets.count())
    };
    let root = Installation::with_demo();
    let of_root = root.folder().join("shared");
    fs::create_dir(&of_root).unwrap();
    let ordinary = installation();
    let of_user = folder(&ordinary);
    assert_eq!(rights(&ordinary, &of_user), rights(&root, &of_root));
}

#[test]
fn volumes_of_others_files_are_counted_and_go() {
    let installation = installation();
    let script = "cd /all && mkdir -p a/b && dd if=/dev/zero of=a/b/file bs=1M count=3 2>/dev/null && \
                  chown -R 999:999 a && chmod 700 a a/b && mkdir -m 1777 sticky && touch sticky/x && \
                  chown 5 sticky/x && chown 6 sticky && mkdir -m 0 shut && touch shut/x && chown 7 . && chmod 700 .";
    let make = |name: &str| {
        installation.run_ok(&["volume", "create", "--opt", "type=shared", name]);
        installation.run_ok(&["run", "--rm", "-v", &format!("{name}:/all"), "demo", "sh", "-c", script]);
    };
    make("one");
    let usage: serde_json::Value =
        serde_json::from_str(&installation.run_ok(&["system", "df", "--format", "json"])).unwrap();
    let bytes = usage["volumes"]["sizeInBytes"].as_u64().unwrap();
    assert!(((3 << 20)..(4 << 20)).contains(&bytes), "{bytes}");
    let volumes = installation.folder().join("app/volumes");
    let is_empty = || fs::read_dir(&volumes).unwrap().next().is_none();
    installation.run_ok(&["volume", "delete", "one"]);
    wait_until("nothing is left of the volume", is_empty);
    make("two");
    let pruned = installation.container(&["volume", "prune"]);
    assert_eq!(pruned.text(), "two\n", "{pruned:?}");
    assert!(pruned.stderr.contains("Reclaimed 3."), "{pruned:?}");
    wait_until("nothing is left of the volume", is_empty);
    // One whose removal was interrupted.
    make("three");
    installation.run_ok(&["system", "stop"]);
    fs::rename(volumes.join("three"), volumes.join(".trash-three")).unwrap();
    installation.run_ok(&["system", "start"]);
    wait_until("nothing is left of the volume", is_empty);
}

const POSTGRES: &str = "
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
as() { setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/tmp \"$@\"; }
if ! [ -e /data/pg/PG_VERSION ]; then
    mkdir /data/pg && chown postgres:postgres /data/pg && chmod 700 /data/pg
    as $bin/initdb -D /data/pg -A trust > /dev/null
fi
as $bin/pg_ctl -D /data/pg -w -l /data/pg/log -o '-k /tmp -c listen_addresses=' start > /dev/null
as $bin/psql -h /tmp -qtA postgres -c \"$1\"
as $bin/pg_ctl -D /data/pg -m fast stop > /dev/null
id -u postgres
";

#[test]
fn postgres_keeps_its_data_in_a_folder() {
    let installation = installation();
    let archive = installation.folder().join("debian.tar");
    fs::copy(installation.debian_archive(), &archive).unwrap();
    installation.load(&archive);
    let folder = folder(&installation);
    let volume = format!("{}:/data", folder.display());
    let ask = |question: &str| {
        installation.run_ok(&[
            "run",
            "--rm",
            "-v",
            &volume,
            "debian:test",
            "sh",
            "-c",
            POSTGRES,
            "sh",
            question,
        ])
    };
    ask("CREATE TABLE facts (text text); INSERT INTO facts VALUES ('kept')");
    let told = ask("SELECT text FROM facts");
    let (kept, postgres) = told.split_once('\n').unwrap();
    assert_eq!(kept, "kept");
    let postgres: u32 = postgres.parse().unwrap();
    for name in ["pg", "pg/PG_VERSION", "pg/base"] {
        let (owner, _) = owners(&folder.join(name));
        assert_eq!(owner, postgres, "{name}");
    }
}

#[test]
fn without_them_there_is_the_user_and_advice() {
    let host = OwnHost::with_subordinate_ids();
    host.hide_program("newuidmap");
    let installation = Installation::of_ordinary_user(host);
    let folder = folder(&installation);
    let volume = format!("{}:/folder", folder.display());
    let expect = |advice: &str| {
        let script = "cd /folder && touch x && chown 33:33 x && stat -c %u:%g x";
        let ran = installation.run_ok(&["run", "--rm", "-v", &volume, "demo", "sh", "-c", script]);
        assert_eq!(ran, "0:0");
        let status = installation.run_ok(&["system", "status"]);
        let effect = "chown has no effect in folders of the host and shared volumes.";
        let (problem, remedy) = advice.split_once('|').unwrap();
        let told = format!("{problem}: {effect} Mend it with: {remedy}");
        assert!(status.contains(&told), "{told}: {status}");
        assert!(status.contains("files in folders of the host belong to you, who is root in"), "{status}");
        installation.run_ok(&["system", "stop"]);
        let started = installation.container(&["system", "start"]).expect_code(0);
        assert!(started.stderr.contains(&format!("Warning: {told}\n")), "{started:?}");
    };
    expect("newuidmap is not installed|sudo apt-get install uidmap");
    let host = installation.host();
    host.replace("/usr/bin/newuidmap", "#!/bin/sh\necho 'no such luck' >&2\nexit 1\n", 0o755);
    expect("'/usr/bin/newuidmap' is not set-user-ID root|sudo chmod u+s /usr/bin/newuidmap");
    // One that fails is no reason to give files to somebody else.
    host.replace("/usr/bin/newuidmap", "#!/bin/sh\necho 'no such luck' >&2\nexit 1\n", 0o4755);
    let refused = installation.container(&["run", "--rm", "-v", &volume, "demo", "true"]);
    let told = "'/usr/bin/newuidmap' refused to map the ids of /etc/subuid and /etc/subgid: no such luck";
    assert!(refused.code == 125 && refused.stderr.contains(told), "{refused:?}");
    host.replace("/etc/subgid", "other:200000:65536\n", 0o644);
    expect("/etc/subgid gives 'tester' no ids|sudo usermod --add-subgids 1500065536-1500131071 tester");
    host.replace("/etc/subuid", "", 0o644);
    expect(
        "/etc/subuid and /etc/subgid give 'tester' no ids|sudo usermod --add-subuids 265536-331071 --add-subgids \
         265536-331071 tester",
    );
}

#[test]
fn ranges_of_a_user_follow_each_other() {
    let installation = installation();
    let (user, folder) = (installation.host().user(), folder(&installation));
    // By number and by name; that the user's own id is among them, and some twice, is nobody's fault.
    let ranges = format!(
        "other:1400000000:10\n{user}:{FIRST_SUBORDINATE_ID}:10\ntester:{user}:1\ntester:{}:2\ntester:1600000000:10\n",
        FIRST_SUBORDINATE_ID + 5
    );
    for path in ["/etc/subuid", "/etc/subgid"] {
        installation.host().replace(path, &ranges, 0o644);
    }
    let volume = format!("{}:/folder", folder.display());
    let script =
        "cd /folder && touch a b c && chown 10:10 a && chown 11:20 b && ! chown 21 c && ! chgrp 21 c";
    installation.run_ok(&["run", "--rm", "-v", &volume, "demo", "sh", "-c", script]);
    let on_host =
        |name: &str| fs::metadata(folder.join(name)).map(|status| (status.uid(), status.gid())).unwrap();
    let first = FIRST_SUBORDINATE_ID;
    assert_eq!(
        [on_host("a"), on_host("b"), on_host("c")],
        [(first + 9, first + 9), (1_600_000_000, 1_600_000_009), (user, user)]
    );
}

#[test]
fn services_of_another_group_than_the_logins_have_the_user_alone() {
    let installation = installation();
    let (user, folder) = (installation.host().user(), folder(&installation));
    installation.run_ok(&["system", "stop"]);
    // As after newgrp(1).
    let command = installation.command(&["system", "start"]);
    let mut of_group = Command::new(command.get_program());
    let own = format!("--regid={user}");
    let words =
        command.get_args().map(|word| if *word == *own { "--regid=4242".into() } else { word.to_owned() });
    of_group.args(words).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let started = run_with_deadline(&mut of_group, b"").expect_code(0);
    let problem = format!("group 4242, and newuidmap serves the user's primary group {user} only");
    assert!(started.stderr.contains(&problem), "{started:?}");
    let volume = format!("{}:/folder", folder.display());
    let script = "cd /folder && touch x && chown 33:33 x && stat -c %u:%g x";
    let ran = installation.run_ok(&["run", "--rm", "-v", &volume, "demo", "sh", "-c", script]);
    assert_eq!(ran, "0:0");
    assert!(installation.run_ok(&["system", "status"]).contains(&problem));
}
