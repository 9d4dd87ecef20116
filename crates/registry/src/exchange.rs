//! One request and its answer: tokens where they are wanted, redirections, repetition.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::sleep;

use crate::RegistryError;
use crate::challenge::{Challenge, choose};
use crate::client::Client;
use crate::credentials::Secret;
use crate::error::presentable;
use crate::redirect::{check_redirect, is_same_origin};
use crate::token::{Token, request_token};
use crate::transport::display_host;
use crate::upload::Upload;

const MAX_REDIRECTS: u32 = 10;
const MAX_ERROR_BYTES: usize = 64 << 10;

/// What a request needs to be allowed, as scopes of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Access(Vec<String>);

impl Access {
    pub(crate) fn pull(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push")])
    }

    /// To push to one repository what is in another one.
    pub(crate) fn mount(repository: &str, source: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push"), format!("repository:{source}:pull")])
    }

    /// To give up an upload: registries differ in which of these they ask for.
    pub(crate) fn cancel(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push,delete")])
    }

    pub(crate) fn scopes(&self) -> &[String] {
        &self.0
    }

    fn is_push(&self) -> bool {
        self.0.iter().any(|scope| scope.ends_with(",push"))
    }
}

/// What goes along with a request.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    /// A length of zero is announced where the method expects a body.
    Nothing,
    Bytes(Bytes),
    /// Part of a file; sent in one attempt only, as its sender knows where to go on.
    File(&'a Upload),
}

/// A request.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) access: &'a Access,
    /// Named when it is not found.
    pub(crate) wanted: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload<'a>,
}

impl<'a> Call<'a> {
    pub(crate) fn get(url: Url, access: &'a Access, wanted: &'a str) -> Self {
        Self::new(Method::GET, url, access, wanted)
    }

    pub(crate) fn new(method: Method, url: Url, access: &'a Access, wanted: &'a str) -> Self {
        Self { method, url, access, wanted, headers: HeaderMap::new(), payload: Payload::Nothing }
    }
}

/// An attempt that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: RegistryError,
    /// When the registry wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// Whether another attempt may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match &self.error {
            RegistryError::Unreachable { .. } | RegistryError::Stalled { .. } => true,
            RegistryError::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self { error, retry_after: None }
    }
}

impl Client {
    /// Sends a request until it succeeds, is refused, or patience ends.
    pub(crate) async fn perform(&self, call: &Call<'_>) -> Result<Response, RegistryError> {
        let patience = self.transport().patience();
        let mut attempt = 0;
        loop {
            let failure = match self.attempt(call).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            attempt += 1;
            if attempt >= patience.attempts || !failure.is_transient() {
                return Err(failure.error);
            }
            let delay = patience.delay(attempt, failure.retry_after);
            tracing::debug!(error = %failure.error, delay_ms = delay.as_millis(), "registry request is repeated");
            sleep(delay).await;
        }
    }

    /// Sends a request, a second time with a token if one is wanted. Only an answer of success is `Ok`.
    pub(crate) async fn attempt(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let mut response = self.follow(call).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && is_same_origin(response.url(), &self.shared().base)
        {
            // A second refusal with a fresh token is final.
            self.answer_challenge(&response, call.access).await?;
            response = self.follow(call).await?;
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let retry_after = retry_after(response.headers());
        Err(Failure { error: self.refusal(response, call).await, retry_after })
    }

    /// Sends one request and follows redirections.
    async fn follow(&self, call: &Call<'_>) -> Result<Response, RegistryError> {
        let shared = self.shared();
        let mut current = call.url.clone();
        // Once a redirection has left the registry, nothing that follows gets its credentials, not even when it
        // leads back.
        let mut authorization = match is_same_origin(&current, &shared.base) {
            true => self.authorization(call.access).await,
            false => None,
        };
        for _ in 0..=MAX_REDIRECTS {
            let response = shared.transport.send(&current, call, authorization.as_ref()).await?;
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            // The others turn a request into a GET, which would upload nothing.
            let keeps_method =
                matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            if !keeps_method && !matches!(call.method, Method::GET | Method::HEAD) {
                let registry = display_host(&current);
                return Err(RegistryError::Redirect { registry, reason: "it would drop what is uploaded" });
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = check_redirect(&shared.base, &current, location)?;
            if !is_same_origin(&next, &shared.base) {
                authorization = None;
            }
            current = next;
        }
        Err(RegistryError::Redirect { registry: shared.registry.clone(), reason: "more than 10 hops" })
    }

    async fn authorization(&self, access: &Access) -> Option<HeaderValue> {
        let tokens = self.shared().tokens.lock().await;
        tokens.get(access).filter(|token| token.expires > Instant::now()).map(|token| token.header.clone())
    }

    async fn answer_challenge(&self, response: &Response, access: &Access) -> Result<(), RegistryError> {
        let shared = self.shared();
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = choose(headers.iter().filter_map(|value| value.to_str().ok()));
        let token = match (challenge, shared.options.credentials.as_ref()) {
            (Some(Challenge::Basic), Some(credentials)) => match credentials.secret() {
                Secret::Password(password) => Token::basic(credentials.username(), password),
                Secret::IdentityToken(_) => {
                    let registry = shared.registry.clone();
                    let hint = format!(
                        "it wants a password, but all that is known is an identity token: \
                         `container registry login {registry}`"
                    );
                    return Err(RegistryError::Unauthorized { registry, hint, detail: String::new() });
                }
            },
            (Some(Challenge::Bearer { realm, service }), _) => {
                request_token(
                    &shared.transport,
                    &shared.registry,
                    &shared.base,
                    &shared.options,
                    &realm,
                    service.as_deref(),
                    access.scopes(),
                )
                .await?
            }
            _ => return Err(self.unauthorized(access, String::new())),
        };
        shared.tokens.lock().await.insert(access.clone(), token);
        Ok(())
    }

    fn unauthorized(&self, access: &Access, detail: String) -> RegistryError {
        let registry = self.registry().to_owned();
        if self.shared().options.credentials.is_some() && access.scopes().is_empty() {
            return RegistryError::Unauthorized {
                registry,
                hint: "the user name or password is wrong".to_owned(),
                detail,
            };
        }
        let hint = match (self.shared().options.credentials.is_some(), access.is_push()) {
            (true, false) => "the image does not exist, or the credentials do not allow it".to_owned(),
            (true, true) => "the credentials do not allow to push there".to_owned(),
            (false, false) => {
                format!("the image does not exist, or needs `container registry login {registry}`")
            }
            (false, true) => format!("pushing there needs `container registry login {registry}`"),
        };
        RegistryError::Unauthorized { registry, hint, detail }
    }

    async fn refusal(&self, response: Response, call: &Call<'_>) -> RegistryError {
        let status = response.status();
        let registry = display_host(response.url());
        let body = self.transport().read_body(response, "an error", MAX_ERROR_BYTES).await;
        let detail = body.map(|body| error_detail(&body)).unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound { name: call.wanted.to_owned(), detail },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(call.access, detail),
            _ => RegistryError::Status { registry, status: status.as_u16(), detail },
        }
    }
}

/// The distribution specification's error body, as `: code: message`.
fn error_detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Body { errors }) = serde_json::from_slice(body) else { return String::new() };
    let Some(first) = errors.first() else { return String::new() };
    let text = if first.message.is_empty() { &first.code } else { &first.message };
    if text.is_empty() { String::new() } else { format!(": {}", presentable(text)) }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
