//! What is keyed of a request, and who says what is done with it.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{Keys, Ruled};
use http::Method;

use crate::error::ErrorKind;
use crate::forecast::trace::Trace;
use crate::key::{Target, TargetError};
use crate::proxy::Routes;
use crate::rules;

/// Not placed yet.
const NOWHERE: Placed = Placed { key: u32::MAX, ruling: u32::MAX };

/// Where a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) key: u32,
    pub(super) ruling: u32,
}

/// Where requests went before.
#[derive(Debug)]
pub(super) struct Places {
    memo: Memo,
    keys: Keys,
    pub(super) key_lengths: Vec<u32>,
    pub(super) ruled: Vec<Ruled>,
}

#[derive(Debug)]
enum Memo {
    ByUrl(Vec<Placed>),
    ByUrlAndAsker(HashMap<(u32, u32), Placed, FixedState>),
}

impl Places {
    pub(super) fn new(has_rules: bool, urls: usize) -> Self {
        let memo = if has_rules {
            Memo::ByUrlAndAsker(HashMap::default())
        } else {
            Memo::ByUrl(vec![NOWHERE; urls])
        };
        Self { memo, keys: Keys::default(), key_lengths: Vec::new(), ruled: Vec::new() }
    }

    /// Where this goes, which is asked for once only.
    pub(super) fn place(
        &mut self,
        url: u32,
        asker: u32,
        find: impl FnOnce(u32, u32, &mut Keys) -> (u32, Ruled),
    ) -> Placed {
        let known = match &self.memo {
            Memo::ByUrl(places) => places.get(url as usize).filter(|it| **it != NOWHERE),
            Memo::ByUrlAndAsker(places) => places.get(&(url, asker)),
        };
        if let Some(known) = known {
            return *known;
        }
        let (key, ruled) = find(url, asker, &mut self.keys);
        if self.keys.len() > self.key_lengths.len() {
            self.key_lengths.push(self.keys.get(key).len() as u32);
        }
        let placed = Placed { key, ruling: self.number(&ruled) };
        match &mut self.memo {
            Memo::ByUrl(memo) => {
                if let Some(place) = memo.get_mut(url as usize) {
                    *place = placed;
                }
            }
            Memo::ByUrlAndAsker(memo) => {
                memo.insert((url, asker), placed);
            }
        }
        placed
    }

    /// The key of a variant of `key`, told apart by `value`.
    pub(super) fn variant(&mut self, key: u32, value: &[u8]) -> u32 {
        // No key has a line's end in it.
        let text = [self.keys.get(key), b"\n", value].concat();
        let (variant, is_new) = self.keys.intern(&text);
        if is_new {
            let length = self.key_lengths.get(key as usize).copied().unwrap_or(0);
            self.key_lengths.push(length);
        }
        variant
    }

    fn number(&mut self, ruled: &Ruled) -> u32 {
        let same = |known: &Ruled| match (known, ruled) {
            (Ruled::Key, Ruled::Key) => true,
            (Ruled::By(one), Ruled::By(other)) => std::sync::Arc::ptr_eq(one, other),
            (Ruled::Refused(one), Ruled::Refused(other)) => one == other,
            _ => false,
        };
        let known = self.ruled.iter().position(same);
        let number = known.unwrap_or_else(|| {
            self.ruled.push(ruled.clone());
            self.ruled.len() - 1
        });
        number as u32
    }
}

/// What is keyed, and by whose word.
pub(super) fn find(
    routes: &Routes,
    trace: &Trace,
    url: u32,
    asker: u32,
    keys: &mut Keys,
) -> (u32, Ruled) {
    let text = trace.text(url);
    let known = trace.asked.get(url as usize).zip(trace.askers.get(asker as usize));
    let Some((known, asker)) = known else { return (keys.intern(text).0, Ruled::Key) };
    if known.is_key {
        return (keys.intern(text).0, Ruled::Key);
    }
    let target = std::str::from_utf8(text).map_err(|_| TargetError::Path).and_then(Target::parse);
    let target = match target {
        Ok(target) => target,
        Err(error) => {
            let kind = match error {
                TargetError::Path | TargetError::Scheme => ErrorKind::BadRequest,
                TargetError::Host | TargetError::Port => ErrorKind::BadHost,
            };
            return (keys.intern(text).0, Ruled::Refused(kind.word()));
        }
    };
    let ruling = routes.ruling(&rules::Request {
        method: &asker.method,
        target: &target,
        headers: &asker.headers,
        client: asker.client,
    });
    let Some(ruling) = ruling else {
        return (keys.intern(text).0, Ruled::Refused(ErrorKind::NoRoute.word()));
    };
    let looked_up =
        ruling.terms().cache.enabled && matches!(asker.method, Method::GET | Method::HEAD);
    let keyed = ruling.keyed(target, &mut asker.headers.clone(), looked_up);
    let key = keyed.with_key_str(|key| keys.intern(key.as_bytes()).0);
    (key, Ruled::By(ruling))
}
