//! Nobody goes.

use super::{Item, Keeper};

/// What everybody weighs.
#[derive(Debug)]
pub(super) struct Unbounded {
    sizes: Vec<u64>,
    weight: u64,
}

impl Unbounded {
    pub(super) fn new(keys: usize) -> Self {
        Self { sizes: vec![0; keys], weight: 0 }
    }

    fn set(&mut self, key: u32, size: u64) {
        if let Some(known) = self.sizes.get_mut(key as usize) {
            self.weight = self.weight - *known + size;
            *known = size;
        }
    }
}

impl Keeper for Unbounded {
    fn touch(&mut self, _: u32) {}

    fn put(&mut self, item: Item, _: &mut Vec<u32>) -> bool {
        self.set(item.key, item.size);
        true
    }

    fn remove(&mut self, key: u32) {
        self.set(key, 0);
    }

    fn weight(&self) -> u64 {
        self.weight
    }

    fn size(&self, key: u32) -> u64 {
        self.sizes.get(key as usize).copied().unwrap_or(0)
    }
}
