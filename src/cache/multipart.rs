//! Several ranges in one response: `multipart/byteranges` (RFC 9110 §14.6).

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use foldhash::quality::RandomState;
use http::HeaderValue;

use super::respond::content_range;
use crate::body::{Blocks, BlocksBody, Body};
use crate::policy::range::ByteRange;

/// The body of a response with `ranges` of `blocks`, and its `Content-Type`.
pub(super) fn body(
    blocks: &Arc<Blocks>,
    ranges: &[ByteRange],
    content_type: Option<&HeaderValue>,
) -> (HeaderValue, Body) {
    let boundary = boundary();
    let mut bodies = VecDeque::with_capacity(ranges.len() * 2 + 1);
    for range in ranges {
        bodies.push_back(Body::from(part_head(&boundary, *range, blocks.len(), content_type)));
        let part = BlocksBody::range(Arc::clone(blocks), range.start, range.end);
        bodies.push_back(Body::Blocks(part));
    }
    bodies.push_back(Body::from(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    let content_type = HeaderValue::try_from(content_type)
        .unwrap_or(HeaderValue::from_static("multipart/byteranges"));
    (content_type, Body::Chain(bodies))
}

fn part_head(
    boundary: &str,
    range: ByteRange,
    length: u64,
    content_type: Option<&HeaderValue>,
) -> Bytes {
    let mut head = BytesMut::with_capacity(160);
    head.put_slice(b"\r\n--");
    head.put_slice(boundary.as_bytes());
    if let Some(content_type) = content_type {
        head.put_slice(b"\r\nContent-Type: ");
        head.put_slice(content_type.as_bytes());
    }
    head.put_slice(b"\r\nContent-Range: ");
    head.put_slice(content_range(range, Some(length)).as_bytes());
    head.put_slice(b"\r\n\r\n");
    head.freeze()
}

/// A boundary that the content does not hold, but for a chance in 2^128 that nobody can steer: a
/// fresh hasher is seeded at random.
fn boundary() -> String {
    let seeded = RandomState::default();
    format!("{:016x}{:016x}", seeded.hash_one(1), seeded.hash_one(2))
}
