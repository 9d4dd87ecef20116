//! Processes in tables, with the columns of ps(1).

use bulkhead_api::observation::ProcessEntry;

use super::render;

/// What a column shows of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    User,
    Pid,
    ParentPid,
    ProcessGroup,
    Session,
    /// Of one processor, in whole percent.
    Processor,
    /// The same with a digit after the point.
    ProcessorExactly,
    /// Of the container's memory.
    Memory,
    VirtualMemory,
    ResidentMemory,
    Terminal,
    State,
    Nice,
    Threads,
    Start,
    StartExactly,
    Age,
    ProcessorTime,
    Name,
    Command,
}

/// Title, field.
pub(crate) type Column = (String, Field);

/// Names of ps(1), titles, fields.
const COLUMNS: &[(&[&str], &str, Field)] = &[
    (&["user", "euser", "uname", "ruser"], "USER", Field::User),
    (&["uid", "euid", "ruid"], "UID", Field::User),
    (&["pid", "tgid"], "PID", Field::Pid),
    (&["ppid"], "PPID", Field::ParentPid),
    (&["pgid", "pgrp"], "PGID", Field::ProcessGroup),
    (&["sid", "sess", "session"], "SID", Field::Session),
    (&["c", "cp"], "C", Field::Processor),
    (&["pcpu", "%cpu"], "%CPU", Field::ProcessorExactly),
    (&["pmem", "%mem"], "%MEM", Field::Memory),
    (&["vsz", "vsize"], "VSZ", Field::VirtualMemory),
    (&["rss", "rsz", "rssize"], "RSS", Field::ResidentMemory),
    (&["tty", "tt", "tname"], "TTY", Field::Terminal),
    (&["stat", "state", "s"], "STAT", Field::State),
    (&["ni", "nice"], "NI", Field::Nice),
    (&["nlwp", "thcount"], "NLWP", Field::Threads),
    (&["stime", "start", "start_time", "bsdstart"], "STIME", Field::Start),
    (&["lstart"], "STARTED", Field::StartExactly),
    (&["etime"], "ELAPSED", Field::Age),
    (&["time", "cputime", "bsdtime"], "TIME", Field::ProcessorTime),
    (&["comm", "ucmd", "ucomm"], "COMMAND", Field::Name),
    (&["cmd"], "CMD", Field::Command),
    (&["args", "command"], "COMMAND", Field::Command),
];

/// The column that ps(1) calls so.
pub(crate) fn column(name: &str) -> Option<Column> {
    let (_, title, field) = COLUMNS.iter().find(|(names, ..)| names.contains(&name))?;
    Some(((*title).to_owned(), *field))
}

/// Every column by its first name.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().filter_map(|(names, ..)| names.first().copied())
}

/// `memory_bytes` is the container's.
pub(crate) fn table(processes: &[ProcessEntry], columns: &[Column], memory_bytes: u64) -> String {
    let titles: Vec<&str> = columns.iter().map(|(title, _)| title.as_str()).collect();
    let row = |process| columns.iter().map(|(_, field)| cell(process, *field, memory_bytes)).collect();
    render::table(&titles, &processes.iter().map(row).collect::<Vec<_>>())
}

fn cell(process: &ProcessEntry, field: Field, memory_bytes: u64) -> String {
    match field {
        Field::User => process.uid.to_string(),
        Field::Pid => process.pid.to_string(),
        Field::ParentPid => process.parent_pid.to_string(),
        Field::ProcessGroup => process.process_group.to_string(),
        Field::Session => process.session.to_string(),
        Field::Processor => (per_mille(process.cpu_time_ms, process.age_ms) / 10).to_string(),
        Field::ProcessorExactly => percent(per_mille(process.cpu_time_ms, process.age_ms)),
        Field::Memory => percent(per_mille(process.resident_memory_bytes, memory_bytes)),
        Field::VirtualMemory => (process.virtual_memory_bytes >> 10).to_string(),
        Field::ResidentMemory => (process.resident_memory_bytes >> 10).to_string(),
        Field::Terminal => process.terminal.clone().unwrap_or_else(|| "?".to_owned()),
        Field::State => process.state.clone(),
        Field::Nice => process.nice.to_string(),
        Field::Threads => process.threads.to_string(),
        Field::Start => start(&process.started_date, process.age_ms).to_owned(),
        Field::StartExactly => process.started_date.clone(),
        Field::Age => elapsed(process.age_ms / 1000),
        Field::ProcessorTime => clock(process.cpu_time_ms / 1000),
        Field::Name => process.name.clone(),
        Field::Command => process.command.clone(),
    }
}

fn per_mille(part: u64, whole: u64) -> u64 {
    part.saturating_mul(1000) / whole.max(1)
}

fn percent(per_mille: u64) -> String {
    format!("{}.{}", per_mille / 10, per_mille % 10)
}

/// The time of a start within the last day, UTC, else its date.
fn start(date: &str, age_ms: u64) -> &str {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let (day, time) = date.split_once('T').unwrap_or((date, ""));
    if age_ms < DAY_MS { time.get(..5).unwrap_or(time) } else { day }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `[[dd-]hh:]mm:ss`
fn elapsed(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes:02}:{:02}", seconds % 60),
        (0, _) => format!("{hours:02}:{minutes:02}:{:02}", seconds % 60),
        _ => format!("{days}-{hours:02}:{minutes:02}:{:02}", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_shown_as_ps_does() {
        let process = ProcessEntry {
            pid: 1,
            parent_pid: 0,
            uid: 1000,
            cpu_time_ms: 3_725_000,
            started_date: "2026-01-02T03:04:05Z".to_owned(),
            age_ms: 7_450_000,
            terminal: None,
            command: "sleep 60".to_owned(),
            name: "sleep".to_owned(),
            state: "S".to_owned(),
            nice: -5,
            threads: 2,
            process_group: 1,
            session: 3,
            virtual_memory_bytes: 10 << 20,
            resident_memory_bytes: 1 << 20,
        };
        let shown: Vec<String> = COLUMNS.iter().map(|(.., field)| cell(&process, *field, 4 << 20)).collect();
        let expected = [
            "1000",
            "1000",
            "1",
            "0",
            "1",
            "3",
            "50",
            "50.0",
            "25.0",
            "10240",
            "1024",
            "?",
            "S",
            "-5",
            "2",
            "03:04",
            "2026-01-02T03:04:05Z",
            "02:04:10",
            "01:02:05",
            "sleep",
            "sleep 60",
            "sleep 60",
        ];
        assert_eq!(shown, expected);
        assert_eq!(start("2026-01-02T03:04:05Z", u64::MAX), "2026-01-02");
        assert_eq!((elapsed(61), elapsed(90_061)), ("01:01".to_owned(), "1-01:01:01".to_owned()));
    }
}
