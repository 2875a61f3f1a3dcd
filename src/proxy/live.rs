//! The stack that is in force: replaced whole while requests go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use tower::Service;

use super::{Errands, Look, Observed, Proxy};
use crate::context::Request;
use crate::error::ProxyError;

/// One reading of the configuration, as every core's stack.
#[derive(Debug)]
pub struct Generation {
    /// Counted from 1.
    pub number: u64,
    /// A stack for each core.
    pub cores: Box<[Proxy]>,
    /// What looks without doing anything.
    pub look: Look,
    /// What is done without a request.
    pub errands: Errands,
}

/// What is in force. Clones share it.
#[derive(Clone, Debug)]
pub struct InForce(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The number of `generation`, so that a request looks at one integer. It changes after the
    /// generation has: who sees the new number finds at least that.
    number: AtomicU64,
    generation: ArcSwap<Generation>,
}

impl InForce {
    /// Begins with `first`.
    #[must_use]
    pub fn new(first: Generation) -> Self {
        let number = AtomicU64::new(first.number);
        Self(Arc::new(Shared { number, generation: ArcSwap::from_pointee(first) }))
    }

    /// Puts `next` into force: every request that begins from now on is its. Those under way end
    /// as they began.
    pub fn replace(&self, next: Generation) {
        let number = next.number;
        self.0.generation.store(Arc::new(next));
        self.0.number.store(number, Ordering::Release);
    }

    /// The number of the generation in force.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number.load(Ordering::Acquire)
    }

    /// A look at what would be done now, and the number of the generation that would do it.
    #[must_use]
    pub fn look(&self) -> (u64, Look) {
        let generation = self.0.generation.load();
        (generation.number, generation.look.clone())
    }

    /// What runs errands by what is in force now.
    #[must_use]
    pub fn errands(&self) -> Errands {
        self.0.generation.load().errands.clone()
    }

    /// The service of one core.
    #[must_use]
    pub fn live(&self, core: usize) -> Live {
        Live { in_force: self.clone(), core, taken: None }
    }
}

/// One core's stack in force; each connection has its own, and takes the newest for a request.
///
/// A connection that idles keeps the last stack that it used, and with it what that one is made
/// of, until its next request or its end.
#[derive(Debug)]
pub struct Live {
    in_force: InForce,
    core: usize,
    taken: Option<(u64, Proxy)>,
}

impl Clone for Live {
    /// Without a stack: a listener's own would keep the first generation for ever.
    fn clone(&self) -> Self {
        self.in_force.live(self.core)
    }
}

impl Live {
    fn newest(&mut self) -> &mut Proxy {
        let number = self.in_force.number();
        if self.taken.as_ref().is_some_and(|(taken, _)| *taken != number) {
            self.taken = None;
        }
        let (_, stack) = self.taken.get_or_insert_with(|| self.in_force.take(self.core));
        stack
    }
}

impl InForce {
    fn take(&self, core: usize) -> (u64, Proxy) {
        let generation = self.0.generation.load();
        // Invariant: there is a stack for each core, and cores are never added.
        let stack = generation.cores[core % generation.cores.len()].clone();
        (generation.number, stack)
    }
}

impl Service<Request> for Live {
    type Response = http::Response<Observed>;
    type Error = ProxyError;
    type Future = <Proxy as Service<Request>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.newest().poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match &mut self.taken {
            // The one that said it is ready.
            Some((_, stack)) => stack.call(request),
            None => self.newest().call(request),
        }
    }
}
