//! How pulls are shown and how many connections they have.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bulkhead_tests::{Installation, Reply, ScriptedImage, ScriptedRegistry, Terminal, digest};
use serde_json::{Value, json};

#[test]
fn a_terminal_shows_the_bytes_of_each_layer() {
    let installation = Installation::new();
    installation.run_ok(&["image", "list"]);
    let image = ScriptedImage::new(3_000_000);
    let layer = image.layer.clone();
    let wanted = digest(&layer);
    let (go_on, waiting) = channel::<()>();
    let waiting = Arc::new(Mutex::new(waiting));
    let registry = ScriptedRegistry::start(image, move |request| {
        if !request.is_for(&wanted) {
            return Reply::Honest;
        }
        let (layer, waiting) = (layer.clone(), Arc::clone(&waiting));
        Reply::raw(move |stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", layer.len());
            stream.write_all(head.as_bytes()).unwrap();
            let (begin, rest) = layer.split_at(1_500_000);
            for part in begin.chunks(1_000_000) {
                stream.write_all(part).unwrap();
                // What comes in between two looks is not shown.
                thread::sleep(Duration::from_millis(300));
            }
            waiting.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
            stream.write_all(rest).unwrap();
        })
    });
    let reference = registry.reference("image:1");
    let mut command = installation.command(&["image", "pull", &reference]);
    command.env("TERM", "xterm").env_remove("CI");
    let mut terminal = Terminal::spawn(command);
    terminal.expect(&digest(&registry.image.layer)[7..19]);
    // On the way, and not only at its end.
    terminal.expect(" MB/3.00 MB");
    go_on.send(()).unwrap();
    assert_eq!(terminal.wait(), 0);
    assert!(terminal.is_cooked());
}

#[test]
fn no_more_layers_come_at_once_than_were_asked_for() {
    const LAYERS: usize = 6;
    let installation = Installation::new();
    installation.run_ok(&["image", "list"]);
    let mut image = ScriptedImage::new(1);
    let layers: Vec<Vec<u8>> = (1..=LAYERS).map(|number| ScriptedImage::new(number * 1000).layer).collect();
    let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let mut configuration: Value = serde_json::from_slice(&image.configuration).unwrap();
    configuration["rootfs"]["diff_ids"] = json!(digests);
    image.configuration = configuration.to_string().into_bytes();
    let mut manifest = image.manifest_value();
    let kind = manifest["layers"][0]["mediaType"].clone();
    manifest["layers"] = layers
        .iter()
        .map(|layer| json!({"mediaType": kind, "digest": digest(layer), "size": layer.len()}))
        .collect();
    image.manifest = manifest.to_string().into_bytes();
    let content: HashMap<String, Vec<u8>> = digests.into_iter().zip(layers).collect();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    let registry = ScriptedRegistry::start(image, move |request| {
        let Some((_, layer)) = content.iter().find(|(digest, _)| request.is_for(digest)) else {
            return Reply::Honest;
        };
        highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(400));
        counted.fetch_sub(1, Ordering::SeqCst);
        Reply::Answer("200 OK", Vec::new(), layer.clone())
    });
    let reference = registry.reference("image:1");
    for (flags, expected) in [(&["--max-concurrent-downloads", "2"][..], 2), (&[], 3)] {
        most.store(0, Ordering::SeqCst);
        installation.run_ok(&[&["image", "pull"], flags, &[&reference]].concat());
        assert_eq!(most.load(Ordering::SeqCst), expected, "{flags:?}");
        installation.run_ok(&["image", "delete", &reference]);
        installation.run_ok(&["image", "prune"]);
    }
}
