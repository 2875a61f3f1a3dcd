//! A bound for each client address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;

const SHARDS: usize = 16;

/// A bound on how many each client has at once. Clones share it.
///
/// It remembers only clients that have something, so that it holds no more than the limit on the
/// whole allows.
#[derive(Clone, Debug)]
pub struct ClientLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: AtomicUsize,
    shards: [Mutex<HashMap<Client, usize, RandomState>>; SHARDS],
    hasher: RandomState,
}

/// Whom a bound is for: an IPv4 address, or the /64 network that an IPv6 client can choose its
/// address from (RFC 6177 gives a site no less).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    V6(u64),
}

/// One of those that a client has; dropping it makes room for another.
#[derive(Debug)]
pub struct ClientPlace {
    limit: ClientLimit,
    client: Client,
}

impl ClientLimit {
    /// A bound of `most` for each client.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        let most = AtomicUsize::new(most);
        Self(Arc::new(Inner { most, shards, hasher: RandomState::default() }))
    }

    /// Bounds what is to come by `most` for each client.
    pub fn resize(&self, most: usize) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    /// A place for `address`, or `None` if it has all that it may.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Option<ClientPlace> {
        let client = Client::from(address);
        let mut shard = self.shard(client);
        let taken = shard.entry(client).or_default();
        if *taken >= self.0.most.load(Ordering::Relaxed) {
            return None;
        }
        *taken += 1;
        drop(shard);
        Some(ClientPlace { limit: self.clone(), client })
    }

    fn shard(&self, client: Client) -> MutexGuard<'_, HashMap<Client, usize, RandomState>> {
        let shard = self.0.hasher.hash_one(client) as usize % SHARDS;
        // A poisoned shard is still whole: nothing that can panic runs while one is locked.
        self.0.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clients that have something at this moment.
    #[must_use]
    pub fn clients(&self) -> usize {
        let lock = |shard: &Mutex<HashMap<_, _, _>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        self.0.shards.iter().map(lock).sum()
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.limit.shard(self.client).entry(self.client) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_client_has_its_own_places() {
        let limit = ClientLimit::new(2);
        let enter = |text| limit.enter(address(text));
        let held = [enter("192.0.2.1"), enter("192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("::ffff:192.0.2.1").is_none(), "the same client on an IPv6 socket");
        assert!(enter("192.0.2.2").is_some());
        drop(held);
        assert!(enter("192.0.2.1").is_some());
        assert_eq!(limit.clients(), 0, "who has nothing is forgotten");
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let limit = ClientLimit::new(1);
        let _held = limit.enter(address("2001:db8:0:1::1")).expect("the first");
        assert!(limit.enter(address("2001:db8:0:1:ffff:ffff:ffff:ffff")).is_none());
        assert!(limit.enter(address("2001:db8:0:2::1")).is_some());
    }
}
