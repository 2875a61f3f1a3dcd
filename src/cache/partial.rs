//! Partial responses: storing them, combining them, completing them (RFC 9111 §3.3 and §3.4).

use std::sync::Arc;

use http::response::Parts as ResponseHead;
use http::{HeaderMap, StatusCode};

use super::Job;
use crate::body::{Blocks, BlocksBody, Body};
use crate::policy::range::parse_content_range;
use crate::policy::{self, ByteRange, ContentRange, Overrides, ResponseTimes, StoredHead};
use crate::store::{Content, Part, Parts, StoredResponse};

/// Parts kept of one representation; the next one takes the place of all.
const MOST_PARTS: usize = 64;

/// Pieces kept of one part: each costs memory of its own, however small it is.
const MOST_PIECES: usize = 1024;

/// What an answer to a request for the rest of a stored partial response is.
pub(super) enum Completion {
    /// The rest, which begins here.
    Rest(ContentRange),
    /// A response of its own.
    Whole,
    /// Neither: it does not go with what is stored.
    Useless,
}

/// Where a partial response's body belongs, once it has arrived.
#[derive(Debug)]
pub(super) struct PartialDeposit {
    range: ContentRange,
    /// What is stored of the same representation.
    with: Option<Parts>,
    /// Whether a body shorter than its range is taken for what it is.
    accept_short: bool,
    max_object_size: u64,
}

/// Whether the rest of what is stored can be asked for.
pub(super) fn can_be_completed(stored: &StoredResponse, overrides: &Overrides) -> bool {
    ask_for_rest(stored, overrides, &mut HeaderMap::new())
}

/// Asks for the rest of what is stored, where that can be done. `false` where it can't.
pub(super) fn ask_for_rest(
    stored: &StoredResponse,
    overrides: &Overrides,
    headers: &mut HeaderMap,
) -> bool {
    let Content::Parts(parts) = &stored.content else { return false };
    let held = parts.ranges();
    policy::partial::complete_partial(&stored.head, &held, parts.complete, overrides, headers)
}

/// Judges the answer to [`ask_for_rest`].
pub(super) fn completes(
    stored: &StoredResponse,
    head: &ResponseHead,
    overrides: &Overrides,
) -> Completion {
    match head.status {
        StatusCode::PARTIAL_CONTENT => {
            let reached = match &stored.content {
                Content::Parts(parts) => parts.parts.first().map(Part::end),
                Content::Whole(_) | Content::Coded => None,
            };
            let goes_with = overrides.complete_partial_without_validator
                || policy::partial::combinable(&stored.head, &head.headers);
            match content_range(head) {
                Some(rest)
                    if goes_with
                        && Some(rest.start) == reached
                        && rest.complete == Some(rest.end) =>
                {
                    Completion::Rest(rest)
                }
                _ => Completion::Useless,
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_MODIFIED => Completion::Useless,
        _ => Completion::Whole,
    }
}

/// The head to store for a partial response, and where its body belongs; `None` where nobody can
/// say what the body is a part of.
pub(super) fn place(
    head: &ResponseHead,
    stored: Option<&StoredResponse>,
    job: &Job,
    times: ResponseTimes,
) -> Option<(StoredHead, PartialDeposit)> {
    let overrides = &job.config.policy;
    let range = content_range(head)?;
    let new = StoredHead::new(&job.facts(), head.status, &head.headers, times, overrides);
    let with = stored.and_then(|stored| match &stored.content {
        Content::Parts(parts)
            if parts.parts.len() < MOST_PARTS
                && (overrides.complete_partial_without_validator
                    || policy::partial::combinable(&stored.head, &head.headers)) =>
        {
            Some((stored, parts))
        }
        _ => None,
    });
    let joined = with.map_or(range, |(_, parts)| parts.joined_with(range));
    let old = with.map_or(&new, |(stored, _)| &stored.head);
    let combined = old.combined(&head.headers, joined, times, overrides, &job.facts());
    let deposit = PartialDeposit {
        range,
        with: with.map(|(_, parts)| Parts::clone(parts)),
        accept_short: overrides.accept_short_partial,
        max_object_size: job.config.max_object_size,
    };
    Some((combined, deposit))
}

/// The stored bytes before `end`.
pub(super) fn first(stored: &StoredResponse, end: u64) -> Body {
    let part = match &stored.content {
        Content::Parts(parts) => parts.holding(ByteRange { start: 0, end }),
        Content::Whole(_) | Content::Coded => None,
    };
    part.map_or(Body::Empty, |part| {
        Body::Blocks(BlocksBody::range(Arc::clone(&part.blocks), 0, end))
    })
}

impl PartialDeposit {
    /// Whether the response's own head says what its body is: it is not combined with others.
    pub(super) fn stands_alone(&self) -> bool {
        let range = self.range;
        self.with.is_none() && !(range.start == 0 && range.complete == Some(range.end))
    }

    /// What to store now that the body has arrived. `None` where the body is not what its
    /// `Content-Range` said.
    pub(super) fn combine(self, head: &StoredHead, blocks: Arc<Blocks>) -> Option<Content> {
        let announced = self.range.range().len();
        let short = blocks.len() < announced;
        if blocks.is_empty() || blocks.len() > announced || (short && !self.accept_short) {
            return None;
        }
        let (_, complete) = policy::partial::short_partial(self.range, blocks.len());
        let new = Part { start: self.range.start, blocks };
        let mut parts = match &self.with {
            Some(with) => join(&with.parts, new.clone()),
            None => vec![new.clone()],
        };
        // Joined parts keep all that they were made of: ranges that overlap could pin any amount.
        let kept: u64 = parts.iter().map(|part| part.blocks.held()).sum();
        let length: u64 = parts.iter().map(|part| part.blocks.len()).sum();
        let pieces = parts.iter().map(|part| part.blocks.pieces().count()).max();
        if length > self.max_object_size || kept > 2 * length || pieces > Some(MOST_PIECES) {
            parts = vec![new];
        }
        let content = match parts.as_slice() {
            [only] if only.start == 0 && Some(only.end()) == complete => {
                Content::Whole(Arc::clone(&only.blocks))
            }
            _ => Content::Parts(Box::new(Parts { complete, parts })),
        };
        // The head was made for what was announced; a short body may have come to something else.
        let whole = matches!(content, Content::Whole(_));
        (whole != head.is_partial()).then_some(content)
    }
}

fn content_range(head: &ResponseHead) -> Option<ContentRange> {
    head.headers.get(http::header::CONTENT_RANGE).and_then(parse_content_range)
}

/// The parts with `new` among them: what it touches is joined to it.
fn join(parts: &[Part], new: Part) -> Vec<Part> {
    let mut joined = new;
    let mut others = Vec::with_capacity(parts.len() + 1);
    for part in parts {
        if part.end() < joined.start || joined.end() < part.start {
            others.push(part.clone());
        } else {
            joined = concatenate(part, &joined);
        }
    }
    others.push(joined);
    others.sort_by_key(|part| part.start);
    others
}

/// Two parts that overlap or touch, as one; where they overlap, `new` counts.
fn concatenate(old: &Part, new: &Part) -> Part {
    let length = old.blocks.len();
    let before = new.start.saturating_sub(old.start).min(length);
    let after = new.end().saturating_sub(old.start).min(length);
    let mut blocks = old.blocks.slices(0, before);
    blocks.extend(new.blocks.slices(0, new.blocks.len()));
    blocks.extend(old.blocks.slices(after, length));
    let blocks = Blocks::joined(blocks, &old.blocks, &new.blocks);
    Part { start: old.start.min(new.start), blocks: Arc::new(blocks) }
}

impl Parts {
    /// The contiguous range around `new` once it is joined with these.
    fn joined_with(&self, new: ContentRange) -> ContentRange {
        let mut held = new;
        for part in &self.parts {
            if part.start <= held.end && held.start <= part.end() {
                held.start = held.start.min(part.start);
                held.end = held.end.max(part.end());
            }
        }
        ContentRange { complete: new.complete.or(self.complete), ..held }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn part(whole: &[u8], start: usize, end: usize) -> Part {
        let bytes = Bytes::copy_from_slice(&whole[start..end]);
        Part { start: start as u64, blocks: Arc::new(Blocks::new([bytes], None)) }
    }

    proptest! {
        #[test]
        fn joined_parts_hold_the_bytes_of_the_whole_and_do_not_touch(
            ranges in prop::collection::vec((0..40_usize, 1..20_usize), 1..12),
        ) {
            let whole: Vec<u8> = (0..60).collect();
            let mut parts = Vec::new();
            let mut held = [false; 60];
            for (start, length) in ranges {
                held[start..start + length].fill(true);
                parts = join(&parts, part(&whole, start, start + length));
            }
            let mut joined = [false; 60];
            for part in &parts {
                let (start, end) = (part.start as usize, part.end() as usize);
                prop_assert_eq!(part.blocks.concat(), &whole[start..end]);
                joined[start..end].fill(true);
            }
            prop_assert_eq!(held, joined);
            prop_assert!(parts.windows(2).all(|pair| pair[0].end() < pair[1].start));
        }
    }
}
