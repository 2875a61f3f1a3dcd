//! The addresses of an upstream's name: resolved by the system, kept for a while, and kept for
//! longer when resolving fails.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::config::Config;
use super::shared::bare_host;
use crate::error::{ErrorKind, ProxyError};

/// Addresses used of one name; a name with more than these is served by its first.
const MAX_ADDRESSES: usize = 16;
/// How long one request waits for a refresh before it takes the old addresses.
const REFRESH_WAIT: Duration = Duration::from_millis(500);
/// How long old addresses are used after a refresh that failed, before the next try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Addresses = Arc<[SocketAddr]>;

/// The addresses of one name.
#[derive(Debug)]
pub(super) struct Resolver {
    name: Arc<Name>,
    /// One lookup at a time: each blocks a thread for as long as the system's resolver pleases. The
    /// lookup itself holds the turn, so one whose askers have gone still counts.
    turn: Arc<Semaphore>,
}

/// What a lookup shares with those who ask.
#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    interval: Duration,
    known: Mutex<Option<Known>>,
    /// When the last lookup failed.
    failed_at: Mutex<Option<Instant>>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Addresses,
    /// When to resolve again; `None` for an address literal.
    stale_at: Option<Instant>,
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        self.stale_at.is_none_or(|stale_at| now < stale_at)
    }
}

impl Resolver {
    pub(super) fn new(config: &Config) -> Self {
        let host = bare_host(&config.host);
        let literal = host.parse::<IpAddr>().ok().map(|address| Known {
            addresses: Arc::new([SocketAddr::new(address, config.port)]),
            stale_at: None,
        });
        let name = Name {
            host: host.to_owned(),
            port: config.port,
            interval: config.resolve_interval,
            known: Mutex::new(literal),
            failed_at: Mutex::new(None),
        };
        Self { name: Arc::new(name), turn: Arc::new(Semaphore::new(1)) }
    }

    /// The addresses to try, in order; never empty.
    ///
    /// The caller bounds the wait for a first answer; a refresh waits [`REFRESH_WAIT`] at most.
    ///
    /// # Errors
    /// `DnsFailed` where the name never resolved.
    pub(super) async fn addresses(&self) -> Result<Addresses, ProxyError> {
        let known = self.name.known().clone();
        let lookup = Arc::clone(&self.name).lookup();
        match known {
            Some(known) if known.is_fresh(Instant::now()) => Ok(known.addresses),
            Some(known) => Ok(self.refresh(lookup).await.unwrap_or(known.addresses)),
            None => self.first(lookup).await,
        }
    }

    /// Remembers that `address` answered, so that the next connection doesn't wait for a dead
    /// address before it. A new resolution brings its own order.
    pub(super) fn prefer(&self, address: SocketAddr) {
        let mut known = self.name.known();
        if let Some(known) = &mut *known
            && known.addresses.first() != Some(&address)
        {
            known.addresses = preferring(&known.addresses, address).into();
        }
    }

    async fn first(&self, lookup: impl Lookup) -> Result<Addresses, ProxyError> {
        let came = Instant::now();
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        // Whoever had the turn before may have found it already.
        if let Some(known) = &*self.name.known() {
            return Ok(Arc::clone(&known.addresses));
        }
        let failed = |error| ProxyError::with_source(ErrorKind::DnsFailed, error);
        if self.name.has_failed_since(came) {
            // One failure is enough for all who waited for it: asked one after the other, the last
            // of many would time out.
            return Err(failed(io::Error::other("the lookup that was waited for failed")));
        }
        let turn = turn.map_err(io::Error::other).map_err(failed)?;
        let asked = self.ask(turn, lookup).await;
        asked.unwrap_or_else(|ended| Err(ended.into())).map_err(failed)
    }

    /// New addresses, or `None`: use the old ones (someone else is asking, it takes long, or it
    /// failed).
    async fn refresh(&self, lookup: impl Lookup) -> Option<Addresses> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().ok()?;
        // Until an answer is there, one try a second is enough.
        if let Some(known) = &mut *self.name.known() {
            known.stale_at = Some(Instant::now() + RETRY_AFTER.min(self.name.interval));
        }
        timeout(REFRESH_WAIT, self.ask(turn, lookup)).await.ok()?.ok()?.ok()
    }

    /// Looks the name up in a task of its own: what it finds is learnt, whoever still waits.
    fn ask(
        &self,
        turn: OwnedSemaphorePermit,
        lookup: impl Lookup,
    ) -> JoinHandle<io::Result<Addresses>> {
        let name = Arc::clone(&self.name);
        tokio::spawn(async move {
            let found = lookup.await.map(|addresses| name.learn(addresses));
            if found.is_err() {
                *name.failed_at.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Instant::now());
            }
            drop(turn);
            found
        })
    }
}

/// A lookup that has yet to begin.
trait Lookup: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {}

impl<F> Lookup for F where F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {}

impl Name {
    async fn lookup(self: Arc<Self>) -> io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        let addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    fn has_failed_since(&self, came: Instant) -> bool {
        let failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_some_and(|failed_at| failed_at >= came)
    }

    fn learn(&self, addresses: Vec<SocketAddr>) -> Addresses {
        let addresses: Addresses = addresses.into();
        let stale_at = Some(Instant::now() + self.interval);
        *self.known() = Some(Known { addresses: Arc::clone(&addresses), stale_at });
        addresses
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `addresses` with `first` moved to the front; unchanged if it isn't among them.
fn preferring(addresses: &[SocketAddr], first: SocketAddr) -> Vec<SocketAddr> {
    let (mut front, rest): (Vec<_>, Vec<_>) =
        addresses.iter().partition(|&&address| address == first);
    front.extend(rest);
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_preferred_address_moves_to_the_front_and_none_is_lost() {
        let all = [1, 2, 3].map(address);
        assert_eq!(preferring(&all, address(3)), [3, 1, 2].map(address));
        assert_eq!(preferring(&all, address(1)), all);
        assert_eq!(preferring(&all, address(9)), all);
    }

    #[tokio::test]
    async fn a_literal_needs_no_resolver() {
        for host in ["127.0.0.1", "::1", "[::1]"] {
            let resolver = Resolver::new(&Config::new("o", false, host, 80));
            let addresses = resolver.addresses().await.expect("a literal");
            assert_eq!(addresses.len(), 1);
            assert!(addresses[0].ip().is_loopback());
        }
    }

    #[tokio::test]
    async fn a_failing_refresh_keeps_the_old_addresses() {
        let mut config = Config::new("o", false, "does-not-exist.invalid", 80);
        config.resolve_interval = Duration::ZERO;
        let resolver = Resolver::new(&config);
        resolver.name.learn(vec![address(80)]);
        let addresses = resolver.addresses().await.expect("the old ones");
        assert_eq!(*addresses, [address(80)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_refresh_is_learnt_from_and_is_the_only_one() {
        let resolver = Resolver::new(&Config::new("o", false, "slow.invalid", 80));
        resolver.name.learn(vec![address(1)]);
        let (answer, answered) = oneshot::channel();
        let slow = async { answered.await.map_err(io::Error::other) };
        let before = Instant::now();
        assert_eq!(resolver.refresh(slow).await, None);
        assert_eq!(before.elapsed(), REFRESH_WAIT);
        let second = async { panic!("one lookup at a time") };
        assert_eq!(resolver.refresh(second).await, None);

        answer.send(vec![address(2)]).expect("still looking it up");
        let _turn = resolver.turn.acquire().await.expect("never closed");
        assert_eq!(*resolver.addresses().await.expect("fresh"), [address(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_lookup_outlives_who_asked_for_it() {
        let resolver = Resolver::new(&Config::new("o", false, "slow.invalid", 80));
        let (answer, answered) = oneshot::channel();
        let slow = async { answered.await.map_err(io::Error::other) };
        assert!(timeout(RETRY_AFTER, resolver.first(slow)).await.is_err());
        answer.send(vec![address(2)]).expect("still looking it up");
        let second = async { panic!("one lookup at a time") };
        assert_eq!(*resolver.first(second).await.expect("found"), [address(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_lookup_that_fails_does_not_begin_another() {
        let resolver = Resolver::new(&Config::new("o", false, "slow.invalid", 80));
        let (answer, answered) = oneshot::channel::<()>();
        let fails = async { answered.await.map(|()| Vec::new()).map_err(io::Error::other) };
        let first = resolver.first(fails);
        let second = resolver.first(async { panic!("one failure is enough") });
        let fail = async { drop(answer) };
        let (first, second, ()) = tokio::join!(first, second, fail);
        for outcome in [first, second] {
            assert_eq!(outcome.expect_err("it failed").kind, ErrorKind::DnsFailed);
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        let found = resolver.first(async { Ok(vec![address(2)]) }).await;
        assert_eq!(*found.expect("asked anew"), [address(2)]);
    }

    #[tokio::test]
    async fn a_name_that_never_resolved_is_an_error() {
        let resolver = Resolver::new(&Config::new("o", false, "does-not-exist.invalid", 80));
        let error = resolver.addresses().await.expect_err("the name does not exist");
        assert_eq!(error.kind, ErrorKind::DnsFailed);
    }
}
