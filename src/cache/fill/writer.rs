//! The one writer of a fill.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{End, Fill};
use crate::body::Blocks;
use crate::budget::Charge;
use crate::error::ErrorKind;

/// Bounds of one fill.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bodies above this many bytes are not stored.
    pub max_object_size: u64,
    /// Bytes held for readers of a body too large to store.
    pub window: u64,
    /// How long the slowest reader of such a body may stall.
    pub stall_timeout: Duration,
}

/// Bytes that readers of a pass-through may be behind, however little is charged.
const LEAST_WINDOW: u64 = 64 * 1024;

/// Appends to a fill. Dropping it unfinished fails the fill: a body never looks whole by accident.
#[derive(Debug)]
pub struct FillWriter<H> {
    fill: Arc<Fill<H>>,
    limits: Limits,
}

/// What came of appending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Still to be stored.
    Storing,
    /// Too large to store: from now on a pass-through, which nobody may join.
    PassThrough,
}

/// What came of finishing.
#[derive(Debug)]
pub enum Finished {
    /// The whole body, to be stored.
    Whole(Arc<Blocks>),
    /// It was passed through; there is nothing to store.
    Passed,
}

impl<H> FillWriter<H> {
    pub(super) fn new(fill: Arc<Fill<H>>, limits: Limits) -> Self {
        if let Some(length) = fill.length {
            fill.lock().expect(length);
        }
        Self { fill, limits }
    }

    /// Adds `data`. `charge` grows with what is held; where it can't, or the body is larger than
    /// is stored, the fill becomes a pass-through.
    pub fn append(&self, data: &[u8], charge: &mut Charge) -> Appended {
        let mut state = self.fill.lock();
        if state.window.is_none() {
            let len = state.len() + data.len() as u64;
            let missing = usize::try_from(len).unwrap_or(usize::MAX).saturating_sub(charge.bytes());
            if len > self.limits.max_object_size || !charge.try_grow(missing) {
                // What is charged already is what readers may be behind.
                let charged = (charge.bytes() as u64).max(LEAST_WINDOW);
                state.window = Some(self.limits.window.min(charged));
            }
        }
        state.append(data);
        state.drop_read();
        if state.window.is_some() { Appended::PassThrough } else { Appended::Storing }
    }

    /// Whether the body is too large to be stored, and its readers set the pace.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.fill.lock().window.is_some()
    }

    /// In a pass-through: waits until there is room for more, cutting readers that stall. `false`
    /// when nobody reads any more.
    pub async fn room(&self, charge: &mut Charge) -> bool {
        loop {
            let slowest = self.fill.lock().slowest();
            let Some(slowest) = slowest else { return false };
            let room = timeout(self.limits.stall_timeout, self.moved(slowest)).await;
            if room.is_err() {
                self.fill.lock().cut(slowest);
                continue;
            }
            let state = self.fill.lock();
            let window = state.window.unwrap_or(u64::MAX);
            charge.shrink_to(usize::try_from(state.held().max(window)).unwrap_or(usize::MAX));
            if state.held() < window || !state.has_readers() {
                return state.has_readers();
            }
        }
    }

    /// Waits until there is room, or the slowest reader is no longer at `position`.
    async fn moved(&self, position: u64) {
        poll_fn(|cx| {
            let mut state = self.fill.lock();
            let room = state.window.is_none_or(|window| state.held() < window);
            if room || state.slowest() != Some(position) {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until nobody has read for as long as `grace` (in a pass-through: until nobody reads),
    /// and then fails the fill, so that nobody can join it any more. Where `graces` are counted,
    /// there is a grace only while one is left.
    pub async fn abandoned(&self, grace: Duration, graces: Option<&Semaphore>) {
        loop {
            self.readers_are(false).await;
            let passes = self.fill.lock().window.is_some();
            let waits = !passes && self.read_within(grace, graces).await;
            if !waits && self.fill.lock().abandon() {
                return;
            }
        }
    }

    async fn read_within(&self, grace: Duration, graces: Option<&Semaphore>) -> bool {
        let permit = graces.map(Semaphore::try_acquire).transpose();
        permit.is_ok() && timeout(grace, self.readers_are(true)).await.is_ok()
    }

    async fn readers_are(&self, present: bool) {
        poll_fn(|cx| {
            let mut state = self.fill.lock();
            if state.has_readers() == present {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The body is whole. `charge` goes with it if it is to be stored; its trailers reach the
    /// readers of now, and are not kept.
    #[must_use]
    pub fn finish(self, trailers: Option<HeaderMap>, mut charge: Charge) -> Finished {
        let mut state = self.fill.lock();
        if state.window.is_some() {
            state.finish(End::Whole(trailers), None);
            return Finished::Passed;
        }
        charge.shrink_to(usize::try_from(state.len()).unwrap_or(usize::MAX));
        let blocks = Arc::new(Blocks::new(state.take_blocks(), Some(charge)));
        state.finish(End::Whole(trailers), Some(Arc::clone(&blocks)));
        Finished::Whole(blocks)
    }

    /// The body will never be whole: every reader gets an error, nothing is stored.
    pub fn fail(&self, kind: ErrorKind) {
        self.fill.lock().finish(End::Failed(kind), None);
    }
}

impl<H> Drop for FillWriter<H> {
    fn drop(&mut self) {
        let mut state = self.fill.lock();
        if state.end.is_none() {
            state.finish(End::Failed(ErrorKind::FetchAbandoned), None);
        }
    }
}
