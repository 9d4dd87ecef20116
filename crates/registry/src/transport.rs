//! HTTP itself: connections, time limits, name resolution.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::certificates::HostCertificates;
use crate::exchange::{Call, Payload};
use crate::hosts::Hosts;
use crate::options::Patience;
use crate::trust::unreachable;
use crate::upload::Upload;
use crate::{RegistryError, scheme};

/// Parts of blobs that are in memory at once, of all downloads together.
const MAX_PARTS: usize = 12;

/// Connections to all registries; make one and share it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: TransportOptions,
    /// Reading the system's certificates takes milliseconds, so each client is made when first needed.
    through_proxy: OnceLock<reqwest::Client>,
    direct: OnceLock<reqwest::Client>,
    /// Of registries with certificates of their own, by host.
    special: Mutex<HashMap<String, (HostCertificates, reqwest::Client)>>,
    parts: Arc<Semaphore>,
}

/// Settings of a [`Transport`].
#[derive(Clone, Debug, Default)]
pub struct TransportOptions {
    /// How long to wait and how often to try again.
    pub patience: Patience,
    /// Folders with certificates and [`Hosts`] of single registries, as `/etc/docker/certs.d`.
    pub certificate_folders: Vec<PathBuf>,
    /// What is known of single registries, by `host` or `host:port`. It goes before the `hosts.toml` of the folders.
    pub hosts: BTreeMap<String, Hosts>,
}

impl Transport {
    /// A transport without connections.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self::with_options(TransportOptions { patience, ..TransportOptions::default() })
    }

    /// [`Self::new`] with all settings.
    #[must_use]
    pub fn with_options(options: TransportOptions) -> Self {
        let shared = Shared {
            options,
            through_proxy: OnceLock::new(),
            direct: OnceLock::new(),
            special: Mutex::default(),
            parts: Arc::new(Semaphore::new(MAX_PARTS)),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.shared.options.patience
    }

    /// What is configured for one registry. Reads a small file.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn hosts(&self, registry: &str) -> Result<Hosts, RegistryError> {
        match self.shared.options.hosts.get(registry) {
            Some(hosts) => Ok(hosts.clone()),
            None => Hosts::find(&self.shared.options.certificate_folders, registry),
        }
    }

    /// Room in memory for one more part of a blob, if there is any.
    pub(crate) fn room_for_part(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.parts).try_acquire_owned().ok()
    }

    /// Sends a request without following redirections; waits for the answer's head.
    pub(crate) async fn send(
        &self,
        url: &Url,
        call: &Call<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let mut request =
            self.client(url)?.request(call.method.clone(), url.clone()).headers(call.headers.clone());
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = match &call.payload {
            Payload::Nothing if matches!(call.method, Method::GET | Method::HEAD) => request,
            Payload::Nothing => request.header(CONTENT_LENGTH, 0),
            Payload::Bytes(bytes) => request.body(bytes.clone()),
            Payload::File(upload) => {
                request.header(CONTENT_LENGTH, upload.length_bytes()).body(upload.body())
            }
        };
        let upload = match &call.payload {
            Payload::File(upload) => Some(*upload),
            _ => None,
        };
        self.await_answer(display_host(url), request, upload).await
    }

    async fn await_answer(
        &self,
        registry: String,
        request: RequestBuilder,
        upload: Option<&Upload>,
    ) -> Result<Response, RegistryError> {
        let patience = self.patience();
        let mut sending = std::pin::pin!(request.send());
        loop {
            let sent_bytes = upload.map_or(0, Upload::sent_bytes);
            let limit = match upload {
                None => patience.answer,
                Some(upload) if sent_bytes < upload.length_bytes() => patience.idle,
                Some(_) => patience.commit,
            };
            match timeout(limit, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(unreachable(registry, error)),
                Err(_) if upload.is_some_and(|upload| upload.sent_bytes() > sent_bytes) => {}
                Err(_) => return Err(RegistryError::Stalled { registry, waited_seconds: limit.as_secs() }),
            }
        }
    }

    /// Reads a short body.
    pub(crate) async fn read_body(
        &self,
        mut response: Response,
        what: &'static str,
        limit_bytes: usize,
    ) -> Result<Vec<u8>, RegistryError> {
        let registry = display_host(response.url());
        let mut body = Vec::new();
        let reading = async {
            while let Some(chunk) = response.chunk().await.map_err(|error| RegistryError::Unreachable {
                registry: registry.clone(),
                source: error.without_url(),
            })? {
                if body.len() + chunk.len() > limit_bytes {
                    return Err(RegistryError::TooLarge { registry: registry.clone(), what, limit_bytes });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match timeout(self.patience().window, reading).await {
            Ok(outcome) => outcome.map(|()| body),
            Err(_) => Err(RegistryError::Stalled {
                registry: registry.clone(),
                waited_seconds: self.patience().window.as_secs(),
            }),
        }
    }

    fn client(&self, url: &Url) -> Result<reqwest::Client, RegistryError> {
        // A proxy elsewhere cannot reach what is local to this host.
        let is_loopback = url.host_str().is_some_and(|host| {
            let host = scheme::host_of(host);
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        });
        if url.scheme() == "https" {
            let host = display_host(url);
            let configured = self.shared.options.hosts.get(&host);
            let authorities = configured.map_or(&[][..], |hosts| &hosts.certificate_authorities);
            let certificates =
                HostCertificates::find(&self.shared.options.certificate_folders, &host, authorities)?;
            if !certificates.is_empty() {
                return self.special_client(host, certificates, is_loopback);
            }
        }
        let cell = if is_loopback { &self.shared.direct } else { &self.shared.through_proxy };
        if let Some(client) = cell.get() {
            return Ok(client.clone());
        }
        let client = self.builder(is_loopback).build().map_err(RegistryError::Setup)?;
        Ok(cell.get_or_init(|| client).clone())
    }

    /// The client for a registry whose certificates were found; a new one when they have changed.
    fn special_client(
        &self,
        host: String,
        certificates: HostCertificates,
        is_loopback: bool,
    ) -> Result<reqwest::Client, RegistryError> {
        let mut special = self.shared.special.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = special.get(&host)
            && *known == certificates
        {
            return Ok(client.clone());
        }
        let builder = certificates.apply(self.builder(is_loopback))?;
        let client = builder.build().map_err(RegistryError::Setup)?;
        special.insert(host, (certificates, client.clone()));
        Ok(client)
    }

    fn builder(&self, direct: bool) -> reqwest::ClientBuilder {
        // Another part of the process may have chosen a provider before; either is fine.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = reqwest::Client::builder()
            .user_agent(concat!("bulkhead/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.patience().connect)
            .pool_idle_timeout(self.patience().idle)
            .dns_resolver(Arc::new(Resolver));
        if direct { builder.no_proxy() } else { builder }
    }
}

/// `host` or `host:port`, for messages.
pub(crate) fn display_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Leaves out link-local addresses: cloud providers serve machine credentials there, and a name that resolves to one
/// can only be an attack.
#[derive(Debug)]
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|address| !is_link_local(address.ip()))
                .collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// 169.254.0.0/16, fe80::/10, and the address that AWS gives its metadata service in IPv6.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
                || address.to_ipv4_mapped().is_some_and(|address| address.is_link_local())
        }
    }
}
