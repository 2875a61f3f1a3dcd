//! Seawall's own: the evictor of the memory tier, as it is.

use super::{Item, Keeper, hash};
use crate::store::evict::{Config, Evictor, Newcomer, Ticket};

/// The evictor, and the tickets that the map would hold.
#[derive(Debug)]
pub(super) struct Ours {
    evictor: Evictor<u32>,
    tickets: Vec<Option<Ticket>>,
}

impl Ours {
    pub(super) fn new(config: &Config, keys: usize) -> Self {
        Self { evictor: Evictor::new(config), tickets: vec![None; keys] }
    }

    fn ticket(&self, key: u32) -> Option<Ticket> {
        self.tickets.get(key as usize).copied().flatten()
    }

    fn set(&mut self, key: u32, ticket: Option<Ticket>) {
        if let Some(place) = self.tickets.get_mut(key as usize) {
            *place = ticket;
        }
    }
}

impl Keeper for Ours {
    fn touch(&mut self, key: u32) {
        if let Some(ticket) = self.ticket(key) {
            self.evictor.touch(ticket);
        }
    }

    fn put(&mut self, item: Item, gone: &mut Vec<u32>) -> bool {
        let Item { key, size, useless_at, now } = item;
        let update = |ticket| self.evictor.update(ticket, size, useless_at, now);
        let admission = self.ticket(key).and_then(update).unwrap_or_else(|| {
            let newcomer = Newcomer { key, hash: hash(key), size, useless_at };
            self.evictor.admit(newcomer, now)
        });
        self.set(key, admission.ticket);
        for victim in admission.victims {
            self.set(victim.key, None);
            gone.push(victim.key);
        }
        self.ticket(key).is_some()
    }

    fn remove(&mut self, key: u32) {
        if let Some(ticket) = self.ticket(key) {
            self.evictor.release(ticket);
            self.set(key, None);
        }
    }

    fn weight(&self) -> u64 {
        self.evictor.weight()
    }
}
