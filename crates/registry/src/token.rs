//! Tokens (distribution project, "Token Authentication Specification").

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::exchange::{Access, Call};
use crate::options::ClientOptions;
use crate::redirect::{check_target, is_same_origin};
use crate::transport::{Transport, display_host};
use crate::{Credentials, RegistryError};

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

    pub(crate) fn basic(credentials: &Credentials) -> Self {
        let text = basic_header(credentials);
        // Base 64 is always a valid header.
        Self::new(&text, MAX_LIFETIME_SECONDS)
            .unwrap_or_else(|| Self { header: HeaderValue::from_static("Basic"), expires: Instant::now() })
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
    let mut url = Url::parse(realm).map_err(|_| fail("its address is no URL"))?;
    if let Some(reason) = check_target(base, &url) {
        return Err(RegistryError::Redirect { registry: registry.to_owned(), reason });
    }
    let parameters = service.map(|service| ("service", service)).into_iter();
    for (key, value) in parameters.chain(scopes.iter().map(|scope| ("scope", scope.as_str()))) {
        url.query_pairs_mut().append_pair(key, value);
    }
    let host = display_host(&url);
    let is_trusted = is_same_origin(base, &url)
        || KNOWN_TOKEN_HOSTS.contains(&(registry, host.as_str()))
        || options.trusted_token_hosts.contains(&host);
    let credentials = options.credentials.as_ref().filter(|_| is_trusted);
    let authorization = credentials.map(|credentials| Token::basic(credentials).header);
    let nothing = Access::default();
    let call = Call::get(url.clone(), &nothing, "a token");
    let response = transport.send(&url, &call, authorization.as_ref()).await?;
    let status = response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
        let hint = match (&options.credentials, credentials) {
            (Some(_), None) => format!(
                "it wants the credentials sent to `{}`, which is not a known token service of it",
                host.escape_default()
            ),
            (Some(_), Some(_)) => "the user name or password is wrong".to_owned(),
            (None, _) => format!("the image does not exist, or needs `container registry login {registry}`"),
        };
        return Err(RegistryError::Unauthorized {
            registry: registry.to_owned(),
            hint,
            detail: String::new(),
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

fn basic_header(credentials: &Credentials) -> String {
    let text = format!("{}:{}", credentials.username(), credentials.password());
    format!("Basic {}", encode_base64(text.as_bytes()))
}

/// RFC 4648, 4
fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
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
        let credentials = Credentials::new("user", "secret");
        assert_eq!(basic_header(&credentials), "Basic dXNlcjpzZWNyZXQ=");
        let text = format!("{credentials:?} {:?}", Token::basic(&credentials));
        assert!(!text.contains("secret") && !text.contains("dXNl"), "{text}");
    }
}
