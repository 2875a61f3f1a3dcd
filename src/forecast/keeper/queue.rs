//! LRU and FIFO.

use super::list::{Links, List};
use super::{Item, Keeper};

/// One queue, the oldest of which goes.
#[derive(Debug)]
pub(super) struct Queue {
    links: Links,
    list: List,
    /// By key; `None` for who is not resident.
    sizes: Vec<Option<u64>>,
    capacity: u64,
    /// Whether a use makes one the newest.
    renews: bool,
}

impl Queue {
    pub(super) fn new(capacity: u64, keys: usize, renews: bool) -> Self {
        let (links, list) = (Links::new(keys), List::new());
        Self { links, list, sizes: vec![None; keys], capacity, renews }
    }

    fn size(&self, key: u32) -> Option<u64> {
        self.sizes.get(key as usize).copied().flatten()
    }
}

impl Keeper for Queue {
    fn touch(&mut self, key: u32) {
        if let Some(size) = self.size(key).filter(|_| self.renews) {
            self.list.remove(&mut self.links, key, size);
            self.list.push(&mut self.links, key, size);
        }
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        self.remove(item.key);
        if item.size > self.capacity {
            return false;
        }
        while self.list.weight + item.size > self.capacity
            && let Some(oldest) = self.list.oldest()
        {
            self.remove(oldest);
            gone.push(oldest);
        }
        self.list.push(&mut self.links, item.key, item.size);
        if let Some(size) = self.sizes.get_mut(item.key as usize) {
            *size = Some(item.size);
        }
        true
    }

    fn remove(&mut self, key: u32) {
        if let Some(size) = self.sizes.get_mut(key as usize).and_then(Option::take) {
            self.list.remove(&mut self.links, key, size);
        }
    }

    fn weight(&self) -> u64 {
        self.list.weight
    }
}
