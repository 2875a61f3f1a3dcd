//! What can be said of a request: an explanation, and its parts.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One of a fixed set of words, or a sentence that goes with it.
pub type Word = Cow<'static, str>;

/// What can be said of a request; its JSON form is stable, and fields are only added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The method.
    pub method: String,
    /// The URL, as it was asked for.
    pub url: String,
    /// The client's address.
    pub client: String,
    /// The file that the lines are of, where there is one.
    pub file: Option<String>,
    /// The route's name; absent where the request got none.
    pub route: Option<String>,
    /// The upstream's name.
    pub upstream: Option<String>,
    /// The rules that match, in the order of the file.
    pub rules: Vec<MatchedRule>,
    /// The settings that are written somewhere, and who wrote what counts.
    pub settings: Vec<Effective>,
    /// What it is stored under.
    pub key: Option<Keyed>,
    /// What the origin is asked, if it is.
    pub origin: Option<Message>,
    /// What the client gets; absent where the origin's answer is not known.
    pub response: Option<Message>,
    /// What is decided; without the origin's answer only what needs none.
    pub decision: Option<Decision>,
    /// What `Vary` makes of the request; absent where there is none.
    pub variant: Option<Vec<Varying>>,
    /// The tags of what is stored; the first of them where there are many.
    pub tags: Vec<String>,
    /// Its groups (RFC 9875), likewise.
    pub groups: Vec<String>,
    /// How many of both are not shown.
    pub more_tags: usize,
    /// How long the answer is fresh; absent where it is not known, or where that is no question.
    pub freshness: Option<Freshness>,
    /// What the same request gets right after.
    pub next: Option<Decision>,
    /// What to change for the opposite.
    pub otherwise: String,
    /// What a running node has and would do; absent where none was asked.
    pub live: Option<Live>,
}

/// A rule that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedRule {
    /// Its name, or else `line 7`.
    pub name: String,
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// Whether it counts: one with `match_response` waits for the response.
    pub counts: bool,
    /// What it sets: key and value, as written.
    pub sets: Vec<(String, String)>,
}

/// A setting as it counts, and who set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effective {
    /// The key: `cache.keep`.
    pub key: String,
    /// The value, as written.
    pub value: String,
    /// The section or rule: `[cache]`, `rule api`.
    pub by: String,
    /// Where that stands in the file, from 1.
    pub line: usize,
}

/// The key, and what of the URL is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyed {
    /// The URL in its normal form.
    pub asked: String,
    /// What counts: the URL, and each part that is keyed beside it after a line feed.
    pub key: String,
    /// The URL of it.
    #[serde(default)]
    pub url: String,
    /// What is keyed beside it.
    #[serde(default)]
    pub parts: Vec<Varying>,
    /// The URL that it is stored under in the place of that one, with all that share a response
    /// (`No-Vary-Search`); absent where it is shared with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<String>,
    /// What does not count (parameters, the host, cookies), and which setting says so.
    pub dropped: Vec<(String, String)>,
}

/// A message's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Method and target, or the status.
    pub start: String,
    /// The fields.
    pub headers: Vec<(String, String)>,
}

/// What is decided about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether it is answered from memory.
    pub hit: bool,
    /// Whether an answer is stored then; `None` where that is not known.
    pub stored: Option<bool>,
    /// Seconds of freshness left.
    pub ttl: Option<i64>,
    /// Why it goes to the origin, in the words of RFC 9211.
    pub forwarded: Option<Word>,
    /// The reason word.
    pub reason: Option<Word>,
    /// What that means.
    pub meaning: Option<Word>,
}

/// One field that `Vary` or a rule names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Varying {
    /// The field.
    pub field: String,
    /// Its value in the request, as it is compared; `None` where it is absent.
    pub value: Option<String>,
}

/// Freshness, step by step; all times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// What the lifetime comes from: `s-maxage`, `default`.
    pub source: Word,
    /// The lifetime that this gives.
    pub given: u64,
    /// The lifetime within `min_lifetime` and `max_lifetime`.
    pub lifetime: u64,
    /// The age now.
    pub age: u64,
    /// The lifetime in milliseconds, which is how it is counted.
    #[serde(default)]
    pub lifetime_ms: u64,
    /// The age now in milliseconds.
    #[serde(default)]
    pub age_ms: u64,
    /// Of that the age already when it came (RFC 9111 §4.2.3); the rest it has spent here.
    #[serde(default)]
    pub initial_age_ms: u64,
    /// How long it is fresh from now on; negative where it is stale already.
    pub ttl: i64,
    /// When it is no longer fresh, as an HTTP date.
    pub until: String,
    /// How long it may then be served while one request refreshes it.
    pub stale_while_revalidate: u64,
    /// How long it may be served in place of an error.
    pub stale_if_error: u64,
    /// How long it may be served while no response comes at all.
    pub stale_when_disconnected: u64,
    /// Whether the origin forbids all of these.
    pub stale_forbidden: bool,
    /// Whether it can be validated: it has an entity tag or a date of change.
    pub validator: bool,
}

/// What a running node has for a request, and would do with it now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// The number of the configuration in force, from 1.
    pub generation: u64,
    /// `hit`, `stale`, `revalidate`, `complete`, `miss`, `pass`, `answer` (by a rule) or `refuse`.
    pub would: Word,
    /// Where a response for the request was found: `memory`; absent where none was.
    pub found: Option<Word>,
    /// Variants that are stored under the key.
    pub variants: usize,
    /// The first of them that are for other requests: what each was stored for.
    pub others: Vec<Vec<Varying>>,
    /// The stored head: status and fields, without secrets.
    pub stored: Option<Message>,
    /// Bytes of its body that are there.
    pub bytes: u64,
    /// Whether that is all of it.
    pub whole: bool,
    /// Whether the body is there as it came; else in its copies alone.
    pub as_it_came: bool,
    /// The copies of it in other codings.
    pub copies: Vec<Copy>,
    /// `none`, `soft` or `hard`: what purges have made of it.
    pub purged: Option<Word>,
    /// The number of the latest purge.
    pub purge_sequence: u64,
    /// Why its last answer was not shared, and for how long nobody waits for the next one.
    pub hit_for_miss: Option<Known>,
    /// Whether it could not be fetched lately.
    pub setback: Option<Setback>,
    /// The fetch under way that the request would join, or that refreshes what it gets.
    pub flight: Option<Flight>,
    /// What would become of what is served: `none`, `begins`, `under-way`, `left-alone`,
    /// `no-room` or `by-chance`.
    pub refresh: Option<Word>,
    /// How likely that is where it is `by-chance`, from 0 to 1.
    pub chance: f64,
}

/// A copy of a stored response in another coding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Copy {
    /// `br`, `gzip` or `zstd`.
    pub coding: Word,
    /// The level that it was made with.
    pub level: u8,
    /// Bytes of its body.
    pub bytes: u64,
    /// Its entity tag, if it has one.
    pub etag: Option<String>,
}

/// Something known for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Why, in a word.
    pub reason: Word,
    /// What that means.
    pub meaning: Word,
    /// What to change.
    pub advice: Word,
    /// For how long yet, in seconds; 0 where that is over.
    pub seconds: u64,
}

/// A fetch that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// How, in a word.
    pub reason: Word,
    /// What that means.
    pub meaning: Word,
    /// For how many seconds those who may be served stale do not wait.
    pub patient: u64,
    /// For how many seconds no refresh begins in the background.
    pub quiet: u64,
}

/// A fetch under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Whether the origin's answer has begun to come.
    pub answered: bool,
    /// How many wait for it, beside who began it.
    pub followers: usize,
}
