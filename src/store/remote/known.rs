//! Bodies in chunks that this process has written: when a validation gives one a new head, only
//! that has to be written.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::codec::Chunks;
use crate::body::Blocks;

/// Bodies that are remembered.
const MOST: usize = 4096;

/// Where bodies are that memory still holds.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<usize, (Weak<Blocks>, Chunks)>);

impl Known {
    pub(super) fn get(&self, body: &Arc<Blocks>) -> Option<Chunks> {
        self.0.get(&address(body)).map(|(_, chunks)| *chunks)
    }

    pub(super) fn note(&mut self, body: &Arc<Blocks>, chunks: Chunks) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (body, _)| body.strong_count() > 0);
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(address(body), (Arc::downgrade(body), chunks));
    }

    pub(super) fn forget(&mut self, body: &Arc<Blocks>) {
        self.0.remove(&address(body));
    }
}

/// An address is compared and never followed; the `Weak` beside it keeps it from being given to
/// another body.
fn address(body: &Arc<Blocks>) -> usize {
    Arc::as_ptr(body).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_known_by_itself_and_not_by_its_bytes() {
        let body = || Arc::new(Blocks::new([bytes::Bytes::from_static(b"x")], None));
        let (one, other) = (body(), body());
        let chunks = Chunks { id: 1, length: 1, size: 1 };
        let mut known = Known::default();
        known.note(&one, chunks);
        assert_eq!((known.get(&one), known.get(&other)), (Some(chunks), None));
        known.forget(&one);
        assert_eq!(known.get(&one), None);
    }

    #[test]
    fn what_memory_holds_no_more_makes_room() {
        let mut known = Known::default();
        let chunks = Chunks { id: 1, length: 1, size: 1 };
        let kept = Arc::new(Blocks::new([], None));
        known.note(&kept, chunks);
        for _ in 0..2 * MOST {
            known.note(&Arc::new(Blocks::new([], None)), chunks);
        }
        assert!(known.0.len() <= MOST && known.get(&kept).is_some());
    }
}
