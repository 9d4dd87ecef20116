//! Memory, many containers, full disks.

use std::process::{Command, Stdio};

use bulkhead_tests::{Installation, run_with_deadline};

#[test]
fn twenty_at_once_all_run() {
    let installation = Installation::with_demo();
    let children: Vec<_> = (0..20)
        .map(|number| {
            let word = number.to_string();
            installation
                .command(&["run", "--rm", "--memory", "200m", "demo", "echo", &word])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{number}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"));
    }
    assert!(installation.ids().is_empty());
    assert!(installation.container_leftovers().is_empty());
}

#[test]
fn f61_out_of_memory_hits_the_guilty_container_alone() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "bystander", "--memory", "200m", "demo", "sleep", "600"]);
    let outcome = installation.container(&[
        "run",
        "--name",
        "guilty",
        "--memory",
        "200m",
        "demo",
        "sh",
        "-c",
        "exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'",
    ]);
    assert_eq!(outcome.code, 137, "{outcome:?}");
    assert_eq!(installation.snapshot("guilty")["status"]["oomKilled"], true);
    assert_eq!(installation.run_ok(&["exec", "bystander", "echo", "alive"]), "alive");
}

#[test]
fn f68_a_process_may_touch_much_memory_at_random() {
    let installation = Installation::with_demo();
    // awk's hash of many small strings touches pages in no order.
    let program = "BEGIN { for (i = 0; i < 2000000; i++) a[(i * 7919) % 2000003] = i \"-padding-padding-padding\"; print length(a) }";
    let outcome = installation.container(&["run", "--rm", "--memory", "1g", "demo", "awk", program]);
    assert_eq!(outcome.text().trim(), "2000000", "{outcome:?}");
}

#[test]
fn f21_a_full_disk_while_pulling_leaves_nothing() {
    let installation = Installation::new();
    // A small tmpfs as the app root, in a mount namespace shared by command and daemons.
    let archive = std::env::var("BULKHEAD_TEST_DEBIAN_IMAGE").expect("set by `cargo xtask test`");
    let command = installation.command(&[]);
    let script = format!(
        "set -e; mkdir -p {0}/app; mount -t tmpfs -o size=64m,mode=700 tmpfs {0}/app; \
         $C image load -i {archive} && exit 9; echo \"code $?\"; $C image list --quiet; ls {0}/app/images/tmp; \
         $C image load -i $D >/dev/null; $C run --rm --network none demo echo recovered; $C system stop",
        installation.folder().display()
    );
    let program = command.get_program().to_string_lossy().into_owned();
    let tree = std::path::Path::new(&program).ancestors().nth(2).unwrap();
    let mut shell = Command::new("unshare");
    shell
        .args(["--mount", "sh", "-c", &script])
        .env("C", &program)
        .env("D", tree.join("share/bulkhead/demo.tar"));
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let outcome = run_with_deadline(&mut shell, b"");
    assert_eq!(outcome.text(), "code 1\nrecovered\n", "{outcome:?}");
    assert!(outcome.stderr.to_lowercase().contains("no space"), "{outcome:?}");
}
