//! What is asked for most, and how somebody else could ask for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Memory;
use super::coverage::Coverage;
use super::response::StoredResponse;
use super::stamps::{Scope, Standing};
use crate::key::CacheKey;

/// Bytes that a request for something may take as text.
const MOST_TEXT: usize = 4096;

/// A stored response, and how often its key was asked for lately.
#[derive(Clone, Debug)]
pub struct Hot {
    /// Its key.
    pub key: CacheKey,
    /// The response.
    pub response: Arc<StoredResponse>,
    /// As the evictor's sketch tells: from 0 for not since it was stored to 255 for at least that.
    pub uses: u8,
}

/// A request that a stored response answers: a GET of its URL with the fields that it varies by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sought {
    /// The URL, as the key has it.
    pub url: String,
    /// The fields, in normal form.
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

impl Memory {
    /// What is `wanted` of all that is stored, the most asked for first. Looks at everything.
    #[must_use]
    pub fn hottest(
        &self,
        most: usize,
        wanted: impl Fn(&str, &StoredResponse, u8) -> bool,
    ) -> Vec<Hot> {
        // The least of them on top, to make room for what is more.
        let mut hottest: BinaryHeap<Ranked> = BinaryHeap::new();
        self.each(|key, variants, uses| {
            for response in variants.as_slice() {
                let is_more = hottest.peek().is_none_or(|least| uses > least.0.uses);
                if (hottest.len() < most || is_more) && wanted(key, response, uses) {
                    let (key, response) = (CacheKey::from_text(key), Arc::clone(response));
                    hottest.push(Ranked(Hot { key, response, uses }));
                    if hottest.len() > most {
                        hottest.pop();
                    }
                }
            }
        });
        hottest.into_sorted_vec().into_iter().map(|Ranked(hot)| hot).collect()
    }

    /// What a soft purge of these has left stale: URLs that are named, and of all else what has been
    /// asked for lately, the most first.
    #[must_use]
    pub fn softly_purged(&self, scopes: &[Scope], most: usize) -> Vec<Hot> {
        let is_stale = |key: &str, response: &StoredResponse| {
            self.standing(key, &response.stamp) == Standing::Soft
        };
        let named = |scope: &Scope| match scope {
            Scope::Url(url) => Some(url.clone()),
            _ => None,
        };
        if let Some(urls) = scopes.iter().map(named).collect::<Option<Vec<_>>>() {
            // Nothing has to be searched for.
            let stored = urls.iter().filter_map(|url| Some((url, self.peek(url)?)));
            let hot = stored.flat_map(|(url, variants)| {
                let (key, uses) = (CacheKey::from_text(url), self.uses(url));
                let all = variants.as_slice().to_vec().into_iter();
                all.map(move |response| Hot { key: key.clone(), response, uses })
            });
            let mut hot: Vec<_> =
                hot.filter(|hot| is_stale(hot.key.as_str(), &hot.response)).take(most).collect();
            hot.sort_by_key(|hot| Reverse(hot.uses));
            return hot;
        }
        let coverage = Coverage::new(scopes);
        self.hottest(most, |key, response, uses| {
            let labels = response.stamp.labels().map(AsRef::as_ref);
            uses > 0 && coverage.covers(key, labels) && is_stale(key, response)
        })
    }
}

/// By uses, the most first.
struct Ranked(Hot);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.0.uses == other.0.uses
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.uses.cmp(&self.0.uses)
    }
}

impl Hot {
    /// How to ask for it; `None` where that can't be told from what is stored, or would be to ask
    /// in somebody's name.
    #[must_use]
    pub fn sought(&self) -> Option<Sought> {
        if self.key.has_parts() {
            return None;
        }
        let url = self.key.as_str().to_owned();
        let Some(vary) = self.response.head.vary() else {
            return Some(Sought { url, fields: Vec::new() });
        };
        let mut fields = Vec::new();
        for (name, value) in vary.nominated() {
            if *name == COOKIE || *name == AUTHORIZATION {
                return None;
            }
            if let Some(value) = value {
                fields.push((name.clone(), HeaderValue::from_bytes(value).ok()?));
            }
        }
        let sought = Sought { url, fields };
        vary.matches(&sought.headers()).then_some(sought)
    }
}

impl Sought {
    /// The fields, as a request has them.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.fields {
            headers.append(name, value.clone());
        }
        headers
    }

    /// As text: the URL, and a line for each field. `None` where that is too much.
    #[must_use]
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut text = self.url.clone().into_bytes();
        for (name, value) in &self.fields {
            text.push(b'\n');
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
        }
        (text.len() <= MOST_TEXT).then_some(text)
    }

    /// Reads such text, whoever wrote it.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        if text.len() > MOST_TEXT {
            return None;
        }
        let mut lines = text.split(|byte| *byte == b'\n');
        let url = std::str::from_utf8(lines.next()?).ok()?.to_owned();
        let mut fields = Vec::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let name = HeaderName::from_bytes(name).ok()?;
            if name == COOKIE || name == AUTHORIZATION {
                return None;
            }
            fields.push((name, HeaderValue::from_bytes(value.get(1..)?).ok()?));
        }
        Some(Self { url, fields })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_is_asked_in_anybodys_name() {
        let gzip = (http::header::ACCEPT_ENCODING, HeaderValue::from_static("gzip:x"));
        let sought = Sought { url: "http://a.test/".to_owned(), fields: vec![gzip] };
        let text = sought.write().expect("short");
        assert_eq!(text, b"http://a.test/\naccept-encoding:gzip:x");
        assert_eq!(Sought::read(&text), Some(sought));
        for text in ["u\ncookie:a", "u\nAuthorization:a", "u\n", "u\nno colon", "u\nx:\r"] {
            assert_eq!(Sought::read(text.as_bytes()), None, "{text:?}");
        }
        let long = Sought { url: "x".repeat(MOST_TEXT + 1), fields: Vec::new() };
        assert!(long.write().is_none());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(sought) = Sought::read(&text) {
                prop_assert_eq!(Sought::read(&sought.write().expect("it was short")), Some(sought));
            }
        }
    }
}
