//! Greedy-Dual-Size-Frequency, as Squid has it: `floor + uses / size`, with an exact heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Item, Keeper};

#[derive(Clone, Copy, Debug, Default)]
struct State {
    size: u64,
    uses: f64,
    priority: f64,
    is_resident: bool,
}

/// The heap, which also holds priorities that do not count any more.
#[derive(Debug)]
pub(super) struct Gdsf {
    states: Vec<State>,
    heap: BinaryHeap<Reverse<(Ordered, u32)>>,
    floor: f64,
    weight: u64,
    capacity: u64,
}

/// A priority, which is never negative: its bits are ordered as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered(u64);

impl Gdsf {
    pub(super) fn new(capacity: u64, keys: usize) -> Self {
        let states = vec![State::default(); keys];
        Self { states, heap: BinaryHeap::new(), floor: 0.0, weight: 0, capacity }
    }

    fn raise(&mut self, key: u32) {
        let Some(state) = self.states.get_mut(key as usize) else { return };
        state.uses += 1.0;
        state.priority = self.floor + state.uses / state.size.max(1) as f64;
        self.heap.push(Reverse((Ordered(state.priority.to_bits()), key)));
    }

    fn evict(&mut self) -> Option<u32> {
        loop {
            let Reverse((Ordered(bits), key)) = self.heap.pop()?;
            let state = self.states.get(key as usize)?;
            if state.is_resident && state.priority.to_bits() == bits {
                self.floor = state.priority;
                self.remove(key);
                return Some(key);
            }
        }
    }
}

impl Keeper for Gdsf {
    fn touch(&mut self, key: u32) {
        if self.states.get(key as usize).is_some_and(|state| state.is_resident) {
            self.raise(key);
        }
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        let uses = self.states.get(item.key as usize).filter(|it| it.is_resident).map(|it| it.uses);
        self.remove(item.key);
        if item.size > self.capacity {
            return false;
        }
        while self.weight + item.size > self.capacity
            && let Some(victim) = self.evict()
        {
            gone.push(victim);
        }
        if let Some(state) = self.states.get_mut(item.key as usize) {
            let uses = uses.unwrap_or(0.0);
            *state = State { size: item.size, uses, priority: 0.0, is_resident: true };
            self.weight += item.size;
        }
        self.raise(item.key);
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
