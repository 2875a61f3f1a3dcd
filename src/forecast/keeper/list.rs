//! Doubly linked lists of keys, the links at their keys' places: a key is in one list at most.

const NONE: u32 = u32::MAX;

/// The links of all keys.
#[derive(Debug)]
pub(super) struct Links(Vec<Link>);

#[derive(Clone, Copy, Debug)]
struct Link {
    newer: u32,
    older: u32,
}

/// The ends of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    newest: u32,
    oldest: u32,
    pub(super) weight: u64,
    pub(super) len: usize,
}

impl Links {
    pub(super) fn new(keys: usize) -> Self {
        Self(vec![Link { newer: NONE, older: NONE }; keys])
    }

    fn at(&self, key: u32) -> Link {
        self.0.get(key as usize).copied().unwrap_or(Link { newer: NONE, older: NONE })
    }

    fn change(&mut self, key: u32, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.0.get_mut(key as usize) {
            change(link);
        }
    }

    /// The one that came after `key`.
    pub(super) fn newer(&self, key: u32) -> Option<u32> {
        Some(self.at(key).newer).filter(|key| *key != NONE)
    }
}

impl List {
    pub(super) const fn new() -> Self {
        Self { newest: NONE, oldest: NONE, weight: 0, len: 0 }
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        Some(self.oldest).filter(|key| *key != NONE)
    }

    /// Puts in `key`, which is in no list, as the newest.
    pub(super) fn push(&mut self, links: &mut Links, key: u32, size: u64) {
        let before = self.newest;
        links.change(key, |link| *link = Link { newer: NONE, older: before });
        if before == NONE {
            self.oldest = key;
        } else {
            links.change(before, |link| link.newer = key);
        }
        self.newest = key;
        self.weight += size;
        self.len += 1;
    }

    /// Takes out `key`, which is in this list.
    pub(super) fn remove(&mut self, links: &mut Links, key: u32, size: u64) {
        let Link { newer, older } = links.at(key);
        if newer == NONE {
            self.newest = older;
        } else {
            links.change(newer, |link| link.older = older);
        }
        if older == NONE {
            self.oldest = newer;
        } else {
            links.change(older, |link| link.newer = newer);
        }
        self.weight -= size;
        self.len -= 1;
    }
}
