//! Field names as small numbers, so that a stored head does not carry their text.
//!
//! The table only grows and is bounded: an origin that invents names fills it once, after which
//! its names stand in the heads themselves. Reading takes no lock.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;
use http::header::{self, HeaderName};

use crate::headers;

/// Names that the table holds.
const CAPACITY: usize = 1024;
/// Longest name that the table takes, in bytes.
const MAX_LEN: usize = 64;

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// A name's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameId(u16);

impl NameId {
    /// Not in the table: the text stands in the head.
    pub(super) const INLINE: Self = Self((1 << Self::BITS) - 1);

    /// So many bits tell all places apart: the rest of a `u16` is free for others.
    const BITS: u32 = 13;

    /// Its bits, none of them above the thirteenth.
    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    /// The place with these bits.
    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The name; `None` for [`NameId::INLINE`].
    pub(super) fn name(self) -> Option<&'static HeaderName> {
        TABLE.names.get(usize::from(self.0))?.get()
    }
}

/// The names that are in the table, for who looks up several.
pub(super) struct Known(Guard<Arc<Ids>>);

impl Known {
    pub(super) fn now() -> Self {
        Self(TABLE.ids.load())
    }

    /// The place of `name`, which is added if there is room.
    pub(super) fn id_of(&self, name: &HeaderName) -> NameId {
        self.0.get(name).copied().unwrap_or_else(|| TABLE.add(name))
    }
}

type Ids = HashMap<HeaderName, NameId, RandomState>;

struct Table {
    names: Box<[OnceLock<HeaderName>]>,
    ids: ArcSwap<Ids>,
    /// Held while a name is added; never on the way of a hit.
    writer: Mutex<()>,
}

impl Table {
    /// Starts with what responses usually carry, so that no origin can crowd these out.
    fn new() -> Self {
        let names: Box<[OnceLock<HeaderName>]> = (0..CAPACITY).map(|_| OnceLock::new()).collect();
        let mut ids = Ids::default();
        for (slot, name) in names.iter().zip(usual()) {
            ids.insert(name.clone(), NameId(ids.len() as u16));
            slot.get_or_init(|| name);
        }
        Self { names, ids: ArcSwap::from_pointee(ids), writer: Mutex::new(()) }
    }

    fn add(&self, name: &HeaderName) -> NameId {
        if name.as_str().len() > MAX_LEN {
            return NameId::INLINE;
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.ids.load_full();
        if let Some(id) = known.get(name) {
            return *id;
        }
        let Some(slot) = self.names.get(known.len()) else { return NameId::INLINE };
        // A copy of its own: the one at hand may be a slice of a connection's read buffer.
        let Ok(copy) = HeaderName::from_bytes(name.as_str().as_bytes()) else {
            return NameId::INLINE;
        };
        let id = NameId(known.len() as u16);
        slot.get_or_init(|| copy.clone());
        let mut ids = Ids::clone(&known);
        ids.insert(copy, id);
        self.ids.store(Arc::new(ids));
        id
    }
}

fn usual() -> Vec<HeaderName> {
    let mut names = vec![
        header::ACCEPT_RANGES,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
        header::ALLOW,
        header::ALT_SVC,
        header::CACHE_CONTROL,
        header::CONTENT_DISPOSITION,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_LOCATION,
        header::CONTENT_RANGE,
        header::CONTENT_SECURITY_POLICY,
        header::CONTENT_TYPE,
        header::DATE,
        header::ETAG,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::LINK,
        header::LOCATION,
        header::PRAGMA,
        header::REFERRER_POLICY,
        header::RETRY_AFTER,
        header::SERVER,
        header::SET_COOKIE,
        header::STRICT_TRANSPORT_SECURITY,
        header::TRAILER,
        header::VARY,
        header::VIA,
        header::WARNING,
        header::WWW_AUTHENTICATE,
        header::X_CONTENT_TYPE_OPTIONS,
        header::X_FRAME_OPTIONS,
        header::X_XSS_PROTECTION,
    ];
    names.extend([
        headers::CACHE_STATUS.clone(),
        headers::CDN_CACHE_CONTROL.clone(),
        headers::SEAWALL_CACHE_CONTROL.clone(),
        headers::SURROGATE_CONTROL.clone(),
    ]);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_place() {
        let name = HeaderName::from_static("x-names-test");
        let known = Known::now();
        let id = known.id_of(&name);
        assert_eq!((known.id_of(&name), Known::now().id_of(&name)), (id, id));
        assert_eq!(id.name(), Some(&name));
        assert_eq!(known.id_of(&header::ETAG).name(), Some(&header::ETAG));
    }

    #[test]
    fn long_names_are_not_held() {
        let name = HeaderName::from_bytes(&[b'x'; MAX_LEN + 1]).unwrap();
        assert_eq!(Known::now().id_of(&name), NameId::INLINE);
        assert_eq!(NameId::INLINE.name(), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let table = Table::new();
        for number in 0..CAPACITY {
            table.add(&HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap());
        }
        assert_eq!(table.add(&HeaderName::from_static("x-more")), NameId::INLINE);
        assert_eq!(table.ids.load().len(), CAPACITY);
    }
}
