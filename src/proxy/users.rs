//! Users and passwords of a file as `htpasswd` writes it, and who was verified lately.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use moka::sync::Cache;
use sha_crypt::{PasswordHash, PasswordVerifier, ShaCrypt};
use tokio::sync::Semaphore;

use crate::error::{ErrorKind, ProxyError};
use crate::limit::Limit;

/// Users of one file.
const MOST_USERS: usize = 10_000;

/// Bytes of a user and a password together.
const MOST_PRESENTED: usize = 1024;

/// Rounds of bcrypt, as a power of two: each password costs a second at the upper end.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// Rounds of SHA-crypt at most: likewise.
const MOST_ROUNDS: u32 = 1_000_000;

/// How long, and how many, users and passwords are remembered that were verified.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);
const MOST_REMEMBERED: u64 = 10_000;

/// Requests that wait for their passwords to be verified.
const MOST_WAITING: usize = 1024;

/// RFC 7617 §2 leaves the padding to RFC 4648; not every client writes it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who may come in, and by which password.
///
/// Verifying is made to be slow, so it happens away from the threads that serve, a few at a time.
/// What was verified is remembered for five minutes by a keyed hash, never as it is.
pub struct Users {
    hashes: HashMap<Box<str>, Hash>,
    /// Keys the hashes of what is remembered; nobody else has it.
    key: hmac::Key,
    verified: Cache<[u8; 32], ()>,
    running: Arc<Semaphore>,
    waiting: Limit,
}

/// How a password is kept.
#[derive(Clone)]
enum Hash {
    Bcrypt(Box<str>),
    Sha(PasswordHash),
}

/// Why a file of users can't be used; lines from 1. Its text never stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// Not `user:hash`.
    #[error("line {0} is not user:hash")]
    Line(usize),
    /// A kind of hash that is not read, or no longer safe.
    #[error("line {0} has no bcrypt or SHA-crypt hash")]
    Kind(usize),
    /// A hash that takes too long.
    #[error("line {0} has a hash that takes too long to verify")]
    Cost(usize),
    /// A user stands there twice.
    #[error("line {0} has a user who stands in the file already")]
    Twice(usize),
    /// Nobody could come in, or more than any file is meant to have.
    #[error("there are no users in it, or more than {MOST_USERS}")]
    Count,
}

impl Users {
    /// Reads the lines of a file: `user:hash`, with `#` before comments.
    ///
    /// # Errors
    /// The first line that can't be used.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut hashes = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts = line.split_once(':').filter(|(user, _)| !user.is_empty());
            let (user, hash) = parts.ok_or(UsersError::Line(number))?;
            let hash = Hash::parse(hash, number)?;
            if hashes.insert(user.into(), hash).is_some() {
                return Err(UsersError::Twice(number));
            }
        }
        if hashes.is_empty() || hashes.len() > MOST_USERS {
            return Err(UsersError::Count);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let verified =
            Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        Ok(Self {
            hashes,
            key: fresh_key(),
            verified,
            // The other half is for those who are let in already.
            running: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Limit::new(MOST_WAITING),
        })
    }

    /// Whether they were verified lately.
    #[must_use]
    pub(super) fn knows(&self, presented: &Presented) -> bool {
        self.verified.contains_key(&self.digest(presented))
    }

    /// Whether user and password are right. Who does not exist takes as long as who does.
    ///
    /// # Errors
    /// When too many wait for that already.
    pub(super) async fn verify(self: Arc<Self>, presented: Presented) -> Result<bool, ProxyError> {
        let _place = self.waiting.enter().ok_or(ErrorKind::TooManyLogins)?;
        let internal = |_| ProxyError::from(ErrorKind::Internal);
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(internal)?;
        let digest = self.digest(&presented);
        if self.verified.contains_key(&digest) {
            // A browser sends many requests at once, and the first of them has just been verified.
            return Ok(true);
        }
        let known = self.hashes.get(presented.user());
        // Some user's, so that the answer to a stranger takes its time too.
        let Some(hash) = known.or_else(|| self.hashes.values().next()).cloned() else {
            return Ok(false);
        };
        let exists = known.is_some();
        let verified = tokio::task::spawn_blocking(move || {
            let verified = hash.verifies(presented.password());
            // Held to the end, though the client may have left: others must not take its place.
            drop(running);
            verified
        });
        let verified =
            verified.await.map_err(|error| ProxyError::with_source(ErrorKind::Internal, error))?;
        if exists && verified {
            self.verified.insert(digest, ());
        }
        Ok(exists && verified)
    }

    /// A keyed hash, so that neither how long a comparison takes nor what stands in memory tells
    /// anything of a password.
    fn digest(&self, presented: &Presented) -> [u8; 32] {
        let tag = hmac::sign(&self.key, &presented.bytes);
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}

/// Without the hashes: what is shown may be logged.
impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("users", &self.hashes.len()).finish_non_exhaustive()
    }
}

/// A key that nobody knows.
fn fresh_key() -> hmac::Key {
    // Invariant: fails only where the system has no random numbers, and TLS has none then either.
    #[expect(clippy::expect_used, reason = "without random numbers nothing here is safe")]
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("random numbers")
}

impl Hash {
    fn parse(text: &str, line: usize) -> Result<Self, UsersError> {
        let mut fields = text.split('$').skip(1);
        match fields.next() {
            Some("2y" | "2b" | "2a") => {
                let cost = fields.next().and_then(|cost| cost.parse::<u32>().ok());
                match cost {
                    Some(cost) if COSTS.contains(&cost) => {}
                    Some(_) => return Err(UsersError::Cost(line)),
                    None => return Err(UsersError::Kind(line)),
                }
                text.parse::<bcrypt::HashParts>().map_err(|_| UsersError::Kind(line))?;
                Ok(Self::Bcrypt(text.into()))
            }
            Some(kind @ ("5" | "6")) => {
                let length = if kind == "5" { 43 } else { 86 };
                if text.rsplit('$').next().is_none_or(|hash| hash.len() != length) {
                    return Err(UsersError::Kind(line));
                }
                let rounds = fields.next().and_then(|field| field.strip_prefix("rounds="));
                if let Some(rounds) = rounds
                    && rounds.parse::<u32>().map_or(true, |rounds| rounds > MOST_ROUNDS)
                {
                    return Err(UsersError::Cost(line));
                }
                PasswordHash::new(text).map(Self::Sha).map_err(|_| UsersError::Kind(line))
            }
            _ => Err(UsersError::Kind(line)),
        }
    }

    fn verifies(&self, password: &[u8]) -> bool {
        match self {
            // What is longer than bcrypt reads is refused: another password would do as well.
            Self::Bcrypt(hash) => bcrypt::non_truncating_verify(password, hash).unwrap_or(false),
            Self::Sha(hash) => ShaCrypt::default().verify_password(password, hash).is_ok(),
        }
    }
}

/// A user and a password, as they came (RFC 7617 §2).
pub(super) struct Presented {
    /// `user:password`
    bytes: Box<[u8]>,
    colon: usize,
}

impl Presented {
    /// Reads `Authorization: Basic`.
    pub(super) fn read(value: &HeaderValue) -> Option<Self> {
        let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
        let credentials = credentials.trim();
        if !scheme.eq_ignore_ascii_case("basic") || credentials.len() > MOST_PRESENTED {
            return None;
        }
        let bytes = BASE64.decode(credentials).ok()?;
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        Some(Self { bytes: bytes.into(), colon })
    }

    /// Empty for what is not text: no file has such a user.
    fn user(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.colon]).unwrap_or_default()
    }

    fn password(&self) -> &[u8] {
        &self.bytes[self.colon + 1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // `openssl passwd -6 -salt saltsalt secret`, and with -5.
    const SHA512: &str = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1";
    const SHA256: &str = "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";

    fn bcrypt() -> String {
        bcrypt::hash("secret", 4).unwrap()
    }

    fn presented(text: &str) -> Presented {
        let value = format!("Basic {}", BASE64.encode(text));
        Presented::read(&HeaderValue::try_from(value).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn every_kind_of_hash_lets_in_the_right_password_only() {
        let file = format!("# staff\nann:{}\n\nbob:{SHA512}\ncid:{SHA256}\n", bcrypt());
        let users = Arc::new(Users::parse(&file).unwrap());
        for (credentials, expected) in [
            ("ann:secret", true),
            ("ann:secre", false),
            ("ann:", false),
            ("bob:secret", true),
            ("bob:Secret", false),
            ("cid:secret", true),
            ("cid:", false),
            ("dan:secret", false),
            (":secret", false),
        ] {
            let verified = Arc::clone(&users).verify(presented(credentials)).await.unwrap();
            assert_eq!(verified, expected, "{credentials}");
            assert_eq!(users.knows(&presented(credentials)), expected, "{credentials}");
        }
        assert_eq!(format!("{users:?}"), "Users { users: 3, .. }");
    }

    #[tokio::test]
    async fn what_bcrypt_would_cut_is_no_password() {
        let long = "a".repeat(72);
        let file = format!("ann:{}", bcrypt::hash(&long, 4).unwrap());
        let users = Arc::new(Users::parse(&file).unwrap());
        let longer = presented(&format!("ann:{long}b"));
        assert!(!Arc::clone(&users).verify(longer).await.unwrap());
    }

    #[test]
    fn faulty_files_say_where() {
        let good = bcrypt();
        for (file, expected) in [
            (String::new(), UsersError::Count),
            (format!("ann:{good}\nbob"), UsersError::Line(2)),
            (format!(":{good}"), UsersError::Line(1)),
            ("ann:secret".to_owned(), UsersError::Kind(1)),
            ("ann:$apr1$saltsalt$x".to_owned(), UsersError::Kind(1)),
            ("ann:$2y$31$abc".to_owned(), UsersError::Cost(1)),
            ("ann:$2y$10$abc".to_owned(), UsersError::Kind(1)),
            (SHA512.replace("$6$", "ann:$6$rounds=999999999$"), UsersError::Cost(1)),
            ("ann:$6$saltsalt$x".to_owned(), UsersError::Kind(1)),
            (format!("ann:{good}\n# b\nann:{good}"), UsersError::Twice(3)),
        ] {
            assert_eq!(Users::parse(&file).unwrap_err(), expected, "{file}");
        }
    }

    #[test]
    fn only_basic_credentials_are_read() {
        for value in ["Bearer abc", "Basic", "Basic !", "Basic YQ==", "Digest YTpi", ""] {
            assert!(Presented::read(&HeaderValue::from_static(value)).is_none(), "{value}");
        }
        let long = format!("Basic {}", BASE64.encode("a".repeat(2000)));
        assert!(Presented::read(&HeaderValue::try_from(long).unwrap()).is_none());
        let read = Presented::read(&HeaderValue::from_static("bAsIc YTpiOmM")).unwrap();
        assert_eq!((read.user(), read.password()), ("a", &b"b:c"[..]));
    }
}
