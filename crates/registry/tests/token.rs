//! Tokens: what a token service is asked and told.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::sync::{Arc, Mutex};

use bulkhead_oci::Reference;
use bulkhead_registry::{Client, ClientOptions, Credentials, Patience, RegistryError, Transport};
use support::{Server, answer};

fn client(server: &Server, credentials: Credentials) -> Client {
    let options = ClientOptions { credentials: Some(credentials), ..ClientOptions::default() };
    let transport = Transport::new(Patience { attempts: 1, ..Patience::default() });
    Client::new(&transport, &server.address, options).unwrap()
}

fn challenge(realm: &str) -> String {
    format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"the registry\"")
}

/// Exchanges the identity token `refresh` and nothing else; keeps the forms that it got.
fn token_service(forms: Arc<Mutex<Vec<String>>>) -> Server {
    Server::start(move |request, stream| {
        let host = request.header("host").unwrap().to_owned();
        if request.path == "/token" && request.method == "POST" {
            let form = String::from_utf8(request.body(u64::MAX)).unwrap();
            let is_right = form.contains("refresh_token=refresh%2B&");
            forms.lock().unwrap().push(form);
            match is_right {
                true => answer(stream, "200 OK", &[], br#"{"access_token":"access","expires_in":300}"#),
                false => answer(stream, "401 Unauthorized", &[], br#"{"error":"invalid_grant"}"#),
            }
        } else if request.header("authorization") == Some("Bearer access") {
            let kind = "Content-Type: application/vnd.oci.image.index.v1+json";
            answer(stream, "200 OK", &[kind], b"{}");
        } else {
            let challenge = challenge(&format!("http://{host}/token"));
            answer(stream, "401 Unauthorized", &[&challenge], b"");
        }
    })
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let forms = Arc::default();
    let server = token_service(Arc::clone(&forms));
    let reference: Reference = format!("{}/repo/image:tag", server.address).parse().unwrap();
    let right = client(&server, Credentials::identity_token("refresh+"));
    right.check_access().await.unwrap();
    right.manifest(&reference).await.unwrap();
    right.manifest(&reference).await.unwrap();
    let sent = forms.lock().unwrap().clone();
    let common = "grant_type=refresh_token&client_id=bulkhead&refresh_token=refresh%2B&service=the+registry";
    assert_eq!(sent, [common.to_owned(), format!("{common}&scope=repository%3Arepo%2Fimage%3Apull")]);
    // It is shown to nobody but the token service, and in no URL.
    for request in server.requests() {
        assert!(!request.path.contains("refresh") && !format!("{:?}", request.headers).contains("refresh"));
    }
    let expired = client(&server, Credentials::identity_token("old"));
    let error = expired.manifest(&reference).await.unwrap_err().to_string();
    assert!(error.contains("identity token is not accepted") && error.contains("log in again"), "{error}");
}

#[tokio::test]
async fn an_identity_token_is_no_password() {
    let basic = Server::start(|request, stream| {
        assert_eq!(request.header("authorization"), None);
        answer(stream, "401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b"");
    });
    let error = client(&basic, Credentials::identity_token("refresh")).check_access().await.unwrap_err();
    assert!(error.to_string().contains("registry login"), "{error}");
}

#[tokio::test]
async fn a_login_that_cannot_be_checked_fails() {
    let elsewhere = Server::start(|_, stream| answer(stream, "200 OK", &[], br#"{"token":"anonymous"}"#));
    let challenge = challenge(&format!("http://{}/token", elsewhere.address));
    let server = Server::start(move |request, stream| match request.header("authorization") {
        Some(_) => answer(stream, "200 OK", &[], b"{}"),
        None => answer(stream, "401 Unauthorized", &[&challenge], b""),
    });
    for credentials in [Credentials::new("user", "secret"), Credentials::identity_token("secret")] {
        let error = client(&server, credentials).check_access().await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
        let (address, _) = elsewhere.address.split_once(':').unwrap();
        assert!(error.to_string().contains(address) && error.to_string().contains("not a known"), "{error}");
    }
    // It was not even asked; an image that is public is still pulled with what it gives to everybody.
    assert!(elsewhere.requests().is_empty());
    let reference: Reference = format!("{}/image:1", server.address).parse().unwrap();
    client(&server, Credentials::new("user", "secret")).manifest(&reference).await.unwrap();
    assert_eq!(elsewhere.requests()[0].header("authorization"), None);
}
