//! Registries that lie, stall, steal and fail (F33 to F42): one clear line each, and nothing is left.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bulkhead_tests::{Installation, Reply, Request, ScriptedImage, ScriptedRegistry, digest, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const LAYER_BYTES: usize = 300_000;

/// A pull must fail with one line that holds all of `words`, and leave nothing.
#[track_caller]
fn refuse(installation: &Installation, registry: &ScriptedRegistry, words: &[&str]) -> String {
    let outcome =
        installation.container(&["image", "pull", "--progress", "none", &registry.reference("image:1")]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let lines: Vec<&str> = outcome.stderr.lines().filter(|line| !line.starts_with("starting ")).collect();
    assert!(lines[0].starts_with("Error: "), "{outcome:?}");
    assert!(lines[1..].iter().all(|line| line.starts_with("hint: ")) && lines.len() <= 2, "{outcome:?}");
    for word in words {
        assert!(lines[0].contains(word), "no '{word}' in {outcome:?}");
    }
    assert!(lines[0].len() < 700, "{outcome:?}");
    leaves_nothing(installation);
    outcome.stderr
}

#[test]
fn what_fails_at_once_is_no_timeout() {
    let installation = Installation::new();
    for registry in ["no-such-host.invalid", "127.0.0.1:1"] {
        let image = format!("{registry}/image:1");
        let outcome = installation.container(&["image", "pull", &image]).expect_code(1);
        let told = format!("Error: internalError: \"image '{image}' cannot be pulled\"");
        assert!(outcome.stderr.contains(&told), "{outcome:?}");
        assert!(outcome.stderr.contains("hint: Check the network"), "{outcome:?}");
        let login = ["registry", "login", "--username", "user", "--password-stdin", registry];
        let outcome = installation.container_with_input(&login, b"secret").expect_code(1);
        assert!(outcome.stderr.contains("Error: internalError: "), "{outcome:?}");
    }
}

#[track_caller]
fn leaves_nothing(installation: &Installation) {
    let images = installation.folder().join("app/images");
    for folder in ["tmp", "blobs/sha256", "layers/sha256"] {
        let left: Vec<_> =
            fs::read_dir(images.join(folder)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "");
}

fn image() -> ScriptedImage {
    ScriptedImage::new(LAYER_BYTES)
}

/// A registry that answers requests for the layer in its own way.
fn with_layer(reply: impl Fn(&Request, &ScriptedImage) -> Reply + Send + Sync + 'static) -> ScriptedRegistry {
    let image = image();
    let (kept, layer) = (image.clone(), digest(&image.layer));
    ScriptedRegistry::start(
        image,
        move |request| {
            if request.is_for(&layer) { reply(request, &kept) } else { Reply::Honest }
        },
    )
}

/// A registry that answers requests for the manifest in its own way.
fn with_manifest(
    reply: impl Fn(&Request, &ScriptedImage) -> Reply + Send + Sync + 'static,
) -> ScriptedRegistry {
    let image = image();
    let kept = image.clone();
    ScriptedRegistry::start(image, move |request| {
        if request.path.contains("/manifests/") { reply(request, &kept) } else { Reply::Honest }
    })
}

fn ok(body: Vec<u8>) -> Reply {
    Reply::Answer("200 OK", vec!["Content-Type: application/vnd.oci.image.manifest.v1+json".to_owned()], body)
}

#[test]
fn f33_blobs_that_are_not_what_they_should_be() {
    let installation = Installation::new();
    let other_bytes = with_layer(|_, image| {
        let mut layer = image.layer.clone();
        layer[1000] ^= 1;
        ok(layer)
    });
    refuse(&installation, &other_bytes, &[&digest(&image().layer), "has the digest"]);
    let longer = with_layer(|_, image| ok([image.layer.as_slice(), b"more"].concat()));
    refuse(&installation, &longer, &["bytes", "descriptor says"]);
    let shorter = with_layer(|_, image| ok(image.layer[..5000].to_vec()));
    refuse(&installation, &shorter, &["bytes", "descriptor says"]);
    let endless = with_layer(|_, _| {
        Reply::raw(|stream| {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
            while stream.write_all(b"1000\r\n").and_then(|()| stream.write_all(&[0; 4098])).is_ok() {}
        })
    });
    refuse(&installation, &endless, &[]);
    // Right bytes, but another layer than the configuration promises.
    let mut lying = image();
    lying.configuration = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(b"else")]}
    })
    .to_string()
    .into_bytes();
    lying.manifest = lying.manifest_value().to_string().into_bytes();
    refuse(&installation, &ScriptedRegistry::start(lying, |_| Reply::Honest), &["unpacks to"]);
}

#[test]
fn f34_f35_manifests_that_cannot_be_meant() {
    let installation = Installation::new();
    let manifest = image().manifest_value();
    let with = |key: &str, value: serde_json::Value| {
        let mut changed = manifest.clone();
        changed[key] = value;
        changed.to_string().into_bytes()
    };
    let layer = |member: &str, value: serde_json::Value| {
        let mut layer = manifest["layers"][0].clone();
        layer[member] = value;
        with("layers", json!([layer]))
    };
    let mut duplicate = manifest.to_string().into_bytes();
    duplicate.splice(1..1, *b"\"layers\":[],");
    let truncated = manifest.to_string().into_bytes()[..100].to_vec();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (truncated, &["invalid"]),
        (vec![b'['; 100_000], &["invalid"]),
        (duplicate, &["invalid"]),
        (with("manifests", json!([])), &["invalid"]),
        (with("schemaVersion", json!(1)), &["invalid"]),
        (vec![b' '; 6 << 20], &["sent more than"]),
        (layer("digest", json!("sha256:../../../../etc/passwd")), &["invalid"]),
        (layer("digest", json!("SHA256:".to_owned() + &"A".repeat(64))), &["invalid"]),
        (layer("digest", json!("sha256:".to_owned() + &"a".repeat(63))), &["invalid"]),
        (layer("digest", json!("md5:".to_owned() + &"a".repeat(32))), &["invalid"]),
        (layer("size", json!(-1)), &["invalid"]),
        (
            layer("mediaType", json!("application/vnd.cncf.helm.chart.content.v1.tar+gzip")),
            &["no container image"],
        ),
    ];
    for (body, words) in cases {
        let registry = with_manifest(move |_, _| ok(body.clone()));
        refuse(&installation, &registry, words);
    }
}

#[test]
fn f37_f38_redirections_and_credentials() {
    let installation = Installation::new();
    for (target, word) in [
        ("file:///etc/passwd", "neither http nor https"),
        ("http://169.254.169.254/latest/meta-data", "link-local"),
        ("http://[::ffff:a9fe:a9fe]/", "link-local"),
        ("/v2/image/manifests/1", "more than 10 hops"),
    ] {
        refuse(&installation, &with_manifest(move |_, _| Reply::redirect(target)), &["redirect", word]);
    }

    // The registry knows who asks; where it sends them does not, even when asked for it.
    let thief = Arc::new(ScriptedRegistry::start(image(), |_| {
        Reply::Answer("401 Unauthorized", vec!["WWW-Authenticate: Basic realm=\"x\"".to_owned()], Vec::new())
    }));
    let elsewhere = format!("http://{}/v2/image/manifests/1", thief.server());
    let redirecting = with_manifest(move |request, _| match request.headers.contains_key("authorization") {
        true => Reply::redirect(&elsewhere),
        false => Reply::Answer(
            "401 Unauthorized",
            vec!["WWW-Authenticate: Basic realm=\"x\"".to_owned()],
            Vec::new(),
        ),
    });
    log_in_open(&installation, &redirecting);
    refuse(&installation, &redirecting, &["refuses access"]);
    assert!(redirecting.requests().iter().any(|request| request.headers.contains_key("authorization")));
    // A token service elsewhere.
    let realm = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"", thief.server());
    let asking =
        with_manifest(move |_, _| Reply::Answer("401 Unauthorized", vec![realm.clone()], Vec::new()));
    log_in_open(&installation, &asking);
    refuse(&installation, &asking, &[thief.server()]);
    assert!(!thief.requests().is_empty());
    for request in thief.requests() {
        assert!(!request.headers.contains_key("authorization"), "{request:?}");
    }
}

/// These registries answer `/v2/` to everybody, so any password will do.
fn log_in_open(installation: &Installation, registry: &ScriptedRegistry) {
    let arguments = ["registry", "login", "-u", "rider", "--password-stdin", registry.server()];
    let outcome = installation.container_with_input(&arguments, b"horse").expect_code(0);
    assert!(outcome.stderr.contains("Login succeeded"), "{outcome:?}");
}

#[test]
fn f39_interrupted_layers_are_resumed() {
    let installation = Installation::new();
    let cut = with_layer(|request, image| match request.earlier {
        0 => Reply::unfinished(image.layer.len(), image.layer[..200_000].to_vec(), Duration::ZERO),
        _ => Reply::Honest,
    });
    installation.run_ok(&["image", "pull", &cut.reference("image:1")]);
    let ranges: Vec<_> =
        cut.requests().into_iter().filter_map(|request| request.headers.get("range").cloned()).collect();
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    installation.run_ok(&["image", "prune", "-a"]);
    // A registry that has another range in mind.
    let confused = with_layer(|request, image| match request.earlier {
        0 => Reply::unfinished(image.layer.len(), image.layer[..200_000].to_vec(), Duration::ZERO),
        _ => {
            let range = format!("Content-Range: bytes 7-{}/{}", image.layer.len() - 1, image.layer.len());
            Reply::Answer("206 Partial Content", vec![range], image.layer[7..].to_vec())
        }
    });
    refuse(&installation, &confused, &["another range"]);
    let always = with_layer(|_, image| Reply::unfinished(image.layer.len(), Vec::new(), Duration::ZERO));
    refuse(&installation, &always, &[]);
}

#[test]
fn f39_a_pull_that_stalls_can_be_cancelled() {
    let installation = Installation::new();
    let stalling = with_layer(|_, image| {
        let (length, half) = (image.layer.len(), image.layer[..100_000].to_vec());
        Reply::raw(move |stream| {
            drop(stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()));
            drop(stream.write_all(&half));
            thread::sleep(Duration::from_secs(60));
        })
    });
    let reference = stalling.reference("image:1");
    let mut child = installation.command(&["image", "pull", &reference]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let layer = digest(&stalling.image.layer);
    wait_until("download", || stalling.requests().iter().any(|request| request.is_for(&layer)));
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    let temporary = installation.folder().join("app/images/tmp");
    wait_until("end of the download", || fs::read_dir(&temporary).unwrap().count() == 0);
    leaves_nothing(&installation);
}

#[test]
fn f40_busy_and_broken_registries() {
    let installation = Installation::new();
    let broken = with_manifest(|_, _| {
        let body = br#"{"errors":[{"code":"X","message":"out\u001b[31m of\norder"}]}"#;
        Reply::Answer("500 Internal Server Error", Vec::new(), body.to_vec())
    });
    let told = refuse(&installation, &broken, &["status 500", "order"]);
    assert!(!told.contains('\u{1b}'), "{told:?}");
    assert!(broken.requests().len() <= 4, "{}", broken.requests().len());
    let never = with_manifest(|_, _| {
        let realm = "WWW-Authenticate: Basic realm=\"x\"".to_owned();
        Reply::Answer("401 Unauthorized", vec![realm], Vec::new())
    });
    refuse(&installation, &never, &["registry login"]);
    let missing = with_manifest(|_, _| Reply::Answer("404 Not Found", Vec::new(), Vec::new()));
    refuse(&installation, &missing, &["not found"]);
    let busy = with_manifest(|request, _| match request.earlier {
        0 => Reply::Answer("429 Too Many Requests", vec!["Retry-After: 1".to_owned()], Vec::new()),
        1 => Reply::Answer("503 Service Unavailable", Vec::new(), Vec::new()),
        _ => Reply::Honest,
    });
    installation.run_ok(&["image", "pull", &busy.reference("image:1")]);
    assert_eq!(busy.requests().iter().filter(|request| request.path.contains("/manifests/")).count(), 3);
}

#[test]
fn f41_floods_are_bounded() {
    let installation = Installation::new();
    let headers = with_manifest(|_, _| {
        Reply::raw(|stream| {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n"));
            while stream.write_all(format!("X-Filler: {}\r\n", "a".repeat(4000)).as_bytes()).is_ok() {}
        })
    });
    refuse(&installation, &headers, &[]);
    let endless = with_manifest(|_, _| {
        Reply::raw(|stream| {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
            while stream.write_all(&[b' '; 65_536]).is_ok() {}
        })
    });
    refuse(&installation, &endless, &["sent more than"]);
    // A compressed body is not asked for, and not unpacked.
    let compressed = with_manifest(|_, image| {
        Reply::Answer("200 OK", vec!["Content-Encoding: gzip".to_owned()], image.manifest[..50].to_vec())
    });
    refuse(&installation, &compressed, &[]);
    let pids = installation.pids("container-apiserver");
    let status = fs::read_to_string(format!("/proc/{}/status", pids[0])).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak_kib < 200 << 10, "{peak}");
}

#[test]
fn f36_a_tag_that_moves_is_asked_once() {
    let installation = Installation::new();
    let registry = ScriptedRegistry::start(image(), |_| Reply::Honest);
    installation.run_ok(&["image", "pull", "--progress", "none", &registry.reference("image:1")]);
    let requests = registry.requests();
    let of_tag = requests.iter().filter(|request| request.path.ends_with("/manifests/1")).count();
    assert_eq!(of_tag, 1, "{requests:?}");
    // Whatever it names later: everything else was asked for by digest.
    let others = requests.iter().filter(|request| request.path.contains("/image/"));
    assert_eq!(others.filter(|request| !request.path.contains("sha256:")).count(), 1, "{requests:?}");
}
