//! Who goes: the lowest of a random sample.

use super::residents::Resident;
use super::slots::Slot;
use super::{Evictor, Ledger, Ticket};
use crate::clock::Timestamp;

/// Residents drawn at random to find one that goes.
const SAMPLES: usize = 16;

/// The lowest that were drawn before and are still there are looked at too: so few draws find
/// nearly the lowest of all.
const POOL: usize = 16;

/// Chosen at once at most: a decision ends, however much its newcomer weighs.
pub(super) const MOST_VICTIMS: usize = 4096;

/// Who would have to go, lowest first by and large, and whether that is enough.
pub(super) struct Choice {
    pub(super) chosen: Vec<Chosen>,
    pub(super) enough: bool,
}

/// One of them.
pub(super) struct Chosen {
    pub(super) ticket: Ticket,
    pub(super) priority: f64,
}

/// The lowest of those that were drawn lately, lowest first.
pub(super) type Pool = Vec<Candidate>;

/// One that was drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    ticket: Ticket,
    /// Lower than all others for what is useless.
    priority: f64,
}

impl<K: Copy> Evictor<K> {
    /// Chooses those that would have to go so that `needed` bytes are free, as long as they are
    /// not worth more than `worth` together. They are marked as chosen.
    pub(super) fn choose(
        &self,
        ledger: &mut Ledger<K>,
        needed: u64,
        worth: f64,
        now: Timestamp,
    ) -> Choice {
        let (mut chosen, mut freed, mut lost) = (Vec::new(), 0, 0.0);
        while freed < needed && chosen.len() < MOST_VICTIMS {
            let Some(lowest) = self.lowest(ledger, now) else { break };
            let priority = self.judge(lowest);
            let Some(slot) = self.slots.get(lowest.ticket.slot) else { break };
            let Some(resident) = ledger.residents.get_mut(lowest.ticket) else { break };
            lost += (priority - self.floor()).max(0.0) * slot.size() as f64;
            if lost > worth {
                break;
            }
            resident.choose();
            freed += slot.size();
            chosen.push(Chosen { ticket: lowest.ticket, priority });
        }
        Choice { chosen, enough: freed >= needed }
    }

    /// The lowest of those that are not chosen yet, as far as samples tell; of few, the lowest.
    fn lowest(&self, ledger: &mut Ledger<K>, now: Timestamp) -> Option<Candidate> {
        let drawn = self.draw(ledger, now);
        let Ledger { pool, residents, .. } = ledger;
        pool.retain_mut(|candidate| {
            let resident = residents.get_mut(candidate.ticket);
            let slot = self.slots.get(candidate.ticket.slot);
            let priority = resident.zip(slot).and_then(|(it, slot)| priority(slot, it, now));
            candidate.priority = priority.unwrap_or(f64::INFINITY);
            priority.is_some()
        });
        pool.sort_unstable_by(|one, other| one.priority.total_cmp(&other.priority));
        for candidate in drawn.into_iter().flatten() {
            let Candidate { ticket, priority } = candidate;
            // Most are not among the lowest.
            let highest = pool.get(POOL - 1).map_or(f64::INFINITY, |highest| highest.priority);
            if highest <= priority && pool.len() == POOL {
                continue;
            }
            if pool.iter().all(|other| other.ticket != ticket) {
                let place = pool.partition_point(|other| other.priority <= priority);
                pool.truncate(POOL - 1);
                pool.insert(place, candidate);
            }
        }
        pool.first().copied()
    }

    /// Some at random, of few all, without those that are chosen. All are looked at before anything
    /// is decided on any: they lie far apart, and memory is quicker if it is asked for all at once.
    fn draw(&self, ledger: &mut Ledger<K>, now: Timestamp) -> [Option<Candidate>; SAMPLES] {
        let Ledger { residents, random, novelty, .. } = ledger;
        let all = residents.len();
        // Of few, one who is not there is nobody.
        let index = |draw| if all <= SAMPLES { draw } else { random.usize(..all) };
        std::array::from_fn(index).map(|index| {
            let (ticket, resident) = residents.nth_mut(index)?;
            let slot = self.slots.get(ticket.slot)?;
            if slot.priority() > resident.began_at {
                resident.began_at = f64::INFINITY;
                novelty.again();
            }
            let priority = priority(slot, resident, now)?;
            Some(Candidate { ticket, priority })
        })
    }

    /// A candidate's priority, which is never higher than by its uses of late: without this bound,
    /// what was in fashion would stay for ever where nothing that comes is worth as much.
    fn judge(&self, candidate: Candidate) -> f64 {
        let Some(slot) = self.slots.get(candidate.ticket.slot) else { return candidate.priority };
        let lately = self.uses.again(self.sketch.get(slot.hash()));
        let highest = self.floor() + lately * slot.reward();
        if candidate.priority > highest {
            slot.set_priority(highest);
        }
        candidate.priority.min(highest)
    }
}

/// A resident's priority: lower than all others if it is useless; `None` if it is chosen.
fn priority<K>(slot: &Slot, resident: &Resident<K>, now: Timestamp) -> Option<f64> {
    if resident.is_chosen() {
        return None;
    }
    Some(if resident.useless_at <= now { f64::NEG_INFINITY } else { slot.priority() })
}
