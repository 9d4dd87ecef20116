//! Content digests (OCI image specification, "Descriptors / Digests").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;
use thiserror::Error;

const HASH_BYTES: usize = 32;

/// Why a text is no digest.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigestError {
    /// There is no `algorithm:` part.
    #[error("the digest has no algorithm: expected `sha256:` and 64 hexadecimal digits")]
    MissingAlgorithm,
    /// The algorithm is not SHA-256.
    #[error("the digest's algorithm is not supported: expected `sha256`")]
    UnknownAlgorithm,
    /// The encoded part has the wrong length.
    #[error("the digest has {actual} digits, expected 64")]
    Length {
        /// Bytes that were there.
        actual: usize,
    },
    /// A character other than `0-9a-f`; the specification allows no upper case.
    #[error("the digest has characters other than 0-9 and a-f")]
    Character,
}

/// The SHA-256 digest of a blob.
///
/// It holds the hash and no text, so that what it prints can never contain a path separator, upper case or
/// anything else than the specification's grammar. The specification registers SHA-512 too; no registry or
/// builder in use names content by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; HASH_BYTES]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The name of the hash function, the part before the colon; safe as a directory name.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        "sha256"
    }

    /// The hash itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// The part after the colon: 64 lower-case hexadecimal digits; safe as a file name.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(HASH_BYTES * 2);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// The digest whose part after the colon is `hex`.
    ///
    /// # Errors
    /// When `hex` is not exactly 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        if hex.len() != 2 * HASH_BYTES {
            return Err(DigestError::Length { actual: hex.len() });
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(hash))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':').ok_or(DigestError::MissingAlgorithm)? {
            ("sha256", hex) => Self::from_hex(hex),
            _ => Err(DigestError::UnknownAlgorithm),
        }
    }
}

fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::Character),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] of content that arrives in pieces.
#[derive(Clone, Default)]
pub struct DigestHasher(sha2::Sha256);

impl DigestHasher {
    /// A hasher that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for DigestHasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DigestHasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn refuses_what_is_no_digest() {
        let digits = "a".repeat(64);
        let cases = [
            (String::new(), DigestError::MissingAlgorithm),
            (digits.clone(), DigestError::MissingAlgorithm),
            (format!("md5:{digits}"), DigestError::UnknownAlgorithm),
            (format!("SHA256:{digits}"), DigestError::UnknownAlgorithm),
            (format!("../sha256:{digits}"), DigestError::UnknownAlgorithm),
            (format!("sha256:{}", &digits[1..]), DigestError::Length { actual: 63 }),
            (format!("sha256:{digits}0"), DigestError::Length { actual: 65 }),
            (format!("sha512:{digits}{digits}"), DigestError::UnknownAlgorithm),
            (format!("sha256:{}", digits.to_uppercase()), DigestError::Character),
            (format!("sha256:../{}", &digits[3..]), DigestError::Character),
            (format!("sha256:{}\n", &digits[1..]), DigestError::Character),
            (format!("sha256:é{}", &digits[2..]), DigestError::Character),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Digest>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn hashes_in_pieces() {
        let mut hasher = DigestHasher::new();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(hasher.finish(), Digest::of(b"abc"));
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "\\PC{0,140}|(sha256|sha512):[0-9a-f]{60,130}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn every_hash_round_trips(hash in any::<[u8; 32]>()) {
            let digest = Digest(hash);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }
    }
}
