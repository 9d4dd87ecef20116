//! Schema and its migrations, counted by `user_version`.

use std::path::Path;

use rusqlite::Connection;

use crate::error::StateError;

/// Step n brings a database of version n to version n + 1. Never edit a published step.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE containers (id TEXT PRIMARY KEY, configuration TEXT NOT NULL, state TEXT NOT NULL) STRICT;
    CREATE TABLE images (
        reference TEXT PRIMARY KEY, descriptor TEXT NOT NULL, creation_date TEXT NOT NULL
    ) STRICT;
    CREATE TABLE networks (name TEXT PRIMARY KEY, configuration TEXT NOT NULL) STRICT;
    CREATE TABLE quarantine (
        origin TEXT NOT NULL, key TEXT NOT NULL, content TEXT NOT NULL, reason TEXT NOT NULL
    ) STRICT;
",
    "CREATE TABLE volumes (name TEXT PRIMARY KEY, configuration TEXT NOT NULL) STRICT;",
    "CREATE TABLE domains (name TEXT PRIMARY KEY, configuration TEXT NOT NULL) STRICT;",
];

pub(crate) fn open(path: &Path) -> Result<Connection, StateError> {
    let failed = |source| StateError::Open { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    // The apiserver's lock keeps other writers out; this is for somebody looking with sqlite3(1).
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let Some(first) = usize::try_from(found).ok().filter(|first| *first <= MIGRATIONS.len()) else {
        return Err(StateError::Newer { path: path.to_owned(), found, known });
    };
    for (version, step) in MIGRATIONS.iter().enumerate().skip(first) {
        migrate(&mut connection, version + 1, step)
            .map_err(|source| StateError::Migrate { version: version + 1, source })?;
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection, version: usize, step: &str) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(step)?;
    transaction.pragma_update(None, "user_version", i64::try_from(version).unwrap_or(i64::MAX))?;
    transaction.commit()
}
