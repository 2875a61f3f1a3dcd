//! SIEVE: one queue, and a hand that spares whoever was used since it passed.

use super::list::{Links, List};
use super::{Item, Keeper};

/// The queue and the hand.
#[derive(Debug)]
pub(super) struct Sieve {
    links: Links,
    list: List,
    /// By key: its size if it is resident, and whether it was used.
    residents: Vec<Option<(u64, bool)>>,
    hand: Option<u32>,
    capacity: u64,
}

impl Sieve {
    pub(super) fn new(capacity: u64, keys: usize) -> Self {
        let (links, list) = (Links::new(keys), List::new());
        Self { links, list, residents: vec![None; keys], hand: None, capacity }
    }

    fn evict(&mut self) -> Option<u32> {
        let mut at = self.hand.or(self.list.oldest())?;
        while let Some(Some((_, used @ true))) = self.residents.get_mut(at as usize) {
            *used = false;
            at = self.links.newer(at).or(self.list.oldest())?;
        }
        self.hand = Some(at);
        self.remove(at);
        Some(at)
    }
}

impl Keeper for Sieve {
    fn touch(&mut self, key: u32) {
        if let Some(Some((_, used))) = self.residents.get_mut(key as usize) {
            *used = true;
        }
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        self.remove(item.key);
        if item.size > self.capacity {
            return false;
        }
        while self.list.weight + item.size > self.capacity
            && let Some(victim) = self.evict()
        {
            gone.push(victim);
        }
        self.list.push(&mut self.links, item.key, item.size);
        if let Some(resident) = self.residents.get_mut(item.key as usize) {
            *resident = Some((item.size, false));
        }
        true
    }

    fn remove(&mut self, key: u32) {
        if let Some((size, _)) = self.residents.get_mut(key as usize).and_then(Option::take) {
            if self.hand == Some(key) {
                self.hand = self.links.newer(key);
            }
            self.list.remove(&mut self.links, key, size);
        }
    }

    fn weight(&self) -> u64 {
        self.list.weight
    }
}
