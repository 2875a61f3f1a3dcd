//! W-TinyLFU: a small LRU window, and a segmented LRU that only takes from it what is asked for
//! more often than what it would displace. Uses are counted exactly here, and halved at times.

use super::list::{Links, List};
use super::{Item, Keeper};

/// Requests for each resident after which uses count half.
const PERIOD: usize = 10;

/// Uses that are counted.
const MOST_USES: u8 = 15;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Nowhere,
    Window,
    Probation,
    Protected,
}

/// The segments.
#[derive(Debug)]
pub(super) struct WTinyLfu {
    links: Links,
    window: List,
    probation: List,
    protected: List,
    places: Vec<(Place, u64)>,
    uses: Vec<u8>,
    noted: usize,
    capacity: u64,
}

impl WTinyLfu {
    pub(super) fn new(capacity: u64, keys: usize) -> Self {
        Self {
            links: Links::new(keys),
            window: List::new(),
            probation: List::new(),
            protected: List::new(),
            places: vec![(Place::Nowhere, 0); keys],
            uses: vec![0; keys],
            noted: 0,
            capacity,
        }
    }

    fn list(&mut self, place: Place) -> Option<(&mut List, &mut Links)> {
        let list = match place {
            Place::Nowhere => return None,
            Place::Window => &mut self.window,
            Place::Probation => &mut self.probation,
            Place::Protected => &mut self.protected,
        };
        Some((list, &mut self.links))
    }

    fn place(&self, key: u32) -> (Place, u64) {
        self.places.get(key as usize).copied().unwrap_or_default()
    }

    fn move_to(&mut self, key: u32, to: Place) {
        let (from, size) = self.place(key);
        if let Some((list, links)) = self.list(from) {
            list.remove(links, key, size);
        }
        if let Some((list, links)) = self.list(to) {
            list.push(links, key, size);
        }
        if let Some(place) = self.places.get_mut(key as usize) {
            place.0 = to;
        }
    }

    fn uses(&self, key: u32) -> u8 {
        self.uses.get(key as usize).copied().unwrap_or(0)
    }

    fn note(&mut self, key: u32) {
        if let Some(uses) = self.uses.get_mut(key as usize) {
            *uses = (*uses + 1).min(MOST_USES);
        }
        self.noted += 1;
        let residents = self.window.len + self.probation.len + self.protected.len;
        if self.noted > PERIOD * residents.max(64) {
            self.noted = 0;
            self.uses.iter_mut().for_each(|uses| *uses /= 2);
        }
    }

    /// The window's share: a hundredth.
    fn window_capacity(&self) -> u64 {
        self.capacity / 100
    }

    /// Those that the window has no room for go to the main part, or go.
    fn settle(&mut self, gone: &mut Vec<u32>) {
        while self.window.weight > self.window_capacity()
            && let Some(candidate) = self.window.oldest()
        {
            self.move_to(candidate, Place::Probation);
            self.challenge(candidate, gone);
        }
    }

    fn challenge(&mut self, candidate: u32, gone: &mut Vec<u32>) {
        while self.weight() > self.capacity {
            let oldest = self.probation.oldest().filter(|oldest| *oldest != candidate);
            let victim = oldest.or_else(|| self.protected.oldest()).unwrap_or(candidate);
            let goes = if self.uses(candidate) > self.uses(victim) { victim } else { candidate };
            self.move_to(goes, Place::Nowhere);
            gone.push(goes);
            if goes == candidate {
                return;
            }
        }
    }
}

impl Keeper for WTinyLfu {
    fn touch(&mut self, key: u32) {
        self.note(key);
        match self.place(key).0 {
            Place::Nowhere => {}
            Place::Window => self.move_to(key, Place::Window),
            Place::Probation | Place::Protected => {
                self.move_to(key, Place::Protected);
                let most = (self.capacity - self.window_capacity()) / 5 * 4;
                while self.protected.weight > most
                    && let Some(oldest) = self.protected.oldest()
                {
                    self.move_to(oldest, Place::Probation);
                }
            }
        }
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        let (before, _) = self.place(item.key);
        self.move_to(item.key, Place::Nowhere);
        if before == Place::Nowhere {
            self.note(item.key);
        }
        if item.size > self.capacity {
            return false;
        }
        if let Some(place) = self.places.get_mut(item.key as usize) {
            place.1 = item.size;
        }
        let to = if before == Place::Nowhere { Place::Window } else { before };
        self.move_to(item.key, to);
        self.settle(gone);
        if to != Place::Window {
            self.challenge(item.key, gone);
        }
        self.place(item.key).0 != Place::Nowhere
    }

    fn remove(&mut self, key: u32) {
        self.move_to(key, Place::Nowhere);
    }

    fn weight(&self) -> u64 {
        self.window.weight + self.probation.weight + self.protected.weight
    }
}
