//! What a stored response can be purged by beside its URL: tags, and cache groups.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::key::Target;

/// Longest tag or group, in bytes.
const MAX_LEN: usize = 1024;

/// Tags and groups of one response at most.
const MAX_COUNT: usize = 4096;

/// Between a group's origin and its name. No field value holds a line feed, so no tag reads like a
/// group, and no two groups read alike.
const SEPARATOR: u8 = b'\n';

/// A tag, or a group of an origin. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Label(Arc<[u8]>);

/// What is wrong with a tag or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing names nothing.
    #[error("the name is empty")]
    Empty,
    /// No response has one that long.
    #[error("the name is longer than {MAX_LEN} bytes")]
    TooLong,
    /// No response has one with control characters.
    #[error("the name has a control character")]
    Control,
}

impl Label {
    /// A tag; space around it does not count.
    ///
    /// # Errors
    /// When no response can have it.
    pub fn tag(name: &[u8]) -> Result<Self, LabelError> {
        let name = name.trim_ascii();
        checked(name)?;
        Ok(Self(name.into()))
    }

    /// A group of `origin`'s scheme, host and port (RFC 9875 §2.1).
    ///
    /// # Errors
    /// When no response can be in it.
    pub fn group(origin: &Target, name: &[u8]) -> Result<Self, LabelError> {
        checked(name)?;
        Ok(Self(group(origin, name).into()))
    }

    /// Whether it is a group, and no tag.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.0.contains(&SEPARATOR)
    }

    /// The origin that a group is of (none for a tag), and the name.
    #[must_use]
    pub fn origin_and_name(&self) -> (Option<&[u8]>, &[u8]) {
        match self.0.iter().position(|byte| *byte == SEPARATOR) {
            Some(end) => (self.0.get(..end), self.0.get(end + 1..).unwrap_or_default()),
            None => (None, &self.0),
        }
    }

    /// As responses have it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for Label {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Label({:?})", String::from_utf8_lossy(&self.0))
    }
}

fn checked(name: &[u8]) -> Result<(), LabelError> {
    match name {
        [] => Err(LabelError::Empty),
        _ if name.len() > MAX_LEN => Err(LabelError::TooLong),
        // A tab may stand in a field's value (RFC 9110 §5.5).
        _ if name.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') => {
            Err(LabelError::Control)
        }
        _ => Ok(()),
    }
}

fn group(origin: &Target, name: &[u8]) -> Vec<u8> {
    let origin = [origin.scheme().as_bytes(), b"://", origin.authority.as_str().as_bytes()];
    [origin.concat().as_slice(), name].join(&SEPARATOR)
}

/// A response has more tags than are kept of one, or a longer one. Without any of them it would
/// outlive its purge, so it is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTags;

/// All tags and groups of one response: one block of bytes, in order, each once.
#[derive(PartialEq, Eq)]
pub struct Labels {
    block: Box<[u8]>,
    /// Where each of them ends in the block.
    ends: Box<[u32]>,
}

impl Labels {
    /// Of any tags and groups; `None` if there are none.
    pub(super) fn new(collected: Collected<'_>) -> Option<Self> {
        let mut all = collected.0;
        all.sort_unstable();
        all.dedup();
        if all.is_empty() {
            return None;
        }
        let mut block = Vec::with_capacity(all.iter().map(|label| label.len()).sum());
        let mut ends = Vec::with_capacity(all.len());
        for label in all {
            block.extend_from_slice(&label);
            // Invariant: `Collected` bounds the block to a few MiB.
            ends.push(u32::try_from(block.len()).unwrap_or(u32::MAX));
        }
        Some(Self { block: block.into(), ends: ends.into() })
    }

    /// How many.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// All of them, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// The tags among them.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(|label| !label.contains(&SEPARATOR))
    }

    /// The names of the groups among them, without the origin that they are of.
    pub fn groups(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().filter_map(|label| {
            let end = label.iter().position(|byte| *byte == SEPARATOR)?;
            label.get(end + 1..)
        })
    }

    /// Whether `label` is among them.
    #[must_use]
    pub fn contains(&self, label: &Label) -> bool {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.at(middle).cmp(label.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }

    /// Bytes on the heap, with what the allocator and the reference counts take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        const SHARED: usize = 2 * size_of::<usize>();
        size_of::<Self>() + SHARED + self.block.len() + size_of_val::<[u32]>(&self.ends)
    }

    fn at(&self, index: usize) -> &[u8] {
        let end = |index: usize| self.ends.get(index).map_or(0, |end| *end as usize);
        let start = index.checked_sub(1).map_or(0, end);
        self.block.get(start..end(index)).unwrap_or_default()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// Tags and groups that are being collected, within bounds.
#[derive(Debug, Default)]
pub(super) struct Collected<'a>(Vec<Cow<'a, [u8]>>);

impl<'a> Collected<'a> {
    /// Adds a tag; an empty one is none.
    pub(super) fn tag(&mut self, name: impl Into<Cow<'a, [u8]>>) -> Result<(), TooManyTags> {
        let name = name.into();
        self.add(name.len(), || name)
    }

    /// Adds a group of an origin.
    pub(super) fn group(&mut self, origin: &Target, name: &str) -> Result<(), TooManyTags> {
        self.add(name.len(), || group(origin, name.as_bytes()).into())
    }

    fn add(
        &mut self,
        len: usize,
        label: impl FnOnce() -> Cow<'a, [u8]>,
    ) -> Result<(), TooManyTags> {
        match len {
            0 => return Ok(()),
            _ if len > MAX_LEN || self.0.len() >= MAX_COUNT => return Err(TooManyTags),
            _ => self.0.push(label()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(tags: &[&str]) -> Option<Labels> {
        let mut collected = Collected::default();
        for tag in tags {
            collected.tag(tag.as_bytes()).expect("few enough");
        }
        Labels::new(collected)
    }

    fn tag(name: &str) -> Label {
        Label::tag(name.as_bytes()).expect("a tag")
    }

    #[test]
    fn names_are_exact_and_groups_belong_to_their_origin() {
        let all = labels(&["b", "/items/1", "a", "b", ""]).expect("some");
        assert_eq!(all.iter().collect::<Vec<_>>(), [&b"/items/1"[..], b"a", b"b"]);
        assert!(all.contains(&tag("/items/1")) && all.contains(&tag("b")));
        assert!(!all.contains(&tag("/items")) && !all.contains(&tag("B")));
        assert!(labels(&[]).is_none() && labels(&[""]).is_none());
        let origin = |url| Target::parse(url).expect("a URL");
        let group = |url| Label::group(&origin(url), b"a").expect("a group");
        assert_eq!(group("http://h/x"), group("HTTP://H:80/y"));
        for other in ["https://h/", "http://h:81/", "http://i/"] {
            assert_ne!(group("http://h/"), group(other));
        }
        assert!(group("http://h/").is_group() && !tag("http://h/a").is_group());
    }

    #[test]
    fn what_no_response_can_have_is_refused() {
        for (name, error) in [
            (" ".to_owned(), LabelError::Empty),
            ("a".repeat(1025), LabelError::TooLong),
            ("http://h\na".to_owned(), LabelError::Control),
        ] {
            assert_eq!(Label::tag(name.as_bytes()), Err(error));
        }
    }

    #[test]
    fn more_than_are_kept_are_told_and_not_dropped() {
        let mut collected = Collected::default();
        for number in 0..MAX_COUNT {
            assert_eq!(collected.tag(number.to_string().into_bytes()), Ok(()));
        }
        assert_eq!(collected.tag(&b"one more"[..]), Err(TooManyTags));
        let long = "a".repeat(MAX_LEN + 1);
        assert_eq!(Collected::default().tag(long.as_bytes()), Err(TooManyTags));
        assert_eq!(Collected::default().tag(&long.as_bytes()[1..]), Ok(()));
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_found_and_nothing_else(
            tags in prop::collection::vec("[ab]{1,3}", 0..12),
            asked in "[ab]{1,3}",
        ) {
            let named: Vec<_> = tags.iter().map(String::as_str).collect();
            let found = labels(&named).is_some_and(|all| all.contains(&tag(&asked)));
            prop_assert_eq!(found, tags.contains(&asked));
        }
    }
}
