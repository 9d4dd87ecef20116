//! One change of the database.

use bulkhead_api::volume::VolumeConfiguration;
use rusqlite::{Connection, params};

use crate::error::StateError;
use crate::record::{ContainerRecord, DomainRecord, ImageRecord, NetworkRecord, StateRecord};

/// A change; changes are applied in the order in which they were submitted.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds or replaces a container.
    PutContainer(Box<ContainerRecord>),
    /// Replaces a container's state; nothing happens when there is no such container.
    SetContainerState {
        /// Container id.
        id: String,
        /// New state.
        state: Box<StateRecord>,
    },
    /// Removes a container.
    DeleteContainer {
        /// Container id.
        id: String,
    },
    /// Gives a container another id, in one step.
    RenameContainer {
        /// Old id.
        from: String,
        /// With the new id.
        record: Box<ContainerRecord>,
    },
    /// Adds or replaces an image's name.
    PutImage(Box<ImageRecord>),
    /// Removes an image's name.
    DeleteImage {
        /// Full reference.
        reference: String,
    },
    /// Adds or replaces a network.
    PutNetwork(Box<NetworkRecord>),
    /// Removes a network.
    DeleteNetwork {
        /// Name.
        name: String,
    },
    /// Adds or replaces a domain.
    PutDomain(DomainRecord),
    /// Removes a domain.
    DeleteDomain {
        /// Name.
        name: String,
    },
    /// Adds or replaces a volume.
    PutVolume(Box<VolumeConfiguration>),
    /// Removes a volume.
    DeleteVolume {
        /// Name.
        name: String,
    },
}

impl Change {
    pub(crate) fn apply(&self, connection: &Connection) -> Result<(), StateError> {
        let outcome = match self {
            Self::PutContainer(record) => {
                let configuration = self.encode(&record.configuration)?;
                let state = self.encode(&record.state)?;
                execute(
                    connection,
                    "INSERT OR REPLACE INTO containers (id, configuration, state) VALUES (?1, ?2, ?3)",
                    params![record.configuration.id, configuration, state],
                )
            }
            Self::SetContainerState { id, state } => {
                let state = self.encode(state)?;
                execute(connection, "UPDATE containers SET state = ?2 WHERE id = ?1", params![id, state])
            }
            Self::DeleteContainer { id } => {
                execute(connection, "DELETE FROM containers WHERE id = ?1", params![id])
            }
            Self::RenameContainer { from, record } => {
                let configuration = self.encode(&record.configuration)?;
                let state = self.encode(&record.state)?;
                // Changes the key too; one that is taken fails the statement.
                execute(
                    connection,
                    "UPDATE containers SET id = ?2, configuration = ?3, state = ?4 WHERE id = ?1",
                    params![from, record.configuration.id, configuration, state],
                )
            }
            Self::PutImage(record) => {
                let descriptor = self.encode(&record.descriptor)?;
                execute(
                    connection,
                    "INSERT OR REPLACE INTO images (reference, descriptor, creation_date) VALUES (?1, ?2, ?3)",
                    params![record.reference, descriptor, record.creation_date],
                )
            }
            Self::DeleteImage { reference } => {
                execute(connection, "DELETE FROM images WHERE reference = ?1", params![reference])
            }
            Self::PutNetwork(record) => {
                let configuration = self.encode(record)?;
                execute(
                    connection,
                    "INSERT OR REPLACE INTO networks (name, configuration) VALUES (?1, ?2)",
                    params![record.name, configuration],
                )
            }
            Self::DeleteNetwork { name } => {
                execute(connection, "DELETE FROM networks WHERE name = ?1", params![name])
            }
            Self::PutDomain(record) => {
                let configuration = self.encode(record)?;
                execute(
                    connection,
                    "INSERT OR REPLACE INTO domains (name, configuration) VALUES (?1, ?2)",
                    params![record.name, configuration],
                )
            }
            Self::DeleteDomain { name } => {
                execute(connection, "DELETE FROM domains WHERE name = ?1", params![name])
            }
            Self::PutVolume(record) => {
                let configuration = self.encode(record)?;
                execute(
                    connection,
                    "INSERT OR REPLACE INTO volumes (name, configuration) VALUES (?1, ?2)",
                    params![record.name, configuration],
                )
            }
            Self::DeleteVolume { name } => {
                execute(connection, "DELETE FROM volumes WHERE name = ?1", params![name])
            }
        };
        outcome.map_err(|source| StateError::Write { object: self.object(), source })
    }

    pub(crate) fn object(&self) -> String {
        match self {
            Self::PutContainer(record) => format!("container '{}'", record.configuration.id),
            Self::SetContainerState { id, .. } | Self::DeleteContainer { id } => format!("container '{id}'"),
            Self::RenameContainer { from, .. } => format!("container '{from}'"),
            Self::PutImage(record) => format!("image '{}'", record.reference),
            Self::DeleteImage { reference } => format!("image '{reference}'"),
            Self::PutNetwork(record) => format!("network '{}'", record.name),
            Self::DeleteNetwork { name } => format!("network '{name}'"),
            Self::PutDomain(record) => format!("domain '{}'", record.name),
            Self::DeleteDomain { name } => format!("domain '{name}'"),
            Self::PutVolume(record) => format!("volume '{}'", record.name),
            Self::DeleteVolume { name } => format!("volume '{name}'"),
        }
    }

    fn encode(&self, value: &impl serde::Serialize) -> Result<String, StateError> {
        serde_json::to_string(value).map_err(|source| StateError::Encode { object: self.object(), source })
    }
}

fn execute(
    connection: &Connection,
    statement: &str,
    parameters: impl rusqlite::Params,
) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(statement)?.execute(parameters).map(drop)
}
