//! W-TinyLFU with an adaptive window, as in Caffeine (Einziger, Friedman, Manes, 2017; Einziger,
//! Eytan, Friedman, Manes, 2018): a small LRU window, and a segmented LRU behind it into which only
//! those get who are asked for more often than all whom they would displace (as Einziger, Eytan,
//! Friedman and Manes have it where sizes differ, 2022).

use super::list::{Links, List};
use super::{Item, Keeper, hash};

/// The window at first, as a share of the capacity.
const FIRST_WINDOW: f64 = 0.01;

/// What of the rest is protected at most.
const MOST_PROTECTED: f64 = 0.8;

/// A step of the window, as a share of the capacity; how much smaller each is than the one before;
/// and the change of the hit ratio that has it begin anew.
const STEP: f64 = 0.0625;
const DECAY: f64 = 0.98;
const RESTART: f64 = 0.05;

/// Requests for each resident after which the sketch halves and the window is changed.
const PERIOD: u64 = 10;

/// Residents that are assumed for that when there are fewer.
const FEW: usize = 64;

/// A counter's most.
const MOST: u8 = 15;

/// A list, by its number.
type Place = usize;
const WINDOW: Place = 0;
const PROBATION: Place = 1;
const PROTECTED: Place = 2;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    size: u64,
    place: Option<Place>,
}

/// The three lists and what they are judged by.
#[derive(Debug)]
pub(super) struct TinyLfu {
    states: Vec<State>,
    links: Links,
    lists: [List; 3],
    sketch: Sketch,
    climber: Climber,
    capacity: u64,
    window_most: u64,
}

impl TinyLfu {
    pub(super) fn new(capacity: u64, keys: usize) -> Self {
        Self {
            states: vec![State::default(); keys],
            links: Links::new(keys),
            lists: [List::new(); 3],
            sketch: Sketch::new(),
            climber: Climber::new(),
            capacity,
            window_most: share(capacity, FIRST_WINDOW),
        }
    }

    fn state(&self, key: u32) -> State {
        self.states.get(key as usize).copied().unwrap_or_default()
    }

    /// Moves a key to the newest end of a list, or out of all.
    fn move_to(&mut self, key: u32, place: Option<Place>) {
        let Some(state) = self.states.get_mut(key as usize) else { return };
        let before = std::mem::replace(&mut state.place, place);
        if let Some(list) = before.and_then(|before| self.lists.get_mut(before)) {
            list.remove(&mut self.links, key, state.size);
        }
        if let Some(list) = place.and_then(|place| self.lists.get_mut(place)) {
            list.push(&mut self.links, key, state.size);
        }
    }

    fn len(&self) -> usize {
        self.lists.iter().map(|list| list.len).sum()
    }

    /// A request, whatever comes of it.
    fn asked(&mut self, key: u32, is_hit: bool) {
        let residents = self.len().max(FEW);
        self.sketch.add(hash(key), residents);
        if let Some(share) = self.climber.asked(is_hit, residents) {
            self.resize_window(share);
        }
    }

    /// Changes the window by a share of the capacity, at the cost of what is protected.
    #[expect(clippy::cast_sign_loss, reason = "it is clamped")]
    fn resize_window(&mut self, by: f64) {
        let wanted = self.window_most as f64 + by * self.capacity as f64;
        let most = self.capacity as f64 * MOST_PROTECTED;
        self.window_most = wanted.clamp(0.0, most) as u64;
        self.demote();
        while self.lists[WINDOW].weight > self.window_most
            && let Some(oldest) = self.lists[WINDOW].oldest()
        {
            self.move_to(oldest, Some(PROBATION));
        }
        while self.lists[WINDOW].weight < self.window_most
            && let Some(oldest) = self.lists[PROBATION].oldest()
            && self.lists[WINDOW].weight + self.state(oldest).size <= self.window_most
        {
            self.move_to(oldest, Some(WINDOW));
        }
    }

    /// Keeps what is protected within its bound.
    fn demote(&mut self) {
        let most = share(self.capacity - self.window_most, MOST_PROTECTED);
        while self.lists[PROTECTED].weight > most
            && let Some(oldest) = self.lists[PROTECTED].oldest()
        {
            self.move_to(oldest, Some(PROBATION));
        }
    }

    /// Those who leave the window, and a newcomer that is larger than it, stay if they are asked
    /// for more often than all those together who would have to go for them.
    fn make_room(&mut self, newcomer: Option<u32>, gone: &mut Vec<u32>) {
        let mut candidates: Vec<u32> = newcomer.into_iter().collect();
        while self.lists[WINDOW].weight > self.window_most
            && let Some(oldest) = self.lists[WINDOW].oldest()
        {
            self.move_to(oldest, Some(PROBATION));
            candidates.push(oldest);
        }
        for candidate in candidates {
            let needed = self.weight().saturating_sub(self.capacity);
            if needed == 0 {
                return;
            }
            if self.state(candidate).place.is_some() {
                let losers = self.victims(candidate, needed).unwrap_or_else(|| vec![candidate]);
                for loser in losers {
                    self.move_to(loser, None);
                    gone.push(loser);
                }
            }
        }
        // Who has grown displaces the oldest.
        while self.weight() > self.capacity {
            let [window, probation, protected] = self.lists.map(|list| list.oldest());
            let Some(victim) = probation.or(protected).or(window) else { return };
            self.move_to(victim, None);
            gone.push(victim);
        }
    }

    /// Who has to go so that `needed` bytes are free for a candidate; `None` where it is not worth
    /// that.
    fn victims(&self, candidate: u32, needed: u64) -> Option<Vec<u32>> {
        let worth = u32::from(self.sketch.of(hash(candidate)));
        let (mut victims, mut freed, mut lost) = (Vec::new(), 0, 0);
        for list in [PROBATION, PROTECTED].map(|place| self.lists[place]) {
            let mut next = list.oldest();
            while let Some(key) = next.filter(|_| freed < needed) {
                next = self.links.newer(key);
                if key == candidate {
                    continue;
                }
                lost += u32::from(self.sketch.of(hash(key)));
                if lost >= worth {
                    return None;
                }
                freed += self.state(key).size;
                victims.push(key);
            }
        }
        (freed >= needed).then_some(victims)
    }
}

impl Keeper for TinyLfu {
    fn touch(&mut self, key: u32) {
        self.asked(key, true);
        match self.state(key).place {
            None => {}
            Some(WINDOW) => self.move_to(key, Some(WINDOW)),
            Some(_) => {
                self.move_to(key, Some(PROTECTED));
                self.demote();
            }
        }
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        let before = self.state(item.key).place;
        self.remove(item.key);
        if before.is_none() {
            self.asked(item.key, false);
        }
        if item.size > self.capacity {
            return false;
        }
        if let Some(state) = self.states.get_mut(item.key as usize) {
            state.size = item.size;
        }
        // What is larger than the window would empty it.
        let place = if item.size > self.window_most { PROBATION } else { WINDOW };
        self.move_to(item.key, before.or(Some(place)));
        let judged_at_once = before.is_none() && place == PROBATION;
        self.make_room(judged_at_once.then_some(item.key), gone);
        self.state(item.key).place.is_some()
    }

    fn remove(&mut self, key: u32) {
        self.move_to(key, None);
    }

    fn weight(&self) -> u64 {
        self.lists.iter().map(|list| list.weight).sum()
    }
}

#[expect(clippy::cast_sign_loss, reason = "a share of a size has none")]
fn share(whole: u64, share: f64) -> u64 {
    (whole as f64 * share) as u64
}

/// How often keys were asked for lately: the least of four counters of each.
#[derive(Debug)]
struct Sketch {
    counters: Vec<u8>,
    added: u64,
}

impl Sketch {
    const ROWS: u64 = 4;

    fn new() -> Self {
        Self { counters: Vec::new(), added: 0 }
    }

    /// One request more; with another order of residents it begins anew.
    fn add(&mut self, hash: u64, residents: usize) {
        let wanted = (residents * 16).next_power_of_two();
        if self.counters.len() < wanted {
            self.counters = vec![0; wanted];
            self.added = 0;
        }
        let mut has_changed = false;
        for row in 0..Self::ROWS {
            let place = self.place(hash, row);
            if let Some(counter) = self.counters.get_mut(place).filter(|it| **it < MOST) {
                *counter += 1;
                has_changed = true;
            }
        }
        self.added += u64::from(has_changed);
        if self.added >= PERIOD * residents as u64 {
            self.counters.iter_mut().for_each(|counter| *counter /= 2);
            self.added /= 2;
        }
    }

    fn of(&self, hash: u64) -> u8 {
        let counters = (0..Self::ROWS).map(|row| self.counters.get(self.place(hash, row)).copied());
        counters.map(Option::unwrap_or_default).min().unwrap_or(0)
    }

    fn place(&self, hash: u64, row: u64) -> usize {
        // Another odd number for each row (Knuth's multiplicative hashing).
        let mixed = (hash | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.wrapping_add(row << 33));
        (mixed.rotate_left(27 + 5 * row as u32) as usize) & (self.counters.len().max(1) - 1)
    }
}

/// Looks for the window that gives most hits, a step at a time.
#[derive(Debug)]
struct Climber {
    hits: u64,
    misses: u64,
    before: f64,
    step: f64,
}

impl Climber {
    fn new() -> Self {
        // Up at first: a window of a hundredth has no step to give.
        Self { hits: 0, misses: 0, before: 0.0, step: STEP }
    }

    /// A request; by which share of the capacity the window is to change, now and then.
    fn asked(&mut self, is_hit: bool, residents: usize) -> Option<f64> {
        self.hits += u64::from(is_hit);
        self.misses += u64::from(!is_hit);
        let all = self.hits + self.misses;
        if all < PERIOD * residents as u64 {
            return None;
        }
        let ratio = self.hits as f64 / all as f64;
        let change = ratio - self.before;
        let by = if change >= 0.0 { self.step } else { -self.step };
        self.step = if change.abs() >= RESTART { STEP.copysign(by) } else { by * DECAY };
        (self.hits, self.misses, self.before) = (0, 0, ratio);
        Some(by)
    }
}
