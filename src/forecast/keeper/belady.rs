//! Belady's rule: who is asked for latest goes (Belady, 1966). It knows the future, so it is no
//! policy; where all objects have one size, nobody has more hits.

use std::collections::BinaryHeap;

use super::{Item, Keeper};

#[derive(Clone, Copy, Debug, Default)]
struct State {
    size: u64,
    /// The request after the last one seen.
    next: u32,
    is_resident: bool,
}

/// Residents by their next request; the heap also holds what does not count any more.
#[derive(Debug)]
pub(super) struct Belady {
    states: Vec<State>,
    heap: BinaryHeap<(u32, u32)>,
    /// When the key that is asked for now is asked for again.
    next: u32,
    weight: u64,
    capacity: u64,
}

impl Belady {
    pub(super) fn new(capacity: u64, keys: usize) -> Self {
        let states = vec![State::default(); keys];
        Self { states, heap: BinaryHeap::new(), next: super::NEVER, weight: 0, capacity }
    }

    /// Those whose next request is after `next`, the latest first, until `needed` bytes are free;
    /// `None` where all of them are not enough.
    fn choose(&mut self, needed: u64, next: u32) -> Option<Vec<u32>> {
        let (mut chosen, mut freed) = (Vec::new(), 0);
        while freed < needed
            && let Some((at, key)) = self.heap.pop()
        {
            let state = self.states.get(key as usize).copied().unwrap_or_default();
            // Who was stored again for the same request is there twice, one after the other.
            if !state.is_resident || state.next != at || chosen.last() == Some(&(at, key)) {
                continue;
            }
            if at <= next {
                self.heap.push((at, key));
                break;
            }
            freed += state.size;
            chosen.push((at, key));
        }
        if freed < needed {
            self.heap.extend(chosen);
            return None;
        }
        Some(chosen.into_iter().map(|(_, key)| key).collect())
    }
}

impl Keeper for Belady {
    fn foresee(&mut self, next: u32) {
        self.next = next;
    }

    fn touch(&mut self, key: u32) {
        let next = self.next;
        if let Some(state) = self.states.get_mut(key as usize).filter(|it| it.is_resident) {
            state.next = next;
            self.heap.push((next, key));
        }
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        self.remove(item.key);
        if item.size > self.capacity || self.next == super::NEVER {
            return false;
        }
        let needed = (self.weight + item.size).saturating_sub(self.capacity);
        let Some(chosen) = self.choose(needed, self.next) else { return false };
        for key in chosen {
            self.remove(key);
            gone.push(key);
        }
        if let Some(state) = self.states.get_mut(item.key as usize) {
            *state = State { size: item.size, next: self.next, is_resident: true };
            self.weight += item.size;
            self.heap.push((self.next, item.key));
        }
        true
    }

    fn remove(&mut self, key: u32) {
        if let Some(state) = self.states.get_mut(key as usize).filter(|state| state.is_resident) {
            state.is_resident = false;
            self.weight -= state.size;
        }
    }

    fn weight(&self) -> u64 {
        self.weight
    }
}
