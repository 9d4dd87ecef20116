//! A Debian image through a real registry, and the programs that people run in it.
//!
//! One installation and one running container serve all cases; see the harness at the end.
#![allow(clippy::print_stderr, reason = "a test harness talks to a terminal")]

use std::sync::Arc;

use bulkhead_tests::{Installation, Registry, wait_until};
use libtest_mimic::{Arguments, Failed, Trial};

type Case = fn(&Debian) -> Result<(), Failed>;

struct Debian {
    installation: Installation,
    reference: String,
}

impl Debian {
    fn new() -> Self {
        let installation = Installation::new();
        let registry = Registry::start(installation.folder());
        registry.push(&installation.debian_archive(), "debian:test");
        let reference = registry.reference("debian:test");
        installation.run_ok(&["image", "pull", &reference]);
        Self { installation, reference }
    }

    fn run(&self, flags: &[&str], script: &str) -> Result<String, Failed> {
        let mut words = vec!["run", "--rm"];
        words.extend_from_slice(flags);
        words.extend_from_slice(&[self.reference.as_str(), "sh", "-ec", script]);
        let outcome = self.installation.container(&words);
        if outcome.code == 0 { Ok(outcome.text()) } else { Err(format!("{outcome:?}").into()) }
    }
}

fn expect(found: &str, wanted: &str) -> Result<(), Failed> {
    if found.trim_end() == wanted { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}").into()) }
}

fn python(debian: &Debian) -> Result<(), Failed> {
    expect(
        &debian.run(&[], "python3 -c 'import hashlib,json; print(json.dumps({\"n\": sum(range(10))}))'")?,
        "{\"n\": 45}",
    )
}

fn a_c_program_is_compiled_and_runs(debian: &Debian) -> Result<(), Failed> {
    let script = "printf '#include <stdio.h>\\nint main(void){puts(\"compiled\");return 0;}' > /tmp/a.c; gcc -O1 -o /tmp/a /tmp/a.c; /tmp/a";
    expect(&debian.run(&[], script)?, "compiled")
}

fn node(debian: &Debian) -> Result<(), Failed> {
    expect(
        &debian.run(&[], "node -e 'setTimeout(() => console.log([1,2,3].map(x => x * 2).join()), 10)'")?,
        "2,4,6",
    )
}

fn procps_reads_what_the_kernel_says(debian: &Debian) -> Result<(), Failed> {
    let found = debian.run(&[], "ps -ef; vmstat; top -b -n 1 | head -20")?;
    match ["ps -ef", "procs", "Tasks:", "%Cpu(s)"].iter().find(|part| !found.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("no {part:?} in {found}").into()),
    }
}

fn apt_installs_a_package(debian: &Debian) -> Result<(), Failed> {
    let script = "apt-get update -qq && apt-get install -y -qq hello >/dev/null 2>&1 && hello";
    expect(&debian.run(&[], script)?, "Hello, world!")
}

fn postgresql_is_queried_through_exec(debian: &Debian) -> Result<(), Failed> {
    let installation = &debian.installation;
    let script = "PATH=$PATH:/usr/lib/postgresql/15/bin; initdb -D /tmp/db >/dev/null; exec postgres -D /tmp/db -k /tmp";
    installation.run_ok(&[
        "run",
        "-d",
        "--name",
        "pg",
        "-u",
        "postgres",
        &debian.reference,
        "sh",
        "-ec",
        script,
    ]);
    let query = |sql: &str| {
        installation.container(&["exec", "-u", "postgres", "pg", "psql", "-h", "/tmp", "-Atc", sql])
    };
    wait_until("postgresql", || query("select 1").code == 0);
    let outcome = query("create table t as select generate_series(1, 1000) n; select sum(n) from t");
    let result = expect(&outcome.text(), "SELECT 1000\n500500");
    installation.run_ok(&["delete", "--force", "pg"]);
    result
}

fn redis_answers(debian: &Debian) -> Result<(), Failed> {
    let script = "redis-server --save '' --daemonize yes >/dev/null; until redis-cli ping >/dev/null 2>&1; do sleep 0.1; done; redis-cli set k v; redis-cli get k";
    expect(&debian.run(&[], script)?, "OK\nv")
}

fn nginx_serves_a_page(debian: &Debian) -> Result<(), Failed> {
    let script = "echo page > /var/www/html/index.html; nginx; curl -s --retry 10 --retry-connrefused http://127.0.0.1/";
    expect(&debian.run(&[], script)?, "page")
}

fn much_memory_is_touched_at_random(debian: &Debian) -> Result<(), Failed> {
    let script = "python3 -c '
import mmap, random
size = 512 << 20
memory = mmap.mmap(-1, size)
pages = list(range(0, size, 4096))
random.seed(1)
random.shuffle(pages)
for page in pages: memory[page] = 1
print(sum(memory[page] for page in pages))'";
    expect(&debian.run(&["--memory", "1g"], script)?, "131072")
}

fn file_capabilities_and_modes_survive(debian: &Debian) -> Result<(), Failed> {
    expect(&debian.run(&[], "stat -c %a /usr/bin/passwd /tmp")?, "4755\n1777")
}

/// Whoever runs code as nobody must not be able to pass as vminitd towards the host.
fn an_impostor_gets_no_streams(debian: &Debian) -> Result<(), Failed> {
    let installation = &debian.installation;
    let impostor = "
import socket, struct, time
sockets = []
def dial(port, data):
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    s.settimeout(5)
    try:
        s.connect((2, port))
        s.sendall(data)
    except OSError:
        pass
    sockets.append(s)
for number in range(0, 8):
    for stream in range(0, 6):
        dial(1025, struct.pack(\"<IBxxx\", number, stream) + bytes(16))
for _ in range(100):
    dial(1025, b\"\")
dial(1024, b\"nonsense\")
print(\"ready\", flush=True)
time.sleep(600)";
    let words =
        ["run", "-d", "--name", "impostor", "-u", "nobody", &debian.reference, "python3", "-c", impostor];
    installation.run_ok(&words);
    wait_until("the impostor to be connected", || {
        installation.run_ok(&["logs", "impostor"]).contains("ready")
    });
    for round in 0..3 {
        let script = format!("echo out {round}; echo err >&2; exit {round}");
        let outcome = installation.container(&["exec", "impostor", "sh", "-c", &script]);
        expect(&outcome.text(), &format!("out {round}"))?;
        expect(&outcome.stderr, "err")?;
        expect(&outcome.code.to_string(), &round.to_string())?;
    }
    installation.run_ok(&["delete", "--force", "impostor"]);
    Ok(())
}

const CASES: [(&str, Case); 11] = [
    ("python", python),
    ("a_c_program_is_compiled_and_runs", a_c_program_is_compiled_and_runs),
    ("node", node),
    ("procps_reads_what_the_kernel_says", procps_reads_what_the_kernel_says),
    ("apt_installs_a_package", apt_installs_a_package),
    ("postgresql_is_queried_through_exec", postgresql_is_queried_through_exec),
    ("redis_answers", redis_answers),
    ("nginx_serves_a_page", nginx_serves_a_page),
    ("f68_much_memory_is_touched_at_random", much_memory_is_touched_at_random),
    ("an_impostor_gets_no_streams", an_impostor_gets_no_streams),
    ("file_capabilities_and_modes_survive", file_capabilities_and_modes_survive),
];

fn main() {
    let arguments = Arguments::from_args();
    let wanted = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    if arguments.list || !CASES.iter().any(|(name, _)| wanted(name)) {
        let trials = CASES.iter().map(|(name, _)| Trial::test(*name, || Ok(()))).collect();
        libtest_mimic::run(&arguments, trials).exit();
    }
    let debian = Arc::new(Debian::new());
    let trials = CASES
        .iter()
        .map(|(name, case)| {
            let debian = Arc::clone(&debian);
            Trial::test(*name, move || case(&debian))
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Stops the services and fails when a process is left behind.
    drop(debian);
    conclusion.exit();
}
