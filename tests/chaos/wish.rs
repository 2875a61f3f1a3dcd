//! What clients ask for, drawn from their seeds.

use std::collections::HashMap;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use seawall::clock::Timestamp;

use super::content::{Content, hash};
use super::site::{FLAVOURS, HONOURING, Kind, Place, Resource, USERS};
use crate::support::{Request, request};

/// How a client takes what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Reads everything.
    Full,
    /// Reads everything, with pauses.
    Slow,
    /// Leaves after this many milliseconds without having read anything.
    LeavesBefore(u64),
    /// Leaves when it has at least this many bytes of the body.
    LeavesAt(usize),
}

/// A request, and all that its response is held against.
#[derive(Clone)]
pub struct Sent {
    pub id: u64,
    pub name: &'static str,
    pub request: Request,
    pub place: Place,
    pub flavour: Option<u8>,
    pub user: Option<u8>,
    /// What `Range` asks for, as first and last byte.
    pub ranges: Vec<Range>,
    /// Entity tags in `If-None-Match`.
    pub tags: Vec<String>,
    pub since: Option<String>,
    pub if_range: Option<String>,
    pub only_if_cached: bool,
    /// `no-cache`, where it counts.
    pub no_cache: bool,
    pub token: Option<String>,
    pub patience: Patience,
    /// Its place in the order of events.
    pub begun: u64,
    pub at: Timestamp,
    pub moment: Instant,
}

/// First and last byte; the last bytes where there is no first.
#[derive(Clone, Copy, Debug)]
pub struct Range(pub Option<u64>, pub Option<u64>);

impl Range {
    /// Which bytes of `length` these are, the last one included.
    pub fn resolve(self, length: u64) -> Option<(u64, u64)> {
        super::answers::one_range(&format!("bytes={self}"), length)
    }

    fn random(rng: &mut SmallRng) -> Self {
        let scale = *[64, 1024, 64 * 1024].choose(rng).expect("some");
        let first = rng.random_range(0..scale);
        match rng.random_range(0..4) {
            0 => Self(Some(first), None),
            1 => Self(None, Some(first)),
            _ => Self(Some(first), Some(first + rng.random_range(0..scale))),
        }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
        write!(f, "{}-{}", text(self.0), text(self.1))
    }
}

/// The validators that a client has seen.
#[derive(Default)]
pub struct Known {
    validators: HashMap<(Place, Option<u8>, Option<u8>), Validators>,
    /// What was asked for last.
    last: Option<Resource>,
}

/// Entity tags, the latest last, and the latest `Last-Modified`.
type Validators = (Vec<String>, Option<String>);

impl Known {
    pub fn learn(&mut self, sent: &Sent, tag: Option<&str>, modified: Option<&str>) {
        let (tags, date) =
            self.validators.entry((sent.place, sent.flavour, sent.user)).or_default();
        if let Some(tag) = tag
            && !tags.iter().any(|known| known == tag)
        {
            tags.push(tag.to_owned());
            if tags.len() > 3 {
                tags.remove(0);
            }
        }
        *date = modified.map(str::to_owned).or(date.take());
    }
}

/// The body that goes with an unsafe request's token.
pub fn upload(token: &str) -> Content {
    // Without a body, a POST looks like one that could be sent twice. A PUT may be.
    let least = u64::from(token.starts_with("PUT"));
    let luck = hash(&token);
    Content::of(&token, least + if luck.is_multiple_of(2) { 0 } else { luck % 20_000 })
}

/// The next request of a client.
pub fn draw(rng: &mut SmallRng, id: u64, tls: bool, known: &mut Known) -> Sent {
    // Often what it has just asked for, or changed, or purged.
    let other = Resource::random(rng);
    let resource = known.last.filter(|_| rng.random_bool(0.4)).unwrap_or(other);
    known.last = Some(resource);
    let place = Place { resource, tls };
    let kind = place.resource.kind;
    let mut sent = Sent {
        id,
        name: "GET",
        request: request("GET", &place.resource.to_string()),
        place,
        flavour: (kind == Kind::Flavoured).then(|| rng.random_range(0..FLAVOURS)),
        user: (kind == Kind::Personal).then(|| rng.random_range(0..USERS)),
        ranges: Vec::new(),
        tags: Vec::new(),
        since: None,
        if_range: None,
        only_if_cached: false,
        no_cache: false,
        token: None,
        patience: Patience::Full,
        begun: 0,
        at: Timestamp::EPOCH,
        moment: Instant::now(),
    };
    sent.add("Chaos-Request", id.to_string());
    match rng.random_range(0..100) {
        0..45 => {}
        45..51 => sent.be("HEAD", "HEAD"),
        51..66 => sent.ask_ranges(rng, known),
        66..76 => sent.ask_if_changed(rng, known),
        76..82 => sent.upload("POST"),
        82..84 => sent.upload("PUT"),
        84..88 => sent.purge(rng),
        88..90 => {
            (sent.name, sent.only_if_cached) = ("GET only-if-cached", true);
            sent.add("Cache-Control", "only-if-cached".to_owned());
        }
        90..93 => {
            sent.name = "GET no-cache";
            sent.no_cache = place.resource.origin == HONOURING;
            sent.add("Cache-Control", "no-cache".to_owned());
        }
        93..97 => sent.add("Authorization", format!("Bearer {id}")),
        _ => sent.add("Cookie", format!("session={id}")),
    }
    sent.describe(rng);
    sent.patience = match rng.random_range(0..100) {
        0..85 => Patience::Full,
        85..90 => Patience::Slow,
        90..94 => Patience::LeavesBefore(rng.random_range(0..60)),
        _ => Patience::LeavesAt(rng.random_range(0..30_000)),
    };
    sent
}

impl Sent {
    fn be(&mut self, name: &'static str, method: &str) {
        self.name = name;
        method.clone_into(&mut self.request.method);
    }

    fn add(&mut self, name: &str, value: String) {
        self.request.fields.push((name.to_owned(), value));
    }

    /// Fields that choose the representation.
    fn describe(&mut self, rng: &mut SmallRng) {
        if let Some(flavour) = self.flavour {
            self.add("Chaos-Flavour", flavour.to_string());
        }
        if let Some(user) = self.user {
            self.add("Chaos-User", user.to_string());
            let by_cookie = rng.random_bool(0.5);
            let authorized = crate::support::find(&self.request.fields, "authorization").is_some();
            match by_cookie {
                true => self.add("Cookie", format!("user={user}")),
                false if !authorized => self.add("Authorization", format!("Bearer user{user}")),
                false => {}
            }
        }
    }

    fn ask_ranges(&mut self, rng: &mut SmallRng, known: &Known) {
        self.name = "GET range";
        let count = if rng.random_bool(0.8) { 1 } else { rng.random_range(2..5) };
        self.ranges = (0..count).map(|_| Range::random(rng)).collect();
        let text: Vec<_> = self.ranges.iter().map(ToString::to_string).collect();
        self.add("Range", format!("bytes={}", text.join(", ")));
        if rng.random_bool(0.3)
            && let Some(tag) = self.known(known).0.choose(rng)
        {
            self.name = "GET If-Range";
            self.if_range = Some(tag.clone());
            self.add("If-Range", tag.clone());
        }
    }

    fn ask_if_changed(&mut self, rng: &mut SmallRng, known: &Known) {
        self.name = "GET conditional";
        let (tags, date) = self.known(known);
        if let Some(date) = date {
            self.add("If-Modified-Since", date.clone());
            self.since = Some(date);
            return;
        }
        self.tags = tags;
        if self.tags.is_empty() || rng.random_bool(0.2) {
            self.tags.push("\"of-nothing\"".to_owned());
        }
        self.add("If-None-Match", self.tags.join(", "));
    }

    fn known(&self, known: &Known) -> Validators {
        let key = (self.place, self.flavour, self.user);
        known.validators.get(&key).cloned().unwrap_or_default()
    }

    fn upload(&mut self, method: &'static str) {
        self.be(method, method);
        let token = format!("{method}-{}", self.id);
        let content = upload(&token);
        self.request.body = Some(content.bytes(0..content.length));
        self.add("Chaos-Token", token.clone());
        self.token = Some(token);
    }

    fn purge(&mut self, rng: &mut SmallRng) {
        if rng.random_bool(0.5) {
            self.be("PURGE hard", "PURGE");
            self.add("Purge-Mode", "hard".to_owned());
        } else {
            self.be("PURGE soft", "PURGE");
        }
    }
}
