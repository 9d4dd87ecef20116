//! A container as the configuration of an image: what other containers of that image are to have of it.
//!
//! Docker's rule: all that the container was created with stays, be it from flags or from its image. What every
//! container gets anyway (host name, terminal, search path) is none of it.

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_api::health::{HealthCheck, HealthCheckRequest};
use bulkhead_oci::ImageConfiguration;
use serde_json::{Map, Value, json};

use super::{configuration, environment, health, sockets, user};
use crate::date;
use crate::error::failed;
use crate::image::changes::with_changes;

/// What is the platform's; all else that builders note at the top is about how the parent was made.
const KEPT: [&str; 5] = ["architecture", "os", "os.features", "os.version", "variant"];
/// Ports of one range; an image names each.
const MAXIMUM_PORTS: u16 = 1000;

/// The configuration of an image of this container, but for layers and history.
pub(super) fn of(
    container: &ContainerConfiguration,
    parent: &Map<String, Value>,
    changes: &[String],
    author: Option<&str>,
) -> Result<Map<String, Value>, ApiError> {
    let typed: ImageConfiguration = serde_json::from_value(Value::Object(parent.clone()))
        .map_err(|error| failed("the configuration of the container's image is damaged", &error))?;
    let defaults = typed.config.unwrap_or_default();
    // Others than these stay as they are, known here or not.
    let mut config = parent.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut set = |name: &str, value: Value| {
        let is_empty = value.is_null() || value == json!([]) || value == json!({});
        if is_empty { drop(config.remove(name)) } else { drop(config.insert(name.to_owned(), value)) }
    };
    let process = &container.init_process;
    set("Env", json!(variables(container, &defaults.env)));
    let words = [std::slice::from_ref(&process.executable), &process.arguments].concat();
    let (entrypoint, command) = words.split_at(container.entrypoint_words.min(words.len()));
    set("Entrypoint", json!(entrypoint));
    set("Cmd", json!(command));
    if user::resolve(None, &defaults.user).ok().as_ref() != Some(&process.user) {
        set("User", json!(process.user.specification()));
    }
    let directory = configuration::working_directory(None, &defaults.working_dir);
    if directory.ok().as_ref() != Some(&process.working_directory) {
        set("WorkingDir", json!(process.working_directory));
    }
    set("Labels", json!(container.labels));
    set("StopSignal", json!(container.stop_signal));
    let inherited = health::merge(&HealthCheckRequest::default(), defaults.healthcheck.as_ref());
    if inherited.ok().as_ref() != Some(&container.health_check) {
        let check = container.health_check.as_ref();
        set("Healthcheck", check.map_or_else(|| json!({"Test": ["NONE"]}), HealthCheck::docker_document));
    }
    let mut ports: Map<String, Value> =
        defaults.exposed_ports.into_iter().map(|port| (port, json!({}))).collect();
    for range in &container.published_ports {
        let count = range.count.min(MAXIMUM_PORTS);
        let numbers = (0..count).map(|offset| range.container_port.saturating_add(offset));
        ports.extend(numbers.map(|port| (format!("{port}/{}", range.proto), json!({}))));
    }
    set("ExposedPorts", Value::Object(ports));
    let mut whole: Map<String, Value> =
        KEPT.into_iter().filter_map(|key| Some((key.to_owned(), parent.get(key)?.clone()))).collect();
    whole.insert("created".to_owned(), json!(date::now()));
    if let Some(author) = author {
        whole.insert("author".to_owned(), json!(author));
    }
    whole.insert("config".to_owned(), Value::Object(with_changes(config, changes)?));
    Ok(whole)
}

/// Without those that every container has, unless they are the image's.
fn variables(container: &ContainerConfiguration, of_image: &[String]) -> Vec<String> {
    let hostname = container.hostname.as_deref();
    let hostname = hostname.unwrap_or_else(|| super::identifier::hostname(&container.id));
    let mut own = environment::merge(hostname, container.init_process.terminal, &[], &[]).unwrap_or_default();
    if container.ssh {
        sockets::announce_agent(&mut own);
    }
    let all = &container.init_process.environment;
    all.iter().filter(|variable| of_image.contains(variable) || !own.contains(variable)).cloned().collect()
}
