//! What an origin answers: chosen by the request's number and the seed, never by the moment.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::ledger::{Emission, Terms};
use super::site::{Kind, Place, Representation};
use crate::support::find;

type Fields = Vec<(String, String)>;

/// A request, as far as origins look at it.
#[derive(Debug)]
pub struct Asked {
    pub id: u64,
    pub method: String,
    pub place: Place,
    pub fields: Fields,
}

/// How an answer goes wrong, or is just odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    ResetBeforeHead,
    CloseBeforeHead,
    SilentBeforeHead,
    CutHead,
    ResetHead,
    Garbage,
    TwoLengths,
    HugeHead,
    CutBody,
    ResetBody,
    SilentBody,
    LongLength,
    BadChunk,
    // From here on, the answer is good in the end.
    Surplus,
    CloseAfter,
    SlowStart,
    PauseInBody,
    Drip,
    Interim,
    WrongValidator,
    /// A part of something else than `If-Range` names.
    WrongPart,
    ServerError,
    NotFound,
}

const FAULTS: [Fault; 23] = [
    Fault::ResetBeforeHead,
    Fault::CloseBeforeHead,
    Fault::SilentBeforeHead,
    Fault::CutHead,
    Fault::ResetHead,
    Fault::Garbage,
    Fault::TwoLengths,
    Fault::HugeHead,
    Fault::CutBody,
    Fault::ResetBody,
    Fault::SilentBody,
    Fault::LongLength,
    Fault::BadChunk,
    Fault::Surplus,
    Fault::CloseAfter,
    Fault::SlowStart,
    Fault::PauseInBody,
    Fault::Drip,
    Fault::Interim,
    Fault::WrongValidator,
    Fault::WrongPart,
    Fault::ServerError,
    Fault::NotFound,
];

impl Fault {
    pub fn random(rng: &mut SmallRng, stormy: bool) -> Option<Self> {
        let ill = rng.random_bool(if stormy { 0.7 } else { 0.1 });
        // Drawn in any case, so that the weather does not change what comes after.
        let fault = *FAULTS.choose(rng).expect("there are some");
        ill.then_some(fault)
    }

    /// Whether no head worth the name is sent.
    pub fn precedes_head(self) -> bool {
        (self as u8) < Self::CutBody as u8
    }

    /// Whether the body does not come to its end.
    pub fn cuts_body(self) -> bool {
        !self.precedes_head() && (self as u8) < Self::Surplus as u8
    }

    /// Whether it may meet the next request on the connection.
    pub fn outlives(self) -> bool {
        matches!(self, Self::Surplus | Self::CloseAfter)
    }
}

/// An answer: what is booked, and the fields that say so.
#[derive(Debug)]
pub struct Answer {
    pub emission: Emission,
    pub fields: Fields,
    /// The part of the content that is sent.
    pub range: std::ops::Range<u64>,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }

    fn number(&self, name: &str) -> Option<u8> {
        self.field(name)?.parse().ok()
    }

    fn is_unsafe(&self) -> bool {
        !matches!(&*self.method, "GET" | "HEAD")
    }

    /// The answer to this request for `version`.
    pub fn answer(&self, rng: &mut SmallRng, version: u64, fault: Option<Fault>) -> Answer {
        let kind = self.place.resource.kind;
        let error = match fault {
            Some(Fault::ServerError) => *[500, 502, 503, 504].choose(rng).expect("some"),
            Some(Fault::NotFound) => *[404, 410].choose(rng).expect("some"),
            _ => 0,
        };
        let representation = Representation {
            place: self.place,
            version,
            flavour: self.number("chaos-flavour").filter(|_| kind == Kind::Flavoured),
            user: self.number("chaos-user").filter(|_| kind == Kind::Personal),
            error,
            only: if self.is_unsafe() { self.id } else { 0 },
        };
        let lie = fault == Some(Fault::WrongValidator) && self.asks_if_changed();
        let status = match error {
            0 if self.is_unsafe() => 200,
            0 if lie || self.holds(&representation) => 304,
            0 => 200,
            error => error,
        };
        let (mut terms, mut fields) = self.terms(rng);
        if status == 304 && find(&fields, "set-cookie").is_some() {
            // The cookie is the client's; what is stored may be shared without it.
            terms.shared = self.place.resource.kind != Kind::Personal && self.may_share(&fields);
        }
        if self.is_unsafe() {
            terms.shared = false;
        }
        let length = representation.content().length;
        let mut answer = Answer {
            emission: Emission {
                sequence: 0,
                at: seawall::clock::Timestamp::EPOCH,
                request: self.id,
                representation,
                status,
                terms,
                cut: false,
                lie,
            },
            fields: Vec::new(),
            range: 0..length,
        };
        self.part(&mut answer, fault == Some(Fault::WrongPart));
        fields.extend(self.description(&representation));
        answer.fields.append(&mut fields);
        answer
    }

    /// Makes a 206 of a 200 where a part is asked for and the resource has parts.
    fn part(&self, answer: &mut Answer, lies: bool) {
        let (length, resource) = (answer.range.end, self.place.resource);
        let range = self.field("range").and_then(|range| one_range(range, length));
        let holds = |condition: &str| condition == answer.emission.representation.tag();
        let same = self.field("if-range").is_none_or(|tag| holds(tag) && !resource.is_weak());
        let asked = self.method == "GET" && answer.emission.status == 200;
        if let Some((first, last)) =
            range.filter(|_| asked && (same || lies) && resource.has_ranges())
        {
            answer.emission.status = 206;
            answer.emission.lie |= lies && self.field("if-range").is_some();
            answer.range = first..last + 1;
            let value = format!("bytes {first}-{last}/{length}");
            answer.fields.push(("Content-Range".to_owned(), value));
        }
    }

    fn asks_if_changed(&self) -> bool {
        matches!(&*self.method, "GET" | "HEAD") && self.field("if-none-match").is_some()
    }

    /// Whether the client has this very representation.
    fn holds(&self, representation: &Representation) -> bool {
        if let Some(tags) = self.field("if-none-match") {
            let tag = representation.tag();
            return tags.split(',').any(|known| known.trim() == tag);
        }
        let dated = self.place.resource.kind == Kind::Dated;
        let since = self.field("if-modified-since").filter(|_| dated);
        since.is_some_and(|since| since == last_modified(representation.version))
    }

    fn description(&self, representation: &Representation) -> Fields {
        let kind = self.place.resource.kind;
        let mut fields = Vec::new();
        let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
        match kind {
            Kind::Dated if representation.error == 0 => {
                add("Last-Modified", last_modified(representation.version));
            }
            _ => add("ETag", representation.tag()),
        }
        if kind == Kind::Flavoured {
            add("Vary", "Chaos-Flavour".to_owned());
        }
        add("Content-Type", "application/octet-stream".to_owned());
        fields
    }

    fn may_share(&self, fields: &Fields) -> bool {
        let control = find(fields, "cdn-cache-control").or(find(fields, "cache-control"));
        let control = control.unwrap_or_default();
        let allowed = ["public", "s-maxage", "must-revalidate"];
        self.field("authorization").is_none() || allowed.iter().any(|it| control.contains(it))
    }

    /// What the answer says of its use.
    fn terms(&self, rng: &mut SmallRng) -> (Terms, Fields) {
        let (terms, mut control, extra) = self.control(rng);
        // What such an answer does not say stays as it was stored, so silence is for answers that
        // bring everything.
        let brings_all =
            self.method == "GET" && !CONDITIONS.iter().any(|it| self.field(it).is_some());
        if control.is_empty() && (!brings_all || self.is_targeted()) {
            "max-age=0".clone_into(&mut control);
        }
        let mut fields: Fields = Vec::new();
        if self.is_targeted() {
            fields.push(("CDN-Cache-Control".to_owned(), control));
            control = String::from("public, max-age=999");
        }
        if !control.is_empty() {
            fields.push(("Cache-Control".to_owned(), control));
        }
        fields.extend(extra.map(|(name, value)| (name.to_owned(), value)));
        let shared = terms.shared && self.may_share(&fields);
        (Terms { shared, ..terms }, fields)
    }

    /// Whether what counts stands in a field for caches like this one (RFC 9213).
    fn is_targeted(&self) -> bool {
        self.place.resource.number % 8 == 3
    }

    fn control(&self, rng: &mut SmallRng) -> (Terms, String, Option<(&'static str, String)>) {
        let lifetime = rng.random_range(0..=20);
        let (revalidate, if_error) = (rng.random_range(1..=10), rng.random_range(1..=20));
        let personal = self.place.resource.kind == Kind::Personal;
        let plain = Terms { lifetime, shared: true, ..Terms::default() };
        let lonely = Terms { shared: false, ..plain };
        let max_age = format!("max-age={lifetime}");
        let while_revalidate = format!("stale-while-revalidate={revalidate}");
        let if_errors = format!("stale-if-error={if_error}");
        match if personal { rng.random_range(0..5) } else { rng.random_range(0..18) } {
            0 => (lonely, format!("private, {max_age}"), None),
            1 => (lonely, "no-store".to_owned(), None),
            2 => (lonely, max_age, Some(("Set-Cookie", format!("request={}", self.id)))),
            3 => (lonely, max_age, Some(("Vary", "*".to_owned()))),
            4 if personal => (lonely, max_age, Some(("Vary", "Cookie".to_owned()))),
            4 => (Terms { no_cache: true, ..plain }, format!("no-cache, {max_age}"), None),
            5 => (Terms { lifetime: 0, ..plain }, String::new(), None),
            6 => (
                Terms { strict: true, ..plain },
                format!("{max_age}, must-revalidate, {while_revalidate}, {if_errors}"),
                None,
            ),
            7 => {
                (Terms { strict: true, ..plain }, format!("max-age=999, s-maxage={lifetime}"), None)
            }
            8 | 9 => {
                (Terms { revalidate, ..plain }, format!("{max_age}, {while_revalidate}"), None)
            }
            10 | 11 => (Terms { if_error, ..plain }, format!("{max_age}, {if_errors}"), None),
            12 | 13 => (
                Terms { revalidate, if_error, ..plain },
                format!("{max_age}, {while_revalidate}, {if_errors}"),
                None,
            ),
            14 => (plain, format!("public, {max_age}"), None),
            _ => (plain, max_age, None),
        }
    }
}

/// Bytes that [`Fault::LongLength`] announces and does not send.
pub const EXCESS: u64 = 7;

/// Fields with which a request does not ask for everything.
const CONDITIONS: [&str; 3] = ["if-none-match", "if-modified-since", "range"];

/// Versions are a day apart, long ago, so that each has a date of its own.
pub fn last_modified(version: u64) -> String {
    let seconds = 946_684_800 + i64::try_from(version).expect("a small number") * 86_400;
    crate::support::http_date(seawall::clock::Timestamp::from_secs(seconds))
}

/// The only range that `field` asks for: its first and last byte.
pub fn one_range(field: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first, last) {
        ("", suffix) => {
            let suffix = suffix.parse::<u64>().ok().filter(|&suffix| suffix > 0)?;
            (length.saturating_sub(suffix), length.checked_sub(1)?)
        }
        (first, "") => (first.parse().ok()?, length.checked_sub(1)?),
        (first, last) => {
            (first.parse().ok()?, last.parse::<u64>().ok()?.min(length.checked_sub(1)?))
        }
    };
    (first <= last && first < length).then_some((first, last))
}
