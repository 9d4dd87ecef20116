//! What an image says of its containers.

use bulkhead_tests::{Installation, Reply, ScriptedImage, ScriptedRegistry, read_image, wait_until};
use serde_json::json;

#[test]
fn what_an_image_says_counts_until_a_flag_says_other() {
    let installation = Installation::with_demo();
    let (mut configuration, layer) = read_image(&installation.demo_archive());
    let script = "trap 'exit 5' USR1; trap 'exit 6' TERM; echo $FROM $(id -u):$(id -g) $PWD; \
                  while :; do sleep 0.1; done";
    configuration["config"] = json!({
        "Env": ["PATH=/usr/bin:/bin", "FROM=image"], "User": "33:44", "WorkingDir": "/tmp",
        "Entrypoint": ["sh", "-c"], "Cmd": [script], "StopSignal": "SIGUSR1",
        "Healthcheck": {"Test": ["CMD-SHELL", "echo looked"], "Interval": 200_000_000}
    });
    let mut image = ScriptedImage::new(1);
    image.layer = layer;
    image.configuration = configuration.to_string().into_bytes();
    image.manifest = image.manifest_value().to_string().into_bytes();
    let registry = ScriptedRegistry::start(image, |_| Reply::Honest);
    let reference = registry.reference("image:1");
    let flags = [
        ("image", &[][..], "image 33:44 /tmp", 5),
        (
            "flags",
            &["-e", "FROM=flag", "-u", "0:0", "-w", "/", "--stop-signal", "TERM", "--no-healthcheck"],
            "flag 0:0 /",
            6,
        ),
    ];
    for (name, flags, said, code) in flags {
        installation.run_ok(&[&["run", "-d", "--name", name], flags, &[&reference]].concat());
        wait_until("its words", || installation.run_ok(&["logs", name]) == said);
        let health = || installation.snapshot(name)["status"]["health"].clone();
        if name == "image" {
            wait_until("the image's health check", || health()["status"] == "healthy");
            assert_eq!(health()["log"][0]["output"], "looked\n");
        } else {
            assert!(health().is_null());
        }
        installation.run_ok(&["stop", name]);
        assert_eq!(installation.wait_for_exit(name), code, "{name}");
    }
}
