//! HTTP/2 streams, each with a deadline of its own: a client that opens no window for one
//! of its streams (RFC 9113 §5.2) loses that one, whatever becomes of the others.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::FutureExt;
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::telemetry::CoreMetrics;

tokio::task_local! {
    /// Since when the stream that is being polled waits for its client; `None` while it is our
    /// turn. hyper gives a stream's task no name by which its body could find it.
    static OWED_SINCE: Cell<Option<Instant>>;
}

/// The body gave a frame: it is the client's turn to take it.
pub(super) fn wait_for_client() {
    // Outside of any stream, which is HTTP/1, the connection's own deadline sees it.
    let _ = OWED_SINCE.try_with(|since| since.set(Some(Instant::now())));
}

/// The client has taken what there was: it is the body's turn.
pub(super) fn wait_for_body() {
    let _ = OWED_SINCE.try_with(|since| since.set(None));
}

/// Runs the streams of a worker's connections.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// How long a client may take to make room for more.
    pub(super) write_timeout: Duration,
    pub(super) metrics: Arc<CoreMetrics>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    /// Begins a stream in the turn of its connection. Mostly that is all of it, for what is stored is
    /// there at once; what has to wait becomes a task, and so do all once the turn has begun enough.
    fn execute(&self, stream: F) {
        let streams = self.clone();
        // A panic is the stream's alone, as it is in a task.
        let left = catch_unwind(AssertUnwindSafe(|| {
            let stream = Stream { inner: stream, streams, owed_since: None, timer: None };
            let mut stream = Box::pin(stream);
            let is_begun = consume_budget().now_or_never().is_some();
            // A task registers its own waker when it is polled, which is soon.
            let mut cx = Context::from_waker(Waker::noop());
            let is_over = is_begun && stream.as_mut().poll(&mut cx).is_ready();
            (!is_over).then_some(stream)
        }));
        if let Ok(Some(stream)) = left {
            drop(tokio::spawn(stream));
        }
    }
}

pin_project! {
    /// One stream. Where its client takes too long it ends, and hyper resets what is left of it.
    struct Stream<F> {
        #[pin]
        inner: F,
        streams: Streams,
        owed_since: Option<Instant>,
        // Made by the first wait: most answers fit into the client's window.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (poll, owed_since) = OWED_SINCE.sync_scope(Cell::new(*this.owed_since), || {
            (this.inner.poll(cx), OWED_SINCE.with(Cell::get))
        });
        *this.owed_since = owed_since;
        if poll.is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = owed_since else { return Poll::Pending };
        let deadline = since + this.streams.write_timeout;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // Not set again for every frame: where it fires too early, it is set for the rest.
        while Instant::now() < deadline {
            if timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
        }
        tracing::debug!("stream cut: its client makes no room");
        this.streams.metrics.stream_timed_out();
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, poll_fn};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn stream<F>(inner: F) -> Stream<F> {
        let write_timeout = Duration::from_secs(60);
        let streams = Streams { write_timeout, metrics: Arc::default() };
        Stream { inner, streams, owed_since: None, timer: None }
    }

    /// Lets so many seconds of paused time go by, with the timers that fall into them.
    async fn pass(seconds: u64) {
        let _ = tokio::time::timeout(Duration::from_secs(seconds), pending::<()>()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_clients_turn_is_bounded() {
        let begun = Instant::now();
        stream(async {
            pass(600).await;
            wait_for_client();
            pending::<()>().await;
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 660);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_something_in_time_gets_more() {
        let begun = Instant::now();
        stream(async {
            for _ in 0..10 {
                wait_for_client();
                pass(59).await;
                wait_for_body();
                pass(61).await;
            }
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 1200);
    }

    #[tokio::test]
    async fn what_need_not_wait_is_over_at_once_and_the_rest_goes_on_as_a_task() {
        let streams = Streams { write_timeout: Duration::from_secs(60), metrics: Arc::default() };
        let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let waiting = sender.clone();
        streams.execute(async move {
            released.await.expect("released");
            waiting.send("waited").expect("heard");
        });
        streams.execute(async { panic!("this stream's alone") });
        streams.execute(async move { sender.send("at once").expect("heard") });
        assert_eq!(ended.try_recv(), Ok("at once"));
        // The task takes its place, and is who is woken.
        tokio::task::yield_now().await;
        assert!(ended.try_recv().is_err());
        release.send(()).expect("it waits");
        assert_eq!(ended.recv().await, Some("waited"));
        assert_eq!(ended.recv().await, None);
    }

    #[tokio::test]
    async fn a_turn_begins_no_more_streams_than_it_may_do_other_things() {
        let streams = Streams { write_timeout: Duration::from_secs(60), metrics: Arc::default() };
        let begun = Arc::new(AtomicUsize::new(0));
        // A turn of its own, with the budget of one.
        let ours = Arc::clone(&begun);
        let in_turn = tokio::spawn(async move {
            for _ in 0..1_000 {
                let begun = Arc::clone(&ours);
                streams.execute(async move {
                    begun.fetch_add(1, Ordering::Relaxed);
                });
            }
            ours.load(Ordering::Relaxed)
        });
        let in_turn = in_turn.await.expect("a turn");
        assert!((1..1_000).contains(&in_turn), "{in_turn}");
        while begun.load(Ordering::Relaxed) < 1_000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn streams_do_not_see_each_other() {
        let mut waits = Box::pin(stream(async {
            wait_for_client();
            pending::<()>().await;
        }));
        assert!(waits.as_mut().now_or_never().is_none());
        let other = stream(poll_fn(|_| {
            assert!(OWED_SINCE.with(Cell::get).is_none());
            Poll::Ready(())
        }));
        other.await;
        wait_for_client();
    }
}
