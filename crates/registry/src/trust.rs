//! What is told of certificates that are not accepted.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::RegistryError;
use crate::error::presentable;

/// Names of a certificate that are shown.
const MAX_NAMES: usize = 3;

/// Why a request to `registry` failed.
pub(crate) fn unreachable(registry: String, error: reqwest::Error) -> RegistryError {
    match certificate_error(&error).map(|problem| explain(problem, &registry)) {
        Some(reason) => RegistryError::Untrusted { registry, reason },
        // The URL may hold a signature that grants access.
        None => RegistryError::Unreachable { registry, source: error.without_url() },
    }
}

fn certificate_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut current = Some(error);
    while let Some(error) = current {
        // What an I/O error was made of is not among its sources.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.map(|inner| -> &(dyn Error + 'static) { inner });
        for candidate in [Some(error), inner].into_iter().flatten() {
            if let Some(rustls::Error::InvalidCertificate(problem)) = candidate.downcast_ref() {
                return Some(problem);
            }
        }
        current = inner.filter(|inner| !inner.is::<rustls::Error>()).or_else(|| error.source());
    }
    None
}

fn explain(problem: &CertificateError, registry: &str) -> String {
    match problem {
        CertificateError::ExpiredContext { time, not_after } => {
            format!("it expired {} ago; whoever runs the registry must renew it", span(*not_after, *time))
        }
        CertificateError::Expired => "it has expired; whoever runs the registry must renew it".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("it is valid only in {}; is the clock of this host right?", span(*time, *not_before))
        }
        CertificateError::NotValidYet => "it is not valid yet; is the clock of this host right?".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().take(MAX_NAMES).map(|name| presentable(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            format!("it is for {names}; name the registry as its certificate does")
        }
        CertificateError::NotValidForName => {
            "it is for another host; name the registry as its certificate does".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::Other(_) => format!(
            "nobody whom this host trusts has signed it; if you trust it, put its authority into \
             ~/.config/containers/certs.d/{registry}/ca.crt"
        ),
        other => presentable(&other.to_string()),
    }
}

/// From one time to the other, in days where there are any.
fn span(from: UnixTime, to: UnixTime) -> String {
    let seconds = Duration::from_secs(to.as_secs().saturating_sub(from.as_secs())).as_secs();
    match seconds / 86_400 {
        0 => format!("{} minutes", seconds / 60),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}
