//! config.toml: what a user sets once for all.
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bulkhead_tests::Installation;
use serde_json::Value;

#[test]
fn trap9_flags_beat_the_file_and_the_file_beats_the_defaults() {
    let installation = Installation::new();
    let tree = installation.demo_archive().parent().unwrap().to_owned();
    let kernel = installation.folder().join("my-kernel");
    fs::copy(tree.join("kernel-uml"), &kernel).unwrap();
    // The jailed machine runs as a user of its own.
    fs::set_permissions(&kernel, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(installation.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    installation.configure(&format!(
        "[container]\ncpus = 3\nmemory = \"512m\"\n[dns]\ndomain = \"my.test\"\n[network]\nsubnet = \
         \"10.123.0.0/24\"\n[registry]\ndomain = \"localhost:1\"\n[kernel]\nbinaryPath = \"{}\"\n",
        kernel.display()
    ));
    installation.load(&installation.demo_archive());
    let name = installation.run_ok(&["image", "list", "--quiet"]);
    installation.run_ok(&["create", "--name", "plain", &name]);
    installation.run_ok(&["create", "--name", "flags", "--memory", "300m", "--cpus", "1", &name]);
    let resources = |id| {
        let resources = installation.snapshot(id)["configuration"]["resources"].take();
        (resources["cpus"].as_u64().unwrap(), resources["memoryInBytes"].as_u64().unwrap())
    };
    assert_eq!(resources("plain"), (3, 512 << 20));
    assert_eq!(resources("flags"), (1, 300 << 20));

    let script = "cat /etc/resolv.conf; ip -4 addr show";
    let shown = installation.run_ok(&["run", "--rm", &name, "sh", "-c", script]);
    assert!(shown.contains("my.test") && shown.contains("inet 10.123.0."), "{shown}");
    let domain = ["run", "--rm", "--dns-domain", "other.test", &name, "cat", "/etc/resolv.conf"];
    let shown = installation.run_ok(&domain);
    assert!(shown.contains("other.test") && !shown.contains("my.test"), "{shown}");

    // A name without registry is one of the configured registry, where nobody listens.
    let refused = installation.container(&["image", "pull", "nothing"]).expect_code(1);
    assert!(refused.stderr.contains("localhost:1/nothing"), "{refused:?}");

    // The kernel of the file runs the containers: without it none starts, and it is told whose it is.
    let refuses = |told: &str| {
        let refused = installation.container(&["run", "--rm", "--cpus", "1", &name, "true"]).expect_code(125);
        assert!(refused.stderr.contains(&format!("{told} '{}'", kernel.display())), "{refused:?}");
        let hint = refused.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap();
        assert!(
            hint.contains("kernel.binaryPath in '") && hint.contains("config.toml' names it"),
            "{refused:?}"
        );
    };
    fs::write(&kernel, "no program\n").unwrap();
    refuses("cannot execute");
    fs::remove_file(&kernel).unwrap();
    refuses("cannot open");
}

#[test]
fn the_default_network_has_the_ipv6_subnet_of_the_file_also_if_it_exists_already() {
    let installation = Installation::with_demo();
    let inside = || installation.run_ok(&["run", "--rm", "demo", "ip", "-6", "addr", "show", "eth0"]);
    let start_with = |text: &str| {
        installation.run_ok(&["system", "stop"]);
        installation.configure(text);
        installation.run_ok(&["system", "start"]);
    };
    let network = || {
        let shown = installation.run_ok(&["network", "inspect", "default"]);
        serde_json::from_str::<Value>(&shown).unwrap()[0].take()
    };
    assert!(!inside().contains("inet6 fd"));
    let before = network()["status"]["ipv4Subnet"].take();

    // Nobody else's tests have these.
    let prefix = format!("fd00:b9:{:x}", std::process::id() & 0xffff);
    let subnet = format!("{prefix}::/64");
    start_with(&format!("[network]\nsubnetv6 = \"{subnet}\"\n"));
    assert_eq!(network()["configuration"]["ipv6Subnet"], subnet.as_str());
    let asked = format!("{prefix}::5");
    let run = ["run", "-d", "--name", "six", "--network", "default", "--ip6", &asked, "demo", "sleep", "600"];
    installation.run_ok(&run);
    assert!(inside().contains(&format!("inet6 {prefix}:")));
    assert_eq!(network()["status"]["ipv6Subnet"], subnet.as_str());
    assert_eq!(network()["status"]["ipv4Subnet"], before);

    // Containers that run keep what they have, whatever the file says by then.
    installation.configure(&format!("[network]\nsubnetv6 = \"{prefix}:1::/64\"\n"));
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    assert_eq!(installation.state("six"), "running");
    assert!(inside().contains(&format!("inet6 {prefix}::")));
    assert_eq!(network()["status"]["ipv6Subnet"], subnet.as_str());
    installation.run_ok(&["delete", "--force", "six"]);

    start_with("");
    assert!(!inside().contains("inet6 fd"));
    assert_eq!(network()["status"].get("ipv6Subnet"), None);
}

#[test]
fn what_is_in_force_is_shown_with_its_origin() {
    let installation = Installation::new();
    installation.configure("[container]\ncpus = 2\n[plugin.any]\nkey = 1\n");
    let file = installation.folder().join("etc/container/config.toml");
    let text = installation.run_ok(&["system", "property", "list"]);
    assert!(text.contains(&format!("cpus = 2 # {}", file.display())), "{text}");
    assert!(text.contains("memory = \"1g\" # default"), "{text}");
    // Of every section and key it is told what holds without a file.
    let kernel = installation.demo_archive().parent().unwrap().join("kernel-uml");
    for line in [
        "[build]\n# rosetta is not set; has no effect in this version\n",
        "[dns]\n# domain is not set: none\n",
        &format!("[kernel]\nbinaryPath = \"{}\" # default\n", kernel.display()),
        "[machine]\n# cpus is not set; has no effect in this version\n",
        "[network]\n# subnet is not set: one that is free\n# subnetv6 is not set: none\n",
        "[registry]\ndomain = \"docker.io\" # default\n# hosts is not set: none\n",
        "[vminit]\n# image is not set: none: the installation's vminitd",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let json: Value =
        serde_json::from_str(&installation.run_ok(&["system", "property", "ls", "--format", "json"]))
            .unwrap();
    assert_eq!(json["container"]["cpus"], 2);
    assert_eq!(json["registry"]["domain"], "docker.io");
    assert_eq!(json["origins"]["container.cpus"], file.display().to_string());
    assert_eq!(json["origins"]["registry.domain"], "default");
    assert_eq!(json["origins"]["dns.domain"], "default");
    assert_eq!(json["withoutValue"]["dns.domain"], "none");

    let copy = installation.folder().join("app/config/config.toml");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o400);
    // An edit counts from the next start.
    installation.configure("[container]\ncpus = 5\n");
    assert!(installation.run_ok(&["system", "property", "list"]).contains("cpus = 2 "));
    installation.run_ok(&["system", "stop"]);
    assert!(installation.run_ok(&["system", "property", "list"]).contains("cpus = 5 "));
}

#[test]
fn a_mistake_is_told_with_file_line_and_what_was_meant_and_keeps_no_container_from_being_stopped() {
    let installation = Installation::with_demo();
    installation.configure("[container]\nmemory = \"300m\"\n");
    installation.run_ok(&["system", "stop"]);
    installation.run_ok(&["run", "-d", "--name", "before", "demo", "sleep", "600"]);
    installation.configure("[container]\nmemory = \"1g\"\ncpu = 2\n");
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    // What exists can be used.
    assert_eq!(installation.state("before"), "running");
    assert_eq!(installation.run_ok(&["exec", "before", "echo", "hi"]), "hi");
    let told = |arguments: &[&str], code, file_and_line: &str, mistake: &str| {
        let refused = installation.container(arguments).expect_code(code);
        let errors: Vec<_> = refused.stderr.lines().filter(|line| line.starts_with("Error:")).collect();
        assert!(
            errors.len() == 1 && errors[0].contains(file_and_line) && errors[0].contains(mistake),
            "{refused:?}"
        );
        assert!(refused.stderr.contains("hint: Correct the file"), "{refused:?}");
    };
    let unknown = "unknown key 'cpu' in section 'container': did you mean 'cpus'?";
    told(&["create", "demo"], 1, "etc/container/config.toml', line 3: ", unknown);
    told(&["run", "--rm", "demo", "true"], 125, "etc/container/config.toml', line 3: ", unknown);
    told(&["image", "pull", "demo"], 1, "etc/container/config.toml', line 3: ", unknown);
    let listed = installation.container(&["system", "property", "list"]).expect_code(0);
    assert!(listed.stderr.contains(unknown) && listed.text().contains("memory = \"300m\" # "), "{listed:?}");
    let status = installation.run_ok(&["system", "status"]);
    assert!(status.contains(unknown), "{status}");

    // `system start` tells the mistake that is there by then, and takes what is mended into force.
    installation.configure("[container]\nmemory = 5\n");
    let memory = "container.memory must be a size of at least 200 MiB";
    let apiserver = installation.pids("container-apiserver");
    told(&["system", "start"], 1, "etc/container/config.toml', line 2: ", memory);
    // Who is attached would lose the services for nothing.
    assert_eq!(installation.pids("container-apiserver"), apiserver);
    installation.configure("[container]\nmemory = \"400m\"\n");
    installation.run_ok(&["system", "start"]);
    assert_ne!(installation.pids("container-apiserver"), apiserver);
    installation.run_ok(&["create", "--name", "after", "demo"]);
    assert_eq!(installation.snapshot("after")["configuration"]["resources"]["memoryInBytes"], 400 << 20);
    installation.run_ok(&["stop", "before"]);
}

#[test]
fn a_kernel_that_cannot_run_and_a_name_that_no_image_has_are_mistakes_of_the_file() {
    let installation = Installation::with_demo();
    for (key, value) in [
        ("[kernel]\nbinaryPath", "/nosuch"),
        ("[kernel]\nbinaryPath", "/etc"),
        ("[kernel]\nbinaryPath", "/etc/passwd"),
        ("[vminit]\nimage", "x y"),
    ] {
        installation.run_ok(&["system", "stop"]);
        installation.configure(&format!("{key} = \"{value}\"\n"));
        let key = key.trim_start_matches('[').replace("]\n", ".");
        let told = format!("etc/container/config.toml', line 2: {key} must be ");
        for (words, code) in [(&["system", "start"][..], 1), (&["run", "--rm", "demo", "true"], 125)] {
            let refused = installation.container(words).expect_code(code);
            assert!(refused.stderr.contains(&told), "{refused:?}");
            assert!(refused.stderr.contains(&format!(", not \"{value}\"")), "{refused:?}");
        }
    }
    installation.configure("");
    installation.run_ok(&["system", "start"]);
    assert_eq!(installation.run_ok(&["run", "--rm", "demo", "echo", "mended"]), "mended");
}

#[test]
fn a_key_of_a_feature_that_does_not_exist_is_called_so() {
    let installation = Installation::new();
    let keys = ["build.cpus", "kernel.url", "machine.homeMount"];
    installation.configure(
        "[build]\ncpus = 2\n[container]\ncpus = 2\n[kernel]\nurl = \"https://example.org/k\"\n\
         [machine]\nhomeMount = \"ro\"\n",
    );
    let started = installation.container(&["system", "start"]).expect_code(0);
    let file = installation.folder().join("etc/container/config.toml");
    for key in keys {
        let warning = format!("Warning: {}: '{key}' has no effect in this version", file.display());
        assert_eq!(started.stderr.lines().filter(|line| *line == warning).count(), 1, "{started:?}");
    }
    let listed = installation.run_ok(&["system", "property", "list"]);
    assert!(listed.contains(&format!("cpus = 2 # {}, has no effect\n", file.display())), "{listed}");
    let json: Value =
        serde_json::from_str(&installation.run_ok(&["system", "property", "list", "--format", "json"]))
            .unwrap();
    let without_effect = json["withoutEffect"].as_array().unwrap();
    for key in keys {
        assert!(
            without_effect.contains(&key.into()) && json["origins"][key] == file.display().to_string(),
            "{json}"
        );
    }
}
