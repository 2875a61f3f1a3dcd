//! A fetch at the head of a flight, which survives its client.
//!
//! While the client is there, its own task drives the fetch: a task for each, and the turns it takes
//! to wake one by the other, would cost more than all that is decided on the way. Where the client
//! leaves, the fetch becomes a task.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::conclude::Concluded;
use crate::context::Response;
use crate::error::{ErrorKind, ProxyError};
use crate::limit::Place;

/// What comes of a fetch; `None` where nobody wanted it any more.
type Fetching = Pin<Box<dyn Future<Output = Option<Concluded>> + Send>>;

/// A leader's fetch, as its client waits for it.
pub struct Led {
    /// Taken when it is over.
    fetching: Option<Fetching>,
    /// One that nobody has begun is not worth finishing.
    begun: bool,
    client: Client,
    background: TaskTracker,
    /// Held until the answer's head is there.
    place: Option<Place>,
}

/// Whether the client that a fetch is for is still there.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    has_left: Arc<AtomicBool>,
}

impl Client {
    /// Waits until the client has left; seen by who is polled after that, which whoever tells of it
    /// sees to.
    pub(super) async fn left(&self) {
        let has_left = || self.has_left.load(Ordering::Acquire);
        poll_fn(|_| if has_left() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn leave(&self) {
        self.has_left.store(true, Ordering::Release);
    }
}

impl Led {
    /// `fetching` for `client`, and in `background` without it.
    pub(super) fn new(
        fetching: Fetching,
        client: Client,
        background: TaskTracker,
        place: Place,
    ) -> Self {
        Self { fetching: Some(fetching), begun: false, client, background, place: Some(place) }
    }
}

impl Future for Led {
    type Output = Result<Response, ProxyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.begun = true;
        let Some(fetching) = &mut self.fetching else {
            return Poll::Ready(Err(ErrorKind::FetchAbandoned.into()));
        };
        // As in a task of its own, a panic is this fetch's alone: it takes neither the client's
        // connection with it, nor those that share that.
        let polled = catch_unwind(AssertUnwindSafe(|| poll_begun(fetching, cx)));
        let answered = match polled {
            Ok(polled) => ready!(polled),
            Err(_) => None,
        };
        self.fetching = None;
        self.place = None;
        let Some(Concluded { response, pump }) = answered else {
            return Poll::Ready(Err(ErrorKind::FetchAbandoned.into()));
        };
        if let Some(pump) = pump {
            self.background.spawn(pump.run());
        }
        Poll::Ready(response)
    }
}

/// What comes of a fetch, with what is left to fill; `None` where nobody wanted it any more.
fn poll_begun(fetching: &mut Fetching, cx: &mut Context<'_>) -> Poll<Option<Concluded>> {
    let concluded = ready!(fetching.as_mut().poll(cx));
    Poll::Ready(concluded.map(|Concluded { response, pump }| {
        let pump = pump.and_then(|pump| pump.advance(cx));
        Concluded { response, pump }
    }))
}

impl Drop for Led {
    fn drop(&mut self) {
        let begun = self.fetching.take().filter(|_| self.begun);
        // Without a runtime nothing can go on: the process ends.
        let (Some(fetching), Ok(runtime)) = (begun, Handle::try_current()) else { return };
        self.client.leave();
        let unattended = async {
            if let Some(Concluded { response, pump }) = fetching.await {
                drop(response);
                if let Some(pump) = pump {
                    pump.run().await;
                }
            }
        };
        self.background.spawn_on(unattended, &runtime);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::limit::Limit;

    fn led(limit: &Limit, background: &TaskTracker, fetching: Fetching, client: &Client) -> Led {
        Led::new(fetching, client.clone(), background.clone(), limit.enter().expect("a place"))
    }

    fn poll(led: &mut Led) -> Poll<Result<Response, ProxyError>> {
        Pin::new(led).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test]
    async fn a_fetch_that_has_begun_goes_on_without_its_client_who_is_known_to_have_left() {
        let (limit, background, client) = (Limit::new(1), TaskTracker::new(), Client::default());
        let (go, gone) = oneshot::channel();
        let (done, outcome) = oneshot::channel();
        let seen = client.clone();
        let fetching = Box::pin(async move {
            let _ = gone.await;
            seen.left().await;
            let _ = done.send("done");
            None
        });
        let mut led = led(&limit, &background, fetching, &client);
        assert!(poll(&mut led).is_pending());
        drop(led);
        assert_eq!((limit.taken(), background.len()), (0, 1), "it holds no place any more");
        go.send(()).expect("it goes on");
        assert_eq!(outcome.await, Ok("done"));
        background.close();
        background.wait().await;
    }

    #[tokio::test]
    async fn a_fetch_that_was_never_polled_ends_with_its_client() {
        let (limit, background, client) = (Limit::new(1), TaskTracker::new(), Client::default());
        let (done, outcome) = oneshot::channel::<()>();
        let fetching = Box::pin(async move {
            let _ = done.send(());
            None
        });
        drop(led(&limit, &background, fetching, &client));
        assert!(outcome.await.is_err(), "it was dropped, and nothing of it run");
        assert_eq!((limit.taken(), background.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_panic_is_an_abandoned_fetch_and_no_more() {
        let (limit, background, client) = (Limit::new(1), TaskTracker::new(), Client::default());
        let fetching = Box::pin(async { panic!("a fetch that fails so") });
        let mut led = led(&limit, &background, fetching, &client);
        for _ in 0..2 {
            let polled = poll(&mut led).map_err(|error| error.kind);
            assert!(matches!(polled, Poll::Ready(Err(ErrorKind::FetchAbandoned))));
        }
        drop(led);
        assert_eq!((limit.taken(), background.len()), (0, 0));
    }

    #[test]
    fn without_a_runtime_nothing_goes_on() {
        let (limit, background, client) = (Limit::new(1), TaskTracker::new(), Client::default());
        let fetching = Box::pin(std::future::pending());
        let mut led = led(&limit, &background, fetching, &client);
        assert!(poll(&mut led).is_pending());
        drop(led);
        assert_eq!((limit.taken(), background.len()), (0, 0));
    }
}
