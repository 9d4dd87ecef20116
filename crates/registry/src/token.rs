//! Tokens (distribution project, "Token Authentication Specification" and "OAuth2 Token Authentication").

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use crate::credentials::Secret;
use crate::exchange::{Access, Call, Payload};
use crate::options::ClientOptions;
use crate::redirect::{check_target, is_same_origin};
use crate::transport::{Transport, display_host};
use crate::{Credentials, RegistryError};

/// Names this program to token services; OAuth 2 wants it.
const CLIENT_ID: &str = "bulkhead";
const MAX_TOKEN_BYTES: usize = 1 << 20;
/// What a token without an expiry lives by the specification, seconds.
const DEFAULT_LIFETIME_SECONDS: u64 = 60;
const MAX_LIFETIME_SECONDS: u64 = 24 * 3600;
/// Registries that are known to keep their token service at another host.
const KNOWN_TOKEN_HOSTS: [(&str, &str); 2] =
    [("docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

/// What goes into `Authorization`. The header is marked sensitive, so `Debug` hides it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) expires: Instant,
}

impl Token {
    fn new(text: &str, lifetime_seconds: u64) -> Option<Self> {
        let mut header = HeaderValue::from_str(text).ok()?;
        header.set_sensitive(true);
        Some(Self { header, expires: Instant::now() + Duration::from_secs(lifetime_seconds) })
    }

    pub(crate) fn basic(username: &str, password: &str) -> Self {
        // Base 64 is always a valid header.
        Self::new(&basic_header(username, password), MAX_LIFETIME_SECONDS)
            .unwrap_or_else(|| Self { header: HeaderValue::from_static("Basic"), expires: Instant::now() })
    }
}

/// A token service and what is asked of it.
struct Request<'a> {
    url: Url,
    service: Option<&'a str>,
    scopes: &'a [String],
}

impl Request<'_> {
    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let scopes = self.scopes.iter().map(|scope| ("scope", scope.as_str()));
        self.service.map(|service| ("service", service)).into_iter().chain(scopes)
    }

    /// Without credentials, or with a user name and password.
    async fn get(
        &self,
        transport: &Transport,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let mut url = self.url.clone();
        for (key, value) in self.parameters() {
            url.query_pairs_mut().append_pair(key, value);
        }
        let nothing = Access::default();
        transport.send(&url, &Call::get(url.clone(), &nothing, "a token"), authorization).await
    }

    /// With an identity token (RFC 6749, 6).
    async fn exchange(&self, transport: &Transport, identity: &str) -> Result<Response, RegistryError> {
        let scope = self.scopes.join(" ");
        // A form has the same encoding as a query.
        let mut form = self.url.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", CLIENT_ID)
            .append_pair("refresh_token", identity)
            .extend_pairs(self.service.map(|service| ("service", service)))
            .extend_pairs(Some(("scope", scope.as_str())).filter(|(_, scope)| !scope.is_empty()));
        let body = Bytes::from(form.query().unwrap_or_default().to_owned());
        let nothing = Access::default();
        let mut call = Call::new(Method::POST, self.url.clone(), &nothing, "a token");
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        call.payload = Payload::Bytes(body);
        transport.send(&self.url, &call, None).await
    }
}

/// Asks the service at `realm` for a token. The credentials go along only if the service is the registry's own.
pub(crate) async fn request_token(
    transport: &Transport,
    registry: &str,
    base: &Url,
    options: &ClientOptions,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
) -> Result<Token, RegistryError> {
    let fail = |reason| RegistryError::Token { registry: registry.to_owned(), reason };
    let refuse =
        |hint| RegistryError::Unauthorized { registry: registry.to_owned(), hint, detail: String::new() };
    let url = Url::parse(realm).map_err(|_| fail("its address is no URL"))?;
    if let Some(reason) = check_target(base, &url) {
        return Err(RegistryError::Redirect { registry: registry.to_owned(), reason });
    }
    let host = display_host(&url);
    let is_trusted = is_same_origin(base, &url)
        || KNOWN_TOKEN_HOSTS.contains(&(registry, host.as_str()))
        || options.trusted_token_hosts.contains(&host);
    let withheld = || {
        let host = host.escape_default();
        refuse(format!("it wants the credentials sent to `{host}`, which is not a known token service of it"))
    };
    let secret = options.credentials.as_ref().filter(|_| is_trusted).map(Credentials::secret);
    if options.credentials.is_some() && secret.is_none() && scopes.is_empty() {
        // Who asks for nothing but access wants to know whether the credentials are right.
        return Err(withheld());
    }
    let request = Request { url, service, scopes };
    let username = options.credentials.as_ref().map_or("", Credentials::username);
    let response = match secret {
        Some(Secret::IdentityToken(identity)) => request.exchange(transport, identity).await?,
        Some(Secret::Password(password)) => {
            request.get(transport, Some(&Token::basic(username, password).header)).await?
        }
        None => request.get(transport, None).await?,
    };
    let status = response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
        return Err(match (&options.credentials, secret) {
            (Some(_), None) => withheld(),
            (Some(_), Some(Secret::Password(_))) => refuse("the user name or password is wrong".to_owned()),
            (Some(_), Some(Secret::IdentityToken(_))) => refuse(format!(
                "the identity token is not accepted any more, log in again where it came from or with \
                 `container registry login {registry}`"
            )),
            (None, _) => {
                refuse(format!("the image does not exist, or needs `container registry login {registry}`"))
            }
        });
    }
    if !status.is_success() {
        return Err(RegistryError::Status { registry: host, status: status.as_u16(), detail: String::new() });
    }
    let body = transport.read_body(response, "a token", MAX_TOKEN_BYTES).await?;
    parse_token(&body).ok_or_else(|| fail("its answer cannot be understood"))
}

fn parse_token(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Body {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let text = body.token.or(body.access_token).filter(|text| !text.is_empty())?;
    let lifetime = body.expires_in.unwrap_or(0).clamp(DEFAULT_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS);
    Token::new(&format!("Bearer {text}"), lifetime)
}

fn basic_header(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tokens_of_all_kinds() {
        let header =
            |body: &str| parse_token(body.as_bytes()).map(|token| token.header.to_str().unwrap().to_owned());
        assert_eq!(header(r#"{"token":"a"}"#).as_deref(), Some("Bearer a"));
        assert_eq!(header(r#"{"access_token":"b","expires_in":300}"#).as_deref(), Some("Bearer b"));
        assert_eq!(header(r#"{"token":""}"#), None);
        assert_eq!(header("{\"token\":\"a\\nX: y\"}"), None);
        assert_eq!(header("{}"), None);
        assert_eq!(header(""), None);
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(basic_header("user", "secret"), "Basic dXNlcjpzZWNyZXQ=");
        let credentials = Credentials::new("user", "secret");
        let identity = Credentials::identity_token("secret");
        let text = format!("{credentials:?} {identity:?} {:?}", Token::basic("user", "secret"));
        assert!(!text.contains("secret") && !text.contains("dXNl"), "{text}");
    }
}
