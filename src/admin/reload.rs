//! The configuration in force, as the admin API sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::Serialize;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

use super::Question;

/// An explanation on its way.
pub type Explaining = Pin<Box<dyn Future<Output = Result<serde_json::Value, String>> + Send>>;

/// Who reads the configuration again, and tells what is in force.
pub trait Configured: Send + Sync + std::fmt::Debug {
    /// Has everything read again and, if all of it is good, put into force. `None` where too many
    /// have asked for it at once.
    fn reload(&self) -> Option<oneshot::Receiver<Result<Reloaded, NotReloaded>>>;

    /// What is in force now.
    fn state(&self) -> ConfigState;

    /// What would be done now with the request of `question`, and why, as JSON; or why that can't
    /// be told.
    fn explain(&self, question: Question) -> Explaining;
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConfigState {
    /// Counted from 1, the start's.
    pub generation: u64,
    /// When it came into force, in seconds since the Unix epoch.
    pub loaded_at: i64,
    /// Whether the last reload was taken; true before the first.
    pub last_reload_successful: bool,
    /// What is written in the file and waits for a restart.
    pub needs_restart: Vec<String>,
}

/// A reload that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The number of what is in force now.
    pub generation: u64,
    /// What is not as it was.
    pub changed: Vec<String>,
    /// What was not taken, because only a restart can change it.
    pub needs_restart: Vec<String>,
}

/// A reload that was refused: what was in force still is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotReloaded {
    /// All that is wrong.
    pub faults: Vec<ReloadFault>,
    /// The same for people, with the places in the file.
    pub report: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadFault {
    /// The line of the file, from 1, where it has a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The character of that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is wrong, in a sentence.
    pub what: String,
    /// What to write instead, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// The secret that admin requests must carry, if any. Clones share it.
#[derive(Clone, Default)]
pub struct Token(Arc<ArcSwapOption<String>>);

impl Token {
    /// This one.
    #[must_use]
    pub fn new(token: Option<String>) -> Self {
        Self(Arc::new(ArcSwapOption::from_pointee(token)))
    }

    /// From now on this one.
    pub fn replace(&self, token: Option<String>) {
        self.0.store(token.map(Arc::new));
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load().is_some()
    }

    /// Whether it is `presented`; anything is where there is none.
    pub(super) fn permits(&self, presented: Option<&[u8]>) -> bool {
        let token = self.0.load();
        let Some(token) = &*token else { return true };
        presented.is_some_and(|presented| presented.ct_eq(token.as_bytes()).into())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret.
        f.debug_struct("Token").field("is_set", &self.is_set()).finish()
    }
}
