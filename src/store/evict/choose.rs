//! Who goes: the lowest of a random sample.

use super::{Evictor, Ledger, Ticket};
use crate::clock::Timestamp;

/// Residents looked at to find one that goes. The lowest of so many is among the lowest tenth of
/// all in 97 of 100 cases.
const SAMPLES: usize = 32;

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

/// One that was drawn.
struct Candidate {
    ticket: Ticket,
    /// Lower than all others for what is useless.
    priority: f64,
    /// How often it is expected to be used.
    uses: f64,
}

impl<K: Clone> Evictor<K> {
    /// Chooses those that would have to go so that `needed` bytes are free, as long as they are
    /// not expected to be used more than `uses` times together. They are marked as chosen.
    pub(super) fn choose(
        &self,
        ledger: &mut Ledger<K>,
        needed: u64,
        uses: f64,
        now: Timestamp,
    ) -> Choice {
        let (mut chosen, mut freed, mut lost) = (Vec::new(), 0, 0.0);
        while freed < needed && chosen.len() < MOST_VICTIMS {
            let Some(lowest) = self.lowest(ledger, now) else { break };
            lost += lowest.uses;
            let Some(resident) = ledger.residents.get_mut(lowest.ticket) else { break };
            if lost > uses {
                break;
            }
            resident.chosen = true;
            freed += resident.size;
            chosen.push(Chosen { ticket: lowest.ticket, priority: lowest.priority });
        }
        Choice { chosen, enough: freed >= needed }
    }

    /// The lowest of a sample of those that are not chosen yet; of few, the lowest.
    fn lowest(&self, ledger: &mut Ledger<K>, now: Timestamp) -> Option<Candidate> {
        let (all, outdated) = (ledger.residents.len(), ledger.residents.outdated());
        let mut lowest: Option<Candidate> = None;
        for draw in 0..all.min(SAMPLES) {
            let index = if all <= SAMPLES { draw } else { ledger.random.usize(..all) };
            let Some((ticket, resident)) = ledger.residents.nth_mut(index) else { continue };
            let Some(slot) = self.slots.get(ticket.slot) else { continue };
            let priority = slot.priority();
            let useless = resident.useless_at <= now || resident.arrival < outdated;
            if resident.began_at.is_some_and(|began_at| priority > began_at) {
                resident.began_at = None;
                ledger.novelty.again();
            }
            if resident.chosen {
                continue;
            }
            let priority = if useless { f64::NEG_INFINITY } else { priority };
            if lowest.as_ref().is_none_or(|lowest| priority < lowest.priority) {
                lowest = Some(Candidate { ticket, priority, uses: 0.0 });
            }
        }
        lowest.map(|lowest| self.judge(lowest))
    }

    /// How often one is expected to be used, which is never more than it was used lately: without
    /// that, what was in fashion would stay for ever if nothing that comes is worth as much.
    fn judge(&self, candidate: Candidate) -> Candidate {
        let Some(slot) = self.slots.get(candidate.ticket.slot) else { return candidate };
        let floor = self.floor();
        let uses = (candidate.priority - floor).max(0.0) / slot.reward();
        let lately = f64::from(self.sketch.get(slot.hash())) + 1.0;
        if uses <= lately {
            return Candidate { uses, ..candidate };
        }
        let priority = floor + lately * slot.reward();
        slot.set_priority(priority);
        Candidate { uses: lately, priority, ..candidate }
    }
}
