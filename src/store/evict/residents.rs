//! The index of residents: a place in it for each, any of them at random.

use super::Ticket;
use crate::clock::Timestamp;

/// Rows that are made at a time. None is moved when there are more, so that nobody waits for that
/// and no room stays unused for long.
const CHUNK: usize = 1024;

/// Who is resident, with what only decisions need to know of them.
#[derive(Debug)]
pub(super) struct Residents<K> {
    /// A row for each slot.
    rows: Vec<Vec<Resident<K>>>,
    vacant: Vec<u32>,
    /// The slots that are occupied, in no order.
    occupied: Vec<u32>,
    /// Nobody from this place on is outdated.
    outdated_below: usize,
    weight: u64,
}

/// A slot's part that only decisions see: one resident, if it is occupied.
#[derive(Debug)]
pub(super) struct Resident<K> {
    /// Whoever was there last, where nobody is.
    key: K,
    pub(super) useless_at: Timestamp,
    /// The priority that it began with if it had never been seen before, which only a hit raises;
    /// else infinite.
    pub(super) began_at: f64,
    /// Counts the tickets that the slot has given out.
    generation: u32,
    /// Its index among the occupied slots, and in [`CHOSEN`] whether the decision under way has
    /// chosen it to go; [`NOWHERE`] where nobody is.
    place: u32,
}

/// The highest bit of a place: there are never so many.
const CHOSEN: u32 = 1 << 31;

/// The place of nobody.
const NOWHERE: u32 = CHOSEN - 1;

/// Since when what is outdated is useless.
const OUTDATED: Timestamp = Timestamp::from_millis(i64::MIN);

impl<K> Resident<K> {
    const fn is_there(&self) -> bool {
        self.place & !CHOSEN != NOWHERE
    }

    pub(super) const fn is_chosen(&self) -> bool {
        self.place & CHOSEN != 0
    }

    pub(super) const fn choose(&mut self) {
        self.place |= CHOSEN;
    }

    /// It is not chosen after all.
    const fn spare(&mut self) {
        self.place &= !CHOSEN;
    }
}

impl<K: Copy> Residents<K> {
    pub(super) const fn new() -> Self {
        Self {
            rows: Vec::new(),
            vacant: Vec::new(),
            occupied: Vec::new(),
            outdated_below: 0,
            weight: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.occupied.len()
    }

    /// What all weigh together.
    pub(super) const fn weight(&self) -> u64 {
        self.weight
    }

    fn row(&self, slot: u32) -> Option<&Resident<K>> {
        self.rows.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)
    }

    fn row_mut(&mut self, slot: u32) -> Option<&mut Resident<K>> {
        self.rows.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)
    }

    /// The `index`th in no order, with its ticket, to be changed.
    pub(super) fn nth_mut(&mut self, index: usize) -> Option<(Ticket, &mut Resident<K>)> {
        let slot = *self.occupied.get(index)?;
        let row = self.row_mut(slot)?;
        Some((Ticket { slot, generation: row.generation }, row))
    }

    /// Who has `ticket`, if it still means anything.
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Resident<K>> {
        let row = self.row_mut(ticket.slot)?;
        (row.is_there() && row.generation == ticket.generation).then_some(row)
    }

    /// Those with `tickets` are not chosen after all.
    pub(super) fn spare(&mut self, tickets: impl Iterator<Item = Ticket>) {
        for ticket in tickets {
            if let Some(resident) = self.get_mut(ticket) {
                resident.spare();
            }
        }
    }

    /// Takes in one more, of `size` bytes.
    pub(super) fn insert(
        &mut self,
        key: K,
        size: u64,
        useless_at: Timestamp,
        began_at: f64,
    ) -> Ticket {
        self.weight += size;
        let place = self.occupied.len() as u32;
        let resident = Resident { key, useless_at, began_at, generation: 0, place };
        let vacant = self.vacant.pop();
        let ticket = match vacant.and_then(|slot| Some((slot, self.row_mut(slot)?))) {
            Some((slot, row)) => {
                *row = Resident { generation: row.generation, ..resident };
                Ticket { slot, generation: row.generation }
            }
            None => Ticket { slot: self.add_row(resident), generation: 0 },
        };
        self.occupied.push(ticket.slot);
        ticket
    }

    /// A row more, and its number.
    fn add_row(&mut self, resident: Resident<K>) -> u32 {
        if self.rows.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.rows.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.rows.len() - 1) * CHUNK;
        let added = self.rows.last_mut().map_or(0, |chunk| {
            chunk.push(resident);
            chunk.len() - 1
        });
        // Invariant: memory ends long before the numbers do.
        (before + added) as u32
    }

    /// The one with `ticket` weighs `size` from now on, where it was `before`, and is useless from
    /// `useless_at`. Returns its ticket from now on; `None` if the one that is given means nothing,
    /// or is of somebody outdated.
    pub(super) fn update(
        &mut self,
        ticket: Ticket,
        (before, size): (u64, u64),
        useless_at: Timestamp,
    ) -> Option<Ticket> {
        let resident = self.get_mut(ticket).filter(|it| it.useless_at != OUTDATED)?;
        resident.useless_at = useless_at;
        resident.generation = resident.generation.wrapping_add(1);
        let generation = resident.generation;
        self.weight = self.weight - before + size;
        Some(Ticket { generation, ..ticket })
    }

    /// Takes out the one with `ticket`, which weighs `size` and means nothing from now on. Returns
    /// its key, and the priority that it began with.
    pub(super) fn remove(&mut self, ticket: Ticket, size: u64) -> Option<(K, f64)> {
        let row = self.get_mut(ticket)?;
        let (key, began_at) = (row.key, row.began_at);
        let place = (row.place & !CHOSEN) as usize;
        row.place = NOWHERE;
        row.generation = row.generation.wrapping_add(1);
        self.weight -= size;
        self.vacant.push(ticket.slot);
        self.occupied.swap_remove(place);
        let moved = self.occupied.get(place).copied();
        if let Some(moved) = moved.and_then(|slot| self.row_mut(slot)) {
            moved.place = place as u32 | (moved.place & CHOSEN);
        }
        Some((key, began_at))
    }

    /// Everybody, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (K, Ticket)> {
        self.occupied.iter().filter_map(|&slot| {
            let row = self.row(slot)?;
            Some((row.key, Ticket { slot, generation: row.generation }))
        })
    }

    /// All that are there are useless from now on.
    pub(super) fn outdate(&mut self) {
        for resident in self.rows.iter_mut().flatten() {
            resident.useless_at = OUTDATED;
        }
        self.outdated_below = self.occupied.len();
    }

    /// One of those that are outdated, to be taken out. The last of all takes its place then, which
    /// was looked at already or is the one itself.
    pub(super) fn next_outdated(&mut self) -> Option<Ticket> {
        self.outdated_below = self.outdated_below.min(self.occupied.len());
        while self.outdated_below > 0 {
            self.outdated_below -= 1;
            let (ticket, resident) = self.nth_mut(self.outdated_below)?;
            if resident.useless_at == OUTDATED {
                return Some(ticket);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small_and_never_moves() {
        assert_eq!(size_of::<Resident<()>>(), 24);
        let mut residents = Residents::new();
        let tickets: Vec<_> =
            (0..3 * CHUNK).map(|key| residents.insert(key, 2, Timestamp::EPOCH, 0.0)).collect();
        let first: *const _ = residents.row(0).unwrap();
        let more = residents.insert(9, 2, Timestamp::EPOCH, 0.0);
        assert!(std::ptr::eq(first, residents.row(0).unwrap()));
        assert_eq!(residents.weight(), 2 * (3 * CHUNK as u64 + 1));
        residents.get_mut(more).unwrap().choose();
        // The last takes the place of the first, and is chosen still.
        assert_eq!(residents.remove(tickets[0], 2).map(|(key, _)| key), Some(0));
        assert!(residents.get_mut(more).unwrap().is_chosen());
        assert_eq!(residents.remove(tickets[0], 2).map(|(key, _)| key), None);
        assert_eq!(residents.remove(more, 2).map(|(key, _)| key), Some(9));
        assert_eq!(residents.len(), 3 * CHUNK - 1);
    }
}
