//! The index of residents: a place in it for each, any of them at random.

use super::{Ticket, Victim};
use crate::clock::Timestamp;

/// Who is resident, with what only decisions need to know of them.
#[derive(Debug)]
pub(super) struct Residents<K> {
    rows: Vec<Row<K>>,
    vacant: Vec<u32>,
    /// The slots that are occupied, in no order.
    occupied: Vec<u32>,
    weight: u64,
}

/// A slot's part that only decisions see.
#[derive(Debug)]
struct Row<K> {
    /// Counts the residents that the slot has had, and what became of them.
    generation: u32,
    resident: Option<Resident<K>>,
}

/// One resident.
#[derive(Clone, Debug)]
pub(super) struct Resident<K> {
    pub(super) key: K,
    pub(super) size: u64,
    pub(super) useless_at: Timestamp,
    /// The priority that it began with if it had never been seen before, which only a hit raises;
    /// else infinite.
    pub(super) began_at: f64,
    /// Chosen to go by the decision under way.
    pub(super) chosen: bool,
    /// Its index among the occupied slots.
    place: u32,
}

impl<K> Resident<K> {
    pub(super) fn new(key: K, size: u64, useless_at: Timestamp, began_at: f64) -> Self {
        Self { key, size, useless_at, began_at, chosen: false, place: 0 }
    }
}

impl<K> Residents<K> {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), vacant: Vec::new(), occupied: Vec::new(), weight: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.occupied.len()
    }

    /// What all weigh together.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// The `index`th in no order, with its ticket.
    pub(super) fn nth(&self, index: usize) -> Option<(Ticket, &Resident<K>)> {
        let slot = *self.occupied.get(index)?;
        let row = self.rows.get(slot as usize)?;
        Some((Ticket { slot, generation: row.generation }, row.resident.as_ref()?))
    }

    /// The same, to be changed.
    pub(super) fn nth_mut(&mut self, index: usize) -> Option<(Ticket, &mut Resident<K>)> {
        let slot = *self.occupied.get(index)?;
        let row = self.rows.get_mut(slot as usize)?;
        Some((Ticket { slot, generation: row.generation }, row.resident.as_mut()?))
    }

    /// Who has `ticket`, if it still means anything.
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Resident<K>> {
        let row = self.rows.get_mut(ticket.slot as usize)?;
        row.resident.as_mut().filter(|_| row.generation == ticket.generation)
    }

    /// Those with `tickets` are not chosen after all.
    pub(super) fn spare(&mut self, tickets: impl Iterator<Item = Ticket>) {
        for ticket in tickets {
            if let Some(resident) = self.get_mut(ticket) {
                resident.chosen = false;
            }
        }
    }

    /// Takes in one more.
    pub(super) fn insert(&mut self, resident: Resident<K>) -> Ticket {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.rows.push(Row { generation: 0, resident: None });
            // Invariant: memory ends long before the numbers do.
            (self.rows.len() - 1) as u32
        });
        self.weight += resident.size;
        let place = self.occupied.len() as u32;
        self.occupied.push(slot);
        let mut generation = 0;
        if let Some(row) = self.rows.get_mut(slot as usize) {
            generation = row.generation;
            row.resident = Some(Resident { place, ..resident });
        }
        Ticket { slot, generation }
    }

    /// The one with `ticket` weighs `size` from now on and is useless from `useless_at`. Returns its
    /// ticket from now on; `None` if the one that is given means nothing.
    pub(super) fn update(
        &mut self,
        ticket: Ticket,
        size: u64,
        useless_at: Timestamp,
    ) -> Option<Ticket> {
        let resident = self.get_mut(ticket)?;
        resident.useless_at = useless_at;
        let before = std::mem::replace(&mut resident.size, size);
        self.weight = self.weight - before + size;
        let row = self.rows.get_mut(ticket.slot as usize)?;
        row.generation = row.generation.wrapping_add(1);
        Some(Ticket { generation: row.generation, ..ticket })
    }

    /// Takes out the one with `ticket`, which means nothing from now on.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Resident<K>> {
        let row = self.rows.get_mut(ticket.slot as usize)?;
        if row.generation != ticket.generation {
            return None;
        }
        let resident = row.resident.take()?;
        row.generation = row.generation.wrapping_add(1);
        self.weight -= resident.size;
        self.vacant.push(ticket.slot);
        let place = resident.place as usize;
        self.occupied.swap_remove(place);
        let moved = self.occupied.get(place).and_then(|slot| self.rows.get_mut(*slot as usize));
        if let Some(moved) = moved.and_then(|row| row.resident.as_mut()) {
            moved.place = resident.place;
        }
        Some(resident)
    }
}

impl<K> Residents<K> {
    /// All that are there are useless from now on.
    pub(super) fn outdate(&mut self) {
        for resident in self.rows.iter_mut().filter_map(|row| row.resident.as_mut()) {
            resident.useless_at = Timestamp::from_millis(i64::MIN);
        }
    }
}

impl<K: Clone> Residents<K> {
    /// Everybody, in no order.
    pub(super) fn all(&self) -> Vec<Victim<K>> {
        let named = |(ticket, resident): (Ticket, &Resident<K>)| Victim {
            key: resident.key.clone(),
            ticket,
        };
        (0..self.len()).filter_map(|index| self.nth(index)).map(named).collect()
    }
}
