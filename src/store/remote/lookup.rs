//! Looking a request up: one round trip, or two where variants are told apart by something else
//! than `Accept-Encoding`.

use std::sync::Arc;
use std::time::Instant;

use ::redis::{Cmd, Value, cmd};
use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, StatusCode};

use super::codec::{
    BodyAt, Chunks, Corrupt, Entry, MOST_HEAD, MOST_INLINE, Written, decode_index, encode_index,
};
use super::counters::Looked;
use super::layout::{self, Place, variant};
use super::lease::{Claim, Claiming, MOST_CLAIM, Spot};
use super::reading::Reading;
use super::timeline::SKEW;
use super::{PATIENT_BUDGETS, Tier, left};
use crate::clock::Timestamp;
use crate::policy::{Overrides, StoredHead, VaryKey};
use crate::redis::{Connection, Lane};

/// Bytes that one entry takes at most.
const MOST_ENTRY: usize = MOST_HEAD + MOST_INLINE + 1024;

/// Bytes that an index takes at most.
const MOST_INDEX: usize = 16 * 1024;

/// What is looked for.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The cache key's text.
    pub key: &'a str,
    /// The request's fields, for `Vary`.
    pub request: &'a HeaderMap,
    /// The request's settings, for the normal form of those fields.
    pub overrides: &'a Overrides,
    /// The settings by which a response is read.
    pub reading: &'a (dyn Fn(StatusCode, &HeaderMap) -> Overrides + Send + Sync),
    /// The present.
    pub now: Timestamp,
    /// The upstream from which this node would fetch for the fleet, if it would.
    pub claims: Option<usize>,
    /// Whether another node has been waited for, so that some milliseconds more do not matter.
    pub waited: bool,
}

/// What came of looking.
#[derive(Debug)]
pub struct LookedUp {
    /// What was found.
    pub lookup: Lookup,
    /// Where it stands, or would; unless that is not known.
    pub spot: Option<Spot>,
    /// What came of asking for the lease in the same round trip.
    pub claim: Option<Claim>,
}

/// What a lookup came to.
#[derive(Debug)]
pub enum Lookup {
    /// A response for this request, whether or not it is fresh.
    Found(Box<Found>),
    /// There is none, or none that can be used.
    Miss,
    /// Redis could not be asked, or did not answer within the budget.
    Unavailable,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The head, read by today's settings.
    pub head: StoredHead,
    /// Who fetched it, and when.
    pub written: Written,
    /// The body.
    pub body: FoundBody,
}

/// The body of what was found.
#[derive(Debug)]
pub enum FoundBody {
    /// All of it.
    Inline(Bytes),
    /// To be read.
    Chunks(Reading),
}

impl Tier {
    /// Looks for a response, and asks for the lease where there is nothing. Takes no longer than
    /// the budget.
    pub async fn look_up(&self, query: &Query<'_>) -> LookedUp {
        let (mut spot, mut claim) = (None, None);
        let place = self.place(query.key);
        let Some(connection) = self.room.connection(Lane::Heads, place.hash()) else {
            self.counters.looked(Looked::Skipped);
            return LookedUp { lookup: Lookup::Unavailable, spot, claim };
        };
        let begun = Instant::now();
        let budgets = if query.waited { PATIENT_BUDGETS } else { 1 };
        let until = begun + self.config.lookup_budget.saturating_mul(budgets);
        let entry = self.entry(&connection, &place, query, until, (&mut spot, &mut claim)).await;
        self.counters.took(begun.elapsed());
        let found = entry.and_then(|entry| self.judge(entry, place, query));
        LookedUp { lookup: self.tell(found), spot, claim }
    }

    fn tell(&self, found: Result<Found, Looked>) -> Lookup {
        match found {
            Ok(found) => Lookup::Found(Box::new(found)),
            Err(outcome) => {
                self.counters.looked(outcome);
                let unavailable = matches!(outcome, Looked::Failed | Looked::Skipped);
                if unavailable { Lookup::Unavailable } else { Lookup::Miss }
            }
        }
    }

    /// The entry for a request's variant.
    async fn entry(
        &self,
        connection: &Connection,
        place: &Place,
        query: &Query<'_>,
        until: Instant,
        (spot, claim): (&mut Option<Spot>, &mut Option<Claim>),
    ) -> Result<Entry, Looked> {
        let name = |names| variant(&VaryKey::for_request(names, query.request, query.overrides));
        // Nearly all that varies does by this: it is asked for along with the rest.
        let usual = vec![ACCEPT_ENCODING];
        let field = name(usual.clone());
        let mut command = cmd("HMGET");
        command.arg(place.hash()).arg(layout::PLAIN).arg(layout::INDEX).arg(&field);
        let claiming = query.claims.and_then(|upstream| {
            let index = encode_index(usual.iter());
            let spots = [Spot::new(&[], layout::PLAIN, None), Spot::new(&index, &field, None)];
            Some((self.leases.prepare(place, &spots)?, upstream))
        });
        let most = 2 * MOST_ENTRY + MOST_INDEX;
        let [plain, index, encoded] =
            self.fields_and_claim(connection, command, most, until, (claiming, claim)).await?;
        let Some(index) = index.filter(|_| plain.is_none()) else {
            *spot = Some(Spot::new(&[], layout::PLAIN, plain.as_deref()));
            return Ok(Entry::decode(&plain.ok_or(Looked::Miss)?)?);
        };
        let names = decode_index(&index)?;
        let (field, entry) = if names == usual {
            (field, encoded)
        } else {
            let field = name(names);
            let mut command = cmd("HMGET");
            command.arg(place.hash()).arg(&field);
            let [entry] = self.fields(connection, &command, MOST_ENTRY, until).await?;
            (field, entry)
        };
        *spot = Some(Spot::new(&index, &field, entry.as_deref()));
        Ok(Entry::decode(&entry.ok_or(Looked::Miss)?)?)
    }

    /// The answer to a command, and to a claim in the same round trip.
    async fn fields_and_claim<const N: usize>(
        &self,
        connection: &Connection,
        command: Cmd,
        most: usize,
        until: Instant,
        (claiming, claim): (Option<(Claiming, usize)>, &mut Option<Claim>),
    ) -> Result<[Option<Vec<u8>>; N], Looked> {
        let Some((claiming, upstream)) = claiming else {
            return self.fields(connection, &command, most, until).await;
        };
        let patience = left(until);
        let attempt = claiming.command.clone();
        let both = connection.attempt(Some(command), attempt, most + MOST_CLAIM, patience).await;
        let (answer, attempted) = match both {
            Ok((answer, attempted)) => (Ok(answer), attempted),
            Err(fault) => (Err(fault), Err(fault)),
        };
        // What stands there is in the answer: a claim for lack of it would be another one.
        let settled = self.leases.settle(claiming, attempted, upstream);
        *claim = Some(settled).filter(|claim| !matches!(claim, Claim::Changed));
        read_fields(connection, answer.map_err(|_| Looked::Failed)?)
    }

    async fn fields<const N: usize>(
        &self,
        connection: &Connection,
        command: &Cmd,
        most: usize,
        until: Instant,
    ) -> Result<[Option<Vec<u8>>; N], Looked> {
        let patience = left(until);
        let answer = connection.ask(command, most, patience).await.map_err(|_| Looked::Failed)?;
        read_fields(connection, answer)
    }

    /// What an entry is worth today.
    fn judge(&self, entry: Entry, place: Place, query: &Query<'_>) -> Result<Found, Looked> {
        let Entry { key, written, head, body } = entry;
        if *key != *query.key {
            return Err(Looked::Corrupt);
        }
        // A clock that is ahead would have it live for ever.
        let latest = query.now.plus(SKEW);
        if head.response_at > latest || written.began > latest {
            return Err(Looked::Unusable);
        }
        let overrides = (query.reading)(head.status, &head.fields);
        let head = StoredHead::restore(&head, &overrides).ok_or(Looked::Unusable)?;
        if head.vary().is_some_and(|vary| !vary.matches(query.request)) {
            return Err(Looked::Corrupt);
        }
        let length = match &body {
            BodyAt::Inline(body) => body.len() as u64,
            BodyAt::Chunks(Chunks { length, .. }) => *length,
        };
        if head.content_length().is_some_and(|announced| announced != length)
            || length > self.config.max_object_size
        {
            return Err(Looked::Unusable);
        }
        let body = match body {
            BodyAt::Inline(body) => FoundBody::Inline(body),
            BodyAt::Chunks(chunks) => {
                let (room, counters) = (Arc::clone(&self.room), Arc::clone(&self.counters));
                let budget = self.config.lookup_budget;
                FoundBody::Chunks(Reading::new(room, counters, place, chunks, budget))
            }
        };
        Ok(Found { head, written, body })
    }
}

/// The fields that were asked for.
fn read_fields<const N: usize>(
    connection: &Connection,
    answer: Value,
) -> Result<[Option<Vec<u8>>; N], Looked> {
    let fields = match answer {
        Value::Array(values) => values.into_iter().map(field).collect::<Result<Vec<_>, _>>(),
        _ => Err(NoField),
    };
    let fields = fields.and_then(|fields| fields.try_into().map_err(|_| NoField));
    fields.map_err(|NoField| {
        let _ = connection.garbage();
        Looked::Failed
    })
}

/// The answer is none to a question for a field.
struct NoField;

/// A field's value, if there is one.
fn field(value: Value) -> Result<Option<Vec<u8>>, NoField> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(NoField),
    }
}

impl From<Corrupt> for Looked {
    fn from(corrupt: Corrupt) -> Self {
        match corrupt {
            Corrupt::Version => Self::Version,
            Corrupt::Torn | Corrupt::Senseless => Self::Corrupt,
        }
    }
}
