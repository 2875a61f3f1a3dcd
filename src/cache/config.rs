//! What the cache is told.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::ranges::Ranges;
use crate::policy::{Compression, Overrides};
use crate::rules::{FieldEdits, TagRules};

/// Settings of the cache for one route.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whether responses are cached at all.
    pub enabled: bool,
    /// Whether what is stored is looked up; if not, every request fetches, and what it gets takes
    /// the place of what is stored.
    pub lookup: bool,
    /// Whether responses are stored; if not, what is stored already is still used.
    pub store: bool,
    /// What configuration changes of the RFC's answers.
    pub policy: Overrides,
    /// How long clients are told that they may use a response by themselves; `None`: what the
    /// origin says.
    pub browser_ttl: Option<Duration>,
    /// Bodies above this many bytes are not stored.
    pub max_object_size: u64,
    /// Whether concurrent requests for one object share a fetch.
    pub collapse: bool,
    /// How long a follower waits for the leader's response head before it goes on its own.
    pub wait: Duration,
    /// How long a key whose answer could not be shared is fetched without waiting.
    pub hit_for_miss: Duration,
    /// What a request for a part asks of the origin.
    pub ranges: Ranges,
    /// Whom to spare while the origin is in trouble.
    pub protect: Protect,
    /// How long a storable fill goes on without a reader.
    pub fill_grace: Duration,
    /// How long the slowest reader of a body too large to store may stall before it is cut.
    pub stall_timeout: Duration,
    /// Bytes that a body too large to store may buffer for its readers.
    pub window: usize,
    /// Whether anything is compressed.
    pub compress: bool,
    /// What is, and how; nothing of it counts without `compress`.
    pub compression: Arc<Compression>,
    /// Which tags and groups responses have.
    pub tags: Arc<TagRules>,
    /// What is changed of the fields of responses to clients; what is stored stays the origin's.
    pub edits: Option<Arc<FieldEdits>>,
}

/// Who comes first while an origin, or a tier in front of it, is in trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protect {
    /// The client: it gets an answer at any cost, so that whatever may give one is asked.
    #[default]
    Client,
    /// The origin: while it is known to be out of reach or to have more than it can take, or to have
    /// just failed for what is asked, clients get what is stored, or are told to come back.
    Origin,
}

/// Settings that also depend on the response.
pub trait ByResponse: Send + Sync + std::fmt::Debug {
    /// The settings for a response.
    fn settings(&self, status: StatusCode, headers: &HeaderMap) -> Arc<Config>;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            lookup: true,
            store: true,
            policy: Overrides::default(),
            browser_ttl: None,
            max_object_size: 16 * 1024 * 1024,
            collapse: true,
            wait: Duration::from_secs(30),
            hit_for_miss: Duration::from_secs(10),
            ranges: Ranges::default(),
            protect: Protect::default(),
            fill_grace: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            window: 1024 * 1024,
            compress: false,
            compression: Arc::default(),
            tags: Arc::default(),
            edits: None,
        }
    }
}
