//! Reads everything once.

use bulkhead_api::volume::VolumeConfiguration;
use rusqlite::{Connection, params};

use crate::error::StateError;
use crate::record::{ContainerRecord, DomainRecord, ImageRecord, NetworkRecord};

/// All records.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// By id.
    pub containers: Vec<ContainerRecord>,
    /// By reference.
    pub images: Vec<ImageRecord>,
    /// By name.
    pub networks: Vec<NetworkRecord>,
    /// By name.
    pub volumes: Vec<VolumeConfiguration>,
    /// By name.
    pub domains: Vec<DomainRecord>,
    /// Rows that could not be read, of this and of earlier starts.
    pub quarantined: Vec<Quarantined>,
}

/// A row that could not be read. Its files are left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The table it was in.
    pub origin: String,
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A row as text; decoded outside of SQLite so that one bad row does not end the query.
struct Row {
    key: String,
    first: String,
    second: String,
}

pub(crate) fn load(connection: &Connection) -> Result<Contents, StateError> {
    let mut contents = Contents::default();
    for row in rows(connection, "containers", "SELECT id, configuration, state FROM containers ORDER BY id")?
    {
        match container(&row) {
            Ok(record) => contents.containers.push(record),
            Err(reason) => quarantine(connection, "containers", "id", &row, &reason)?,
        }
    }
    for row in rows(
        connection,
        "images",
        "SELECT reference, descriptor, creation_date FROM images ORDER BY reference",
    )? {
        match serde_json::from_str(&row.first) {
            Ok(descriptor) => contents.images.push(ImageRecord {
                reference: row.key,
                descriptor,
                creation_date: row.second,
            }),
            Err(reason) => quarantine(connection, "images", "reference", &row, &reason.to_string())?,
        }
    }
    for row in rows(connection, "networks", "SELECT name, configuration, '' FROM networks ORDER BY name")? {
        match serde_json::from_str::<NetworkRecord>(&row.first) {
            Ok(record) if record.name == row.key => contents.networks.push(record),
            Ok(_) => quarantine(connection, "networks", "name", &row, "the record names another network")?,
            Err(reason) => quarantine(connection, "networks", "name", &row, &reason.to_string())?,
        }
    }
    for row in rows(connection, "volumes", "SELECT name, configuration, '' FROM volumes ORDER BY name")? {
        match serde_json::from_str::<VolumeConfiguration>(&row.first) {
            Ok(record) if record.name == row.key => contents.volumes.push(record),
            Ok(_) => quarantine(connection, "volumes", "name", &row, "the record names another volume")?,
            Err(reason) => quarantine(connection, "volumes", "name", &row, &reason.to_string())?,
        }
    }
    for row in rows(connection, "domains", "SELECT name, configuration, '' FROM domains ORDER BY name")? {
        match serde_json::from_str::<DomainRecord>(&row.first) {
            Ok(record) if record.name == row.key => contents.domains.push(record),
            Ok(_) => quarantine(connection, "domains", "name", &row, "the record names another domain")?,
            Err(reason) => quarantine(connection, "domains", "name", &row, &reason.to_string())?,
        }
    }
    for row in rows(connection, "quarantine", "SELECT origin, key, reason FROM quarantine")? {
        contents.quarantined.push(Quarantined { origin: row.key, key: row.first, reason: row.second });
    }
    Ok(contents)
}

fn container(row: &Row) -> Result<ContainerRecord, String> {
    let record = ContainerRecord {
        configuration: serde_json::from_str(&row.first).map_err(|error| error.to_string())?,
        state: serde_json::from_str(&row.second).map_err(|error| error.to_string())?,
    };
    if record.configuration.id == row.key {
        Ok(record)
    } else {
        Err("the record names another container".to_owned())
    }
}

fn rows(connection: &Connection, table: &'static str, query: &str) -> Result<Vec<Row>, StateError> {
    let read = || -> Result<Vec<Row>, rusqlite::Error> {
        let mut statement = connection.prepare(query)?;
        let rows = statement
            .query_map([], |row| Ok(Row { key: row.get(0)?, first: row.get(1)?, second: row.get(2)? }))?;
        rows.collect()
    };
    read().map_err(|source| StateError::Read { table, source })
}

fn quarantine(
    connection: &Connection,
    table: &'static str,
    key_column: &'static str,
    row: &Row,
    reason: &str,
) -> Result<(), StateError> {
    let content = format!("{}\n{}", row.first, row.second);
    let set_aside = || -> Result<(), rusqlite::Error> {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute(
            "INSERT INTO quarantine (origin, key, content, reason) VALUES (?1, ?2, ?3, ?4)",
            params![table, row.key, content, reason],
        )?;
        transaction.execute(&format!("DELETE FROM {table} WHERE {key_column} = ?1"), params![row.key])?;
        transaction.commit()
    };
    set_aside().map_err(|source| StateError::Write {
        object: format!("the damaged row '{}' of {table}", row.key),
        source,
    })
}
