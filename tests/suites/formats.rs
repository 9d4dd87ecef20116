//! Templates: `--format '{{…}}'`, with the keys of the JSON and with Docker's words.

use bulkhead_tests::Installation;
use serde_json::Value;

#[test]
fn mistakes_are_usage_errors_and_start_no_services() {
    let installation = Installation::new();
    for (words, told) in [
        (&["inspect", "-f", "{{.id", "web"][..], "the template ends within {{"),
        (&["inspect", "-f", "{{.configuration.idd}}", "web"], "did you mean 'id'?"),
        (&["inspect", "-f", "{{.State.Runing}}", "web"], "did you mean 'Running'?"),
        (&["inspect", "--format", "table", "web"], "expected json, yaml, toml or a template"),
        (&["list", "--format", "{{.Nmes}}"], "did you mean 'Names'?"),
        (&["list", "--format", "{{.startedDate}}"], "did you mean '.status.startedDate'?"),
        (&["list", "--format", "{{jsn .}}"], "did you mean 'json'?"),
        (&["list", "--format", "xml"], "expected json, table, yaml, toml or a template"),
        (&["image", "list", "--format", "{{.Repo}}"], "there is no key 'Repo'"),
        (&["image", "inspect", "-f", "{{.x}}", "demo"], "there is no key 'x'"),
        (&["volume", "list", "--format", "{{range .Name}}{{end}}"], "{{range}} wants a list or an object"),
        (&["volume", "inspect", "-f", "{{if .id}}", "data"], "{{if}} has no {{end}}"),
        (&["network", "list", "--format", "{{.id.x}}"], "which has no keys"),
        (&["network", "inspect", "-f", "{{.Driverr}}", "default"], "did you mean 'Driver'?"),
        (&["stats", "--no-stream", "--format", "{{.CPU}}"], "there is no key 'CPU'"),
        (&["system", "df", "--format", "{{.image}}"], "did you mean 'images'?"),
        (&["system", "version", "--format", "{{.Client.Versio}}"], "did you mean 'Version'?"),
    ] {
        let outcome = installation.container(words).expect_code(64);
        assert!(outcome.stderr.lines().next().unwrap().contains(told), "{words:?}: {outcome:?}");
        assert!(outcome.stdout.is_empty() && outcome.stderr.lines().count() == 2, "{words:?}: {outcome:?}");
    }
    let made: Vec<_> = std::fs::read_dir(installation.folder()).unwrap().collect();
    assert!(made.is_empty(), "a mistake made {made:?}");
}

#[test]
fn containers_are_shown_as_templates_say() {
    let installation = Installation::with_demo();
    let run = ["run", "-d", "--name", "web", "-p", "127.0.0.1::80", "--label", "tier=back", "-e", "A=b"];
    installation.run_ok(
        &[&run[..], &["--restart", "on-failure:3", "-v", "data:/data", "demo", "sleep", "600"]].concat(),
    );
    let create = ["create", "--name", "made", "demo", "echo", "hi"];
    installation.run_ok(&create);
    let _ = installation.container(&["run", "--name", "ended", "demo", "sh", "-c", "exit 3"]).expect_code(3);
    let list = |template: &str| installation.run_ok(&["list", "--all", "--format", template]);
    let inspect = |template: &str, id: &str| installation.run_ok(&["inspect", "-f", template, id]);

    // What one has and another has not is empty, and no mistake.
    assert_eq!(list("{{.id}} {{.status.exitCode}}|"), "ended 3|\nmade |\nweb |");
    assert_eq!(
        list("{{.Names}} {{.State}} {{.Image}} {{.Command}} {{.Networks}} {{.Mounts}} {{.Labels}}|"),
        "ended exited demo:latest \"sh -c exit 3\" default  |\nmade created demo:latest \"echo hi\" default  |\nweb \
         running demo:latest \"sleep 600\" default data tier=back|"
    );
    let table = list("table {{.ID}}\\t{{.Status}}\\t{{.Label \"tier\"}}");
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("ID     STATUS") && rows[0].ends_with("  TIER"), "{table}");
    assert!(rows[1].starts_with("ended  Exited (3) ") && rows[2].starts_with("made   Created "), "{table}");
    assert!(rows[3].starts_with("web    Up ") && rows[3].ends_with("  back"), "{table}");
    let nothing = installation.container(&["list", "--filter", "name=nobody", "--format", "{{.id}}"]);
    assert_eq!(nothing.expect_code(0).stdout, b"");

    let snapshot = installation.snapshot("web");
    assert_eq!(serde_json::from_str::<Value>(&inspect("{{json .}}", "web")).unwrap(), snapshot);
    let address = snapshot["status"]["networks"][0]["ipv4Address"].as_str().unwrap();
    let bare = address.split('/').next().unwrap();
    for (template, expected) in [
        ("{{range .status.networks}}{{.ipv4Address}}{{end}}", address),
        ("{{(index .status.networks 0).ipv4Address}}", address),
        ("{{.NetworkSettings.IPAddress}}", bare),
        ("{{.NetworkSettings.Networks.default.IPAddress}}", bare),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", bare),
        ("{{.Id}} {{.Name}} {{.State.Status}} {{.State.Running}}", "web /web running true"),
        ("{{.State.StartedAt}}", snapshot["status"]["startedDate"].as_str().unwrap()),
        ("{{.Config.Image}} {{.Config.Labels.tier}} {{index .Config.Labels \"no\"}}|", "demo:latest back |"),
        ("{{range .Config.Env}}{{if eq (slice . 0 2) \"A=\"}}{{.}}{{end}}{{end}}", "A=b"),
        ("{{.HostConfig.RestartPolicy.Name}} {{.RestartCount}}", "on-failure 0"),
        ("{{range .Mounts}}{{.Name}}:{{.Destination}}:{{.RW}}{{end}}", "data:/data:true"),
        ("{{json .HostConfig.Binds}}", "[\"data:/data\"]"),
        ("{{json .Config.ExposedPorts}}", "{\"80/tcp\":{}}"),
        ("{{(index (index .HostConfig.PortBindings \"80/tcp\") 0).HostIp}}", "127.0.0.1"),
        ("{{.State.Pid}}", &snapshot["status"]["machine"]["pid"].to_string()),
        ("{{.HostConfig.NanoCpus}}", &format!("{}000000000", snapshot["configuration"]["resources"]["cpus"])),
        (
            "{{.State.FinishedAt}} {{json .Config.Entrypoint}} {{.Config.Cmd}}",
            "0001-01-01T00:00:00Z [] [sleep 600]",
        ),
        ("{{.LogPath}}", installation.container_directory("web").join("stdio.log").to_str().unwrap()),
        ("{{.HostConfig.LogConfig.Type}} {{json .HostConfig.LogConfig.Config}}", "json-file {}"),
        ("{{.NetworkSettings.Networks.default.DNSNames}} {{.NetworkSettings.IPPrefixLen}}", "[web] 24"),
        (
            "{{.HostConfig.IpcMode}} [{{.HostConfig.PidMode}}] {{range .Mounts}}{{.Driver}}{{end}}",
            "private [] local",
        ),
        ("{{with .State.Health}}{{.Status}}{{else}}none{{end}}", "none"),
    ] {
        assert_eq!(inspect(template, "web"), expected, "{template}");
    }
    let port = inspect("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "web");
    assert_eq!(installation.run_ok(&["port", "web", "80"]), format!("127.0.0.1:{port}"));
    assert_eq!(list("{{.Ports}}").trim(), format!("127.0.0.1:{port}->80/tcp"));
    assert_eq!(inspect("{{.State.Status}} {{.State.ExitCode}}", "ended"), "exited 3");
    assert_eq!(inspect("[{{.NetworkSettings.Networks.default.IPAddress}}]", "made"), "[]");

    // Those that there are, and 1 for those that there are not.
    let some = installation.container(&["inspect", "-f", "{{.id}}", "web", "nobody", "made"]).expect_code(1);
    assert_eq!(some.text(), "web\nmade\n");
    assert!(some.stderr.contains("'nobody'"), "{some:?}");
    // What only the object tells is no usage error.
    let outside = installation.container(&["inspect", "-f", "{{index .Mounts 5}}", "web"]).expect_code(1);
    assert!(outside.stderr.contains("there is nothing at 5: the length is 1"), "{outside:?}");
    let line = installation.run_ok(&["inspect", "--format", "json", "made"]);
    assert!(line.starts_with("[{\"configuration\":") && line.lines().count() == 1, "{line}");

    let stats =
        installation.run_ok(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.numProcesses}}"]);
    assert_eq!(stats, "web 1 1");
    let percent = installation.run_ok(&["stats", "--no-stream", "--format", "{{.CPUPerc}}", "web"]);
    assert!(percent.strip_suffix('%').is_some_and(|number| number.parse::<f64>().is_ok()), "{percent}");
}

#[test]
fn images_volumes_networks_and_the_services_have_words_as_well() {
    let installation = Installation::with_demo();
    installation.run_ok(&["volume", "create", "--label", "tier=back", "data"]);
    let volume = installation.run_ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]);
    assert!(volume.contains("/app/volumes/data"), "{volume}");
    let image: Value = serde_json::from_str(&installation.run_ok(&["image", "inspect", "demo"])).unwrap();
    let id = image[0]["id"].as_str().unwrap().to_owned();
    let subnet = installation.run_ok(&["network", "inspect", "-f", "{{.status.ipv4Subnet}}", "default"]);
    let version = env!("CARGO_PKG_VERSION");
    for (words, expected) in [
        (
            &["image", "list", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"][..],
            format!("demo:latest {}", &id[..12]),
        ),
        (&["image", "ls", "--format", "{{.configuration.name}}"], "docker.io/library/demo:latest".to_owned()),
        (
            &["image", "inspect", "-f", "{{.Id}} {{.Config.Cmd}} {{.Os}}", "demo"],
            format!("sha256:{id} [/bin/demo] linux"),
        ),
        (
            &["volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}}"],
            "data local tier=back".to_owned(),
        ),
        (&["volume", "ls", "--format", "{{.Mountpoint}}"], volume.clone()),
        (&["volume", "inspect", "-f", "{{.configuration.labels.tier}}", "data"], "back".to_owned()),
        (
            &["network", "ls", "--format", "{{.ID}} {{.Name}} {{.Internal}}"],
            "default default false".to_owned(),
        ),
        (&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "default"], subnet),
        (&["system", "version", "--format", "{{.Server.Version}}"], version.to_owned()),
        (&["system", "version", "--format", "{{.appName}}"], "container\ncontainer-apiserver".to_owned()),
        (&["system", "df", "--format", "{{.images.total}} {{.volumes.active}}"], "1 0".to_owned()),
        (
            &["system", "df", "--format", "{{.Type}} {{.TotalCount}}"],
            "Images 1\nContainers 0\nLocal Volumes 1".to_owned(),
        ),
        (&["system", "status", "--format", "{{.status}}"], "running".to_owned()),
        (&["system", "dns", "list", "--format", "{{.}}"], String::new()),
        (&["registry", "list", "--format", "{{.name}}"], String::new()),
    ] {
        assert_eq!(installation.run_ok(words), expected, "{words:?}");
    }
}

#[test]
fn lists_are_filtered() {
    let installation = Installation::with_demo();
    installation.run_ok(&["image", "tag", "demo", "team/other:1"]);
    installation.run_ok(&["network", "create", "--label", "tier=back", "back"]);
    installation.run_ok(&["network", "create", "front"]);
    installation.run_ok(&["volume", "create", "--label", "tier=back", "data"]);
    installation.run_ok(&["volume", "create", "spare"]);
    let first = ["run", "-d", "--name", "first", "--network", "back", "-v", "data:/data", "-p"];
    installation.run_ok(&[&first[..], &["127.0.0.1:48321:80", "demo", "sleep", "600"]].concat());
    installation.run_ok(&["create", "--name", "second", "demo"]);
    for (words, expected) in [
        (&["network", "list", "-q"][..], "back default front"),
        (&["network", "list", "-q", "--filter", "dangling=true"], "front"),
        (&["network", "list", "-q", "--filter", "label=tier", "--filter", "type=custom"], "back"),
        (&["volume", "list", "-q", "-f", "dangling=true"], "spare"),
        (&["volume", "list", "-q", "-f", "name=da"], "data"),
        (&["image", "list", "-q", "-f", "reference=team/*"], "docker.io/team/other:1"),
        (&["image", "list", "-q", "demo"], "docker.io/library/demo:latest"),
        (&["image", "list", "-a", "-q", "nothing"], ""),
        (&["list", "-q", "--filter", "before=second"], "first"),
        (&["list", "-q", "--filter", "since=first"], ""),
        (&["list", "-qa", "--filter", "since=first"], "second"),
        (&["list", "-q", "--filter", "publish=48321/tcp"], "first"),
        (&["list", "-q", "--filter", "publish=80"], ""),
        (&["list", "-aq", "--filter", "name=^first$"], "first"),
        (&["list", "-aq", "--filter", "name=^fir$"], ""),
    ] {
        let found = installation.run_ok(words);
        assert_eq!(found.lines().collect::<Vec<_>>().join(" "), expected, "{words:?}");
    }
    let missing = installation.container(&["list", "--filter", "before=nobody"]).expect_code(1);
    assert!(missing.stderr.contains("'nobody'"), "{missing:?}");
    let _ = installation.container(&["volume", "list", "--filter", "color=red"]).expect_code(64);
}
