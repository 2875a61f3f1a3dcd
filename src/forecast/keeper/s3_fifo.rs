//! S3-FIFO: a small queue for newcomers, a main one, and a memory of those who left the small one.

use std::collections::VecDeque;

use super::list::{Links, List};
use super::{Item, Keeper};

/// Uses that are counted of a resident.
const MOST_USES: u8 = 3;

/// Where a key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Nowhere,
    Small,
    Main,
    /// It left the small queue not long ago.
    Ghost,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    size: u64,
    uses: u8,
    place: Place,
    /// Tells its last departure from earlier ones.
    departures: u32,
}

/// The queues.
#[derive(Debug)]
pub(super) struct S3Fifo {
    links: Links,
    small: List,
    main: List,
    states: Vec<State>,
    /// Oldest first.
    ghosts: VecDeque<(u32, u32, u64)>,
    ghost_weight: u64,
    capacity: u64,
}

impl S3Fifo {
    pub(super) fn new(capacity: u64, keys: usize) -> Self {
        Self {
            links: Links::new(keys),
            small: List::new(),
            main: List::new(),
            states: vec![State::default(); keys],
            ghosts: VecDeque::new(),
            ghost_weight: 0,
            capacity,
        }
    }

    fn state(&self, key: u32) -> State {
        self.states.get(key as usize).copied().unwrap_or_default()
    }

    fn change(&mut self, key: u32, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.states.get_mut(key as usize) {
            change(state);
        }
    }

    fn place(&mut self, key: u32, place: Place, uses: u8) {
        let size = self.state(key).size;
        match place {
            Place::Small => self.small.push(&mut self.links, key, size),
            Place::Main => self.main.push(&mut self.links, key, size),
            Place::Nowhere | Place::Ghost => {}
        }
        self.change(key, |state| (state.place, state.uses) = (place, uses));
    }

    /// One goes, or moves to where it may stay longer.
    fn evict(&mut self) -> Option<u32> {
        loop {
            let is_full = self.small.weight > self.capacity / 10 || self.main.len == 0;
            if let Some(key) = self.small.oldest().filter(|_| is_full) {
                let State { size, uses, .. } = self.state(key);
                self.small.remove(&mut self.links, key, size);
                if uses > 1 {
                    self.place(key, Place::Main, 0);
                    continue;
                }
                self.place(key, Place::Ghost, 0);
                self.remember(key, size);
                return Some(key);
            }
            let key = self.main.oldest()?;
            let State { size, uses, .. } = self.state(key);
            self.main.remove(&mut self.links, key, size);
            if uses > 0 {
                self.place(key, Place::Main, uses - 1);
                continue;
            }
            self.place(key, Place::Nowhere, 0);
            return Some(key);
        }
    }

    /// For as long as others of as many bytes as the main queue has have not left.
    fn remember(&mut self, key: u32, size: u64) {
        self.change(key, |state| state.departures = state.departures.wrapping_add(1));
        self.ghosts.push_back((key, self.state(key).departures, size));
        self.ghost_weight += size;
        while self.ghost_weight > self.capacity - self.capacity / 10
            && let Some((key, departure, size)) = self.ghosts.pop_front()
        {
            self.ghost_weight -= size;
            let state = self.state(key);
            if state.place == Place::Ghost && state.departures == departure {
                self.change(key, |state| state.place = Place::Nowhere);
            }
        }
    }
}

impl Keeper for S3Fifo {
    fn touch(&mut self, key: u32) {
        self.change(key, |state| state.uses = (state.uses + 1).min(MOST_USES));
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        let before = self.state(item.key);
        let stays = matches!(before.place, Place::Small | Place::Main);
        self.remove(item.key);
        if item.size > self.capacity {
            return false;
        }
        while self.weight() + item.size > self.capacity
            && let Some(victim) = self.evict()
        {
            gone.push(victim);
        }
        self.change(item.key, |state| state.size = item.size);
        match before.place {
            place if stays => self.place(item.key, place, before.uses),
            Place::Ghost => self.place(item.key, Place::Main, 0),
            _ => self.place(item.key, Place::Small, 0),
        }
        true
    }

    fn remove(&mut self, key: u32) {
        let State { size, place, .. } = self.state(key);
        match place {
            Place::Small => self.small.remove(&mut self.links, key, size),
            Place::Main => self.main.remove(&mut self.links, key, size),
            Place::Nowhere | Place::Ghost => return,
        }
        self.change(key, |state| state.place = Place::Nowhere);
    }

    fn weight(&self) -> u64 {
        self.small.weight + self.main.weight
    }
}
