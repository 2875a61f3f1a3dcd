//! Where things stand in Redis.
//!
//! A key's responses are one hash, `NAMESPACE:1:{DIGEST}`: a field for the response that has no
//! `Vary`, or the index and a field for each variant. So a purge of a URL is the deletion of one
//! key, with all variants at once, and nothing is left that could come back. A body that is not
//! small stands beside it in chunks, plain strings under an id that is never used again. The braces
//! make all of it one slot of a Cluster. Digests, because URLs can hold what nobody should read in
//! a list of keys.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write;

use super::codec::{Chunks, VERSION};
use crate::policy::VaryKey;

/// The field of a response without `Vary`.
pub const PLAIN: &[u8] = b"-";
/// The field of the index.
pub const INDEX: &[u8] = b"v";

/// Bytes of a digest that are used: no two of 2^64 keys share one by chance, and an entry tells its
/// own key besides.
const DIGEST: usize = 16;

/// The names of what belongs to one cache key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// For a cache key.
    #[must_use]
    pub fn new(namespace: &str, key: &str) -> Self {
        let mut name = format!("{namespace}:{VERSION}:{{");
        push_hex(&mut name, digest(&SHA256, key.as_bytes()).as_ref());
        name.push('}');
        Self(name)
    }

    /// The hash of the key's responses.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.0
    }

    /// The lease of the response in a field.
    #[must_use]
    pub fn lease(&self, field: &[u8]) -> String {
        let mut name = format!("{}:l", self.0);
        if field != PLAIN {
            name.push(':');
            push_hex(&mut name, field);
        }
        name
    }

    /// The chunk at `index` of a body.
    #[must_use]
    pub fn chunk(&self, chunks: &Chunks, index: u64) -> String {
        format!("{}:{:032x}:{index}", self.0, chunks.id)
    }
}

/// The field of the variant that a request with these values gets.
#[must_use]
pub fn variant(vary: &VaryKey) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in vary.nominated() {
        text.extend_from_slice(name.as_str().as_bytes());
        // No name holds a colon, and the length says where a value ends.
        let length = value.map_or(String::from("-"), |value| value.len().to_string());
        text.extend_from_slice(format!(":{length}:").as_bytes());
        text.extend_from_slice(value.unwrap_or_default());
    }
    digest(&SHA256, &text).as_ref()[..DIGEST].to_vec()
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes.iter().take(DIGEST) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::HeaderName;

    use super::*;
    use crate::policy::Overrides;

    fn field(request: &[(&'static str, &str)]) -> Vec<u8> {
        let fields = request
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")));
        let names = ["a", "b"].map(HeaderName::from_static).to_vec();
        let request: HeaderMap = fields.collect();
        variant(&VaryKey::for_request(names, &request, &Overrides::default()))
    }

    #[test]
    fn names_tell_keys_namespaces_and_chunks_apart_and_no_url() {
        let place = Place::new("shop", "http://a.test/secret");
        assert!(place.hash().starts_with("shop:1:{") && place.hash().ends_with('}'));
        assert_eq!(place.hash().len(), "shop:1:{}".len() + 2 * DIGEST);
        assert!(!place.hash().contains("secret"));
        assert_ne!(place, Place::new("shop", "http://a.test/secret?"));
        assert_ne!(place, Place::new("blog", "http://a.test/secret"));
        assert_eq!(place.lease(PLAIN), format!("{}:l", place.hash()));
        assert_eq!(
            place.lease(&[10; DIGEST]),
            format!("{}:l:{}", place.hash(), "0a".repeat(DIGEST))
        );
        let chunks = Chunks { id: 255, length: 9, size: 4 };
        let chunk = place.chunk(&chunks, 2);
        assert!(chunk.starts_with(place.hash()) && chunk.ends_with("ff:2"), "{chunk}");
    }

    #[test]
    fn fields_tell_variants_apart() {
        assert_eq!(field(&[("a", "1"), ("c", "x")]), field(&[("a", "1")]));
        let different = [
            field(&[]),
            field(&[("a", "")]),
            field(&[("a", "1")]),
            field(&[("b", "1")]),
            field(&[("a", "1b:0:")]),
            field(&[("a", "1"), ("b", "")]),
        ];
        for (index, one) in different.iter().enumerate() {
            assert!(different[index + 1..].iter().all(|other| other != one), "{index}");
        }
    }
}
