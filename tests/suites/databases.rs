//! Databases on what outlives a container: they lock, map, append, sync, and want to find after a
//! power cut what they were told is there.

use bulkhead_tests::{Installation, places, wait_until};

/// Commits rows one by one and says each that is durable.
const SQLITE: &str = "
import sqlite3, sys
base = sqlite3.connect('/data/base', isolation_level=None)
base.execute('PRAGMA journal_mode=' + sys.argv[1])
# FULL leaves the removal of a rollback journal unsynced, and with it the last transaction.
base.execute('PRAGMA synchronous=EXTRA')
base.execute('CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, text TEXT)')
number = base.execute('SELECT coalesce(max(number), 0) FROM rows').fetchone()[0]
while True:
    number += 1
    base.execute('INSERT INTO rows VALUES (?, ?)', (number, 'x' * (number % 3000)))
    print(number, flush=True)
";
const CHECK: &str = "
import sqlite3
base = sqlite3.connect('/data/base')
print(base.execute('PRAGMA integrity_check').fetchone()[0])
print(base.execute('SELECT count(*), max(number) FROM rows').fetchone())
";
const POSTGRES: &str = "
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
mkdir -p /data/pg && chown postgres:postgres /data/pg && chmod 700 /data/pg
as() { setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/tmp \"$@\"; }
if ! [ -e /data/pg/PG_VERSION ]; then as $bin/initdb -D /data/pg -A trust > /dev/null; fi
as $bin/pg_ctl -D /data/pg -w -l /data/pg/log -o '-k /tmp -c listen_addresses=' start > /dev/null
psql() { as $bin/psql -h /tmp -qtA postgres -c \"$1\"; }
";

fn lines(installation: &Installation, name: &str) -> usize {
    installation.run_ok(&["logs", name]).lines().count()
}

/// As a power cut does, for the machine.
fn kill(installation: &Installation, name: &str) {
    let pid = installation.snapshot(name)["status"]["machine"]["pid"].as_i64().expect("a running machine");
    installation.kill(i32::try_from(pid).expect("a process id"));
    wait_until("stopped", || installation.state(name) == "stopped");
}

fn sqlite_survives(installation: &Installation, place: &str, journal: &str) {
    let words =
        ["run", "-d", "--name", "writer", "-v", place, "debian:test", "python3", "-c", SQLITE, journal];
    installation.run_ok(&words);
    for rows in [30, 60] {
        wait_until("rows", || lines(installation, "writer") > rows);
        kill(installation, "writer");
        let told: u64 = installation
            .run_ok(&["logs", "writer"])
            .lines()
            .last()
            .expect("a row")
            .parse()
            .expect("a number");
        let checked =
            installation.run_ok(&["run", "--rm", "-v", place, "debian:test", "python3", "-c", CHECK]);
        let (verdict, counted) = checked.split_once('\n').expect("two lines");
        assert_eq!(verdict, "ok", "{place}");
        let kept = [told, told + 1].map(|count| format!("({count}, {count})"));
        assert!(kept.iter().any(|kept| kept == counted), "{place}: {counted} after {told} was told");
        if rows == 30 {
            installation.run_ok(&["start", "writer"]);
        }
    }
    installation.run_ok(&["delete", "writer"]);
}

#[test]
fn sqlite_with_a_write_ahead_log_keeps_what_it_committed() {
    let installation = Installation::with_debian();
    for place in places(&installation) {
        sqlite_survives(&installation, &place, "WAL");
    }
}

#[test]
fn sqlite_with_a_rollback_journal_keeps_what_it_committed() {
    let installation = Installation::with_debian();
    for place in places(&installation) {
        sqlite_survives(&installation, &place, "DELETE");
    }
}

#[test]
fn postgres_recovers_what_pgbench_did() {
    let installation = Installation::with_debian();
    for place in places(&installation) {
        let script = format!(
            "{POSTGRES}\n psql 'CREATE TABLE sums (n int)'; as $bin/pgbench -h /tmp -i -q postgres 2>/dev/null; \
             echo ready; as $bin/pgbench -h /tmp -c 4 -T 600 postgres 2>&1"
        );
        let words = ["run", "-d", "--name", "base", "-v", &place, "debian:test", "sh", "-c", &script];
        installation.run_ok(&words);
        wait_until("the tables are filled", || lines(&installation, "base") > 0);
        let count = "SELECT count(*) FROM pgbench_history";
        let counted = || {
            let script = format!(
                "exec setpriv --reuid=postgres --regid=postgres --clear-groups \
                                  /usr/lib/postgresql/*/bin/psql -h /tmp -qtA postgres -c '{count}'"
            );
            let outcome = installation.container(&["exec", "base", "sh", "-c", &script]);
            outcome.text().trim().parse::<u64>().unwrap_or(0)
        };
        wait_until("a hundred transactions", || counted() > 100);
        let told = counted();
        assert!(told > 100, "{place}: {told}");
        kill(&installation, "base");
        installation.run_ok(&["delete", "base"]);
        // What each transaction did to one table it did to all.
        let sums = "SELECT (SELECT sum(delta) FROM pgbench_history) = (SELECT sum(bbalance) FROM pgbench_branches), \
                    (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers)";
        let script = format!(
            "{POSTGRES}\n psql '{count}'; psql '{sums}'; as $bin/pg_ctl -D /data/pg -m fast stop > /dev/null"
        );
        let text = installation.run_ok(&["run", "--rm", "-v", &place, "debian:test", "sh", "-c", &script]);
        let (kept, equal) = text.split_once('\n').unwrap();
        assert!(kept.parse::<u64>().unwrap() >= told, "{place}: {kept} after {told} was told");
        assert_eq!(equal, "t|t", "{place}");
    }
}
