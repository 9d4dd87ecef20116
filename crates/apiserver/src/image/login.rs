//! Logins at registries.

use std::sync::Arc;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::registry::{LoginRequest, RegistryLogin, RegistryResource};
use bulkhead_oci::Reference;
use bulkhead_paths::environment;
use bulkhead_registry::{Client, ClientOptions, Credentials, RegistryError};
use bulkhead_registry_credentials::{CredentialsError, Login, server_name};

use super::{Images, parse_scheme};
use crate::date;
use crate::error::{failed, invalid, not_found};
use crate::events::EventSink;

impl Images {
    /// Checks a login with its registry and keeps it; returns the registry's name.
    pub(crate) async fn log_in(&self, request: &LoginRequest) -> Result<String, ApiError> {
        let server = registry_of(&request.login.server)?;
        let credentials = Credentials::new(&*request.login.username, &*request.login.password);
        let options = ClientOptions {
            scheme: parse_scheme(request.scheme.as_deref())?,
            local_domain: self.local_domain.clone(),
            credentials: Some(credentials),
            ..ClientOptions::default()
        };
        let refused = |error: RegistryError| {
            let code = match error {
                _ if error.is_timeout() => ErrorCode::Timeout,
                RegistryError::Unauthorized { .. } => ErrorCode::InvalidArgument,
                _ => ErrorCode::InternalError,
            };
            ApiError::caused_by(code, format!("login at '{server}' failed"), &error)
        };
        let client = Client::new(self.store.transport(), &server, options).map_err(refused)?;
        client.check_access().await.map_err(refused)?;
        let login = Login::new(&*request.login.username, &*request.login.password);
        let (keyring, name) = (Arc::clone(&self.keyring), server.clone());
        blocking("cannot keep the login", move || keyring.store(&name, &login, &date::now())).await?;
        Ok(server)
    }

    pub(crate) async fn log_out(&self, server: &str) -> Result<String, ApiError> {
        let server = registry_of(server)?;
        let (keyring, name) = (Arc::clone(&self.keyring), server.clone());
        match blocking("cannot forget the login", move || keyring.remove(&name)).await? {
            true => Ok(server),
            false => Err(not_found(format!("there is no login at '{server}'"))),
        }
    }

    pub(crate) async fn logins(&self) -> Result<Vec<RegistryResource>, ApiError> {
        let keyring = Arc::clone(&self.keyring);
        let entries = blocking("cannot list logins", move || keyring.entries()).await?;
        let resource = |entry: bulkhead_registry_credentials::Entry| RegistryResource {
            id: entry.server.clone(),
            name: entry.server,
            username: entry.username,
            creation_date: entry.creation_date,
            modification_date: entry.modification_date,
            labels: std::collections::BTreeMap::new(),
        };
        Ok(entries.into_iter().map(resource).collect())
    }

    /// What the registry of `reference` is shown: the request's login if it is for that registry, else that of our
    /// environment, else what the keyring knows. Problems on the way are told; the pull may need no login.
    pub(super) async fn credentials(
        &self,
        reference: &Reference,
        given: Option<&RegistryLogin>,
        sink: &EventSink,
    ) -> Result<Option<Credentials>, ApiError> {
        let server = reference.registry().to_owned();
        for login in given.cloned().into_iter().chain(environment_login()) {
            if registry_of(&login.server)? == server {
                return Ok(Some(Credentials::new(login.username, login.password)));
            }
        }
        let (keyring, repository) = (Arc::clone(&self.keyring), reference.repository().to_owned());
        let found = tokio::task::spawn_blocking(move || keyring.find(&server, &repository))
            .await
            .map_err(|error| failed("cannot look for a login", &error))?;
        for problem in &found.problems {
            let told = failed("a login may be missing", problem);
            sink.notice(format!("warning: {told}")).await;
        }
        Ok(found.login.map(|login| match login.is_identity_token {
            true => Credentials::identity_token(login.secret),
            false => Credentials::new(login.username, login.secret),
        }))
    }
}

/// Where the daemon was started with one, as a service of systemd may be.
fn environment_login() -> Option<RegistryLogin> {
    environment::registry_login().map(|[server, username, password]| RegistryLogin {
        server,
        username,
        password,
    })
}

/// The registry that an image's name would have.
fn registry_of(server: &str) -> Result<String, ApiError> {
    let name = server_name(server.trim());
    let parsed = format!("{name}/image").parse::<Reference>();
    match parsed {
        Ok(reference) if reference.registry() == name => Ok(name),
        _ => {
            let shown: String = server.chars().take(200).flat_map(char::escape_default).collect();
            Err(invalid(format!("'{shown}' is no registry: expected HOST or HOST:PORT")))
        }
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, CredentialsError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| failed(what, &error))?
        .map_err(|error| failed(what, &error))
}
