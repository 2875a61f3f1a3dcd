//! What the origins hold: resources of a few kinds, each in versions, some in flavours or for one
//! user alone.

use std::fmt;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::content::{Content, hash};

/// Origins, and routes to them.
pub const ORIGINS: u8 = 3;

/// The origin whose route honours what requests say of freshness.
pub const HONOURING: u8 = 2;

/// Users that resources of the kind [`Kind::Personal`] tell apart.
pub const USERS: u8 = 4;

/// Values of the field that resources of the kind [`Kind::Flavoured`] vary on.
pub const FLAVOURS: u8 = 3;

/// Bodies above this many bytes are not stored.
pub const MAX_OBJECT_SIZE: u64 = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The same for everybody.
    Plain,
    /// The same, with `Last-Modified` instead of an entity tag.
    Dated,
    /// `Vary`.
    Flavoured,
    /// Each user's own.
    Personal,
    /// Above [`MAX_OBJECT_SIZE`].
    Huge,
}

const KINDS: [(Kind, &str, u16, u32); 5] = [
    (Kind::Plain, "plain", 12, 50),
    (Kind::Dated, "dated", 4, 10),
    (Kind::Flavoured, "flavoured", 5, 20),
    (Kind::Personal, "personal", 4, 15),
    (Kind::Huge, "huge", 2, 5),
];

/// A path at an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    pub origin: u8,
    pub kind: Kind,
    pub number: u16,
}

impl Resource {
    /// Some resource; those with low numbers are asked for more often.
    pub fn random(rng: &mut SmallRng) -> Self {
        let mut ticket = rng.random_range(0..100);
        let (kind, _, count, _) = KINDS[KINDS
            .iter()
            .position(|(.., share)| {
                let found = ticket < *share;
                ticket = ticket.saturating_sub(*share);
                found
            })
            .unwrap_or(0)];
        let number = rng.random_range(0..count).min(rng.random_range(0..count));
        Self { origin: rng.random_range(0..ORIGINS), kind, number }
    }

    /// The resource of a request target.
    pub fn parse(target: &str) -> Option<Self> {
        let mut segments = target.strip_prefix('/')?.split('/');
        let origin = segments.next()?.parse().ok()?;
        let name = segments.next()?;
        let (kind, ..) = KINDS.iter().find(|(_, known, ..)| *known == name)?;
        let number = segments.next()?.parse().ok()?;
        segments.next().is_none().then_some(Self { origin, kind: *kind, number })
    }

    /// Whether its origin answers to `Range`.
    pub fn has_ranges(self) -> bool {
        hash(&(self, "ranges")).is_multiple_of(2)
    }

    /// Whether its entity tags are weak.
    pub fn is_weak(self) -> bool {
        hash(&(self, "weak")).is_multiple_of(5)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(kind, ..)| *kind == self.kind).map_or("", |it| it.1);
        write!(f, "/{}/{name}/{}", self.origin, self.number)
    }
}

/// A resource as a cache keys it: the schemes do not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub resource: Resource,
    pub tls: bool,
}

impl Place {
    /// Its URL.
    pub fn url(self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://example.test{}", self.resource)
    }
}

/// One body that a resource may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Representation {
    pub place: Place,
    pub version: u64,
    /// For resources that vary.
    pub flavour: Option<u8>,
    /// For resources that are somebody's.
    pub user: Option<u8>,
    /// The status of an error, else 0.
    pub error: u16,
    /// The request that alone can get it, where that is so; else 0.
    pub only: u64,
}

impl Representation {
    pub fn content(&self) -> Content {
        let luck = hash(&(self, "length"));
        let length = match self.place.resource.kind {
            _ if self.error > 0 || self.only > 0 => luck % 300,
            Kind::Huge => MAX_OBJECT_SIZE + 1 + luck % MAX_OBJECT_SIZE,
            _ if luck.is_multiple_of(11) => 0,
            _ if luck.is_multiple_of(3) => luck % (100 * 1024),
            _ => luck % 4096,
        };
        Content::of(self, length)
    }

    /// Its entity tag; weak ones are as unique as others.
    pub fn tag(&self) -> String {
        let weak = if self.place.resource.is_weak() { "W/" } else { "" };
        format!("{weak}\"v{}-{}\"", self.version, self.content().name())
    }
}
