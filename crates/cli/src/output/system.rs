//! The service in tables.

use bulkhead_api::system::{Advice, FolderSupport, NetworkSupport, SystemStatus};

use super::render;

/// `FIELD VALUE`, a row for each thing worth knowing.
pub(crate) fn status_table(status: &SystemStatus) -> String {
    let mut rows = vec![
        row("status", &status.status),
        row("appRoot", &status.app_root),
        row("installRoot", &status.install_root),
    ];
    rows.extend(status.log_root.as_ref().map(|path| row("logRoot", path)));
    rows.extend([
        row("apiServerVersion", &status.api_server_version),
        row("apiServerCommit", &status.api_server_commit),
        row("apiServerBuild", &status.api_server_build),
        row("apiServerAppName", &status.api_server_app_name),
    ]);
    rows.extend(status.configuration_problem.as_ref().map(|problem| row("configurationProblem", problem)));
    if let Some(machine) = &status.machine {
        rows.push(row("vmm", &machine.vmm));
        rows.push(row("barrier", &machine.barrier));
        rows.push(row("reason", &machine.reason));
        rows.extend(machine.maximum_cpus.map(|cpus| row("maximumCpus", &cpus.to_string())));
        rows.extend(machine.advice.iter().map(|advice| row("advice", &told(advice))));
    }
    if let Some(network) = &status.network {
        rows.push(row("network", &network.mode));
        rows.extend(network.limits.iter().map(|limit| row("limit", limit)));
        rows.extend(network_advice(network).map(|advice| row("advice", &advice)));
    }
    if let Some(folders) = &status.folders {
        rows.extend(folders.limits.iter().map(|limit| row("limit", limit)));
        rows.extend(folder_advice(folders).map(|advice| row("advice", &advice)));
    }
    render::table(&["FIELD", "VALUE"], &rows)
}

/// The same keys when nobody serves.
pub(crate) fn absent(status: &str) -> SystemStatus {
    SystemStatus {
        status: status.to_owned(),
        app_root: String::new(),
        install_root: String::new(),
        log_root: None,
        api_server_version: String::new(),
        api_server_commit: String::new(),
        api_server_build: String::new(),
        api_server_app_name: String::new(),
        configuration_problem: None,
        machine: None,
        network: None,
        folders: None,
    }
}

/// What to mend about networks, a line each.
pub(crate) fn network_advice(network: &NetworkSupport) -> impl Iterator<Item = String> {
    network.advice.iter().map(told)
}

/// What to mend about folders and shared volumes, a line each.
pub(crate) fn folder_advice(folders: &FolderSupport) -> impl Iterator<Item = String> {
    folders.advice.iter().map(told)
}

fn told(advice: &Advice) -> String {
    format!("{} Mend it with: {}", advice.problem, advice.remedy)
}

fn row(field: &str, value: &str) -> Vec<String> {
    vec![field.to_owned(), value.to_owned()]
}
