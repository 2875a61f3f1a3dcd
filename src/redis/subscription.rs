//! Messages: a connection on which Redis speaks unasked.

use ::redis::aio::{PubSub, PubSubSink, PubSubStream};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::config::Address;
use super::connect::{CONNECT_TIMEOUT, Dialer};
use super::fault::Fault;
use super::guard::Allowance;

/// Bytes that messages may take before the first of them is read: what comes faster than it is read
/// ends the connection.
const SLACK: usize = 1024 * 1024;

/// Bytes that a message, or the confirmation of a subscription, takes beside its texts.
const FRAMING: usize = 128;

/// A connection for subscriptions. It ends when this is dropped.
pub struct Subscription {
    sink: PubSubSink,
    stream: PubSubStream,
    allowance: Allowance,
    at: Address,
}

impl Subscription {
    /// Opens a connection for subscriptions; its task runs on the runtime that this is called on.
    ///
    /// # Errors
    /// As [`Dialer::open`].
    pub(super) async fn open(dialer: &Dialer, at: &Address) -> Result<Self, Fault> {
        let connect = async {
            let (stream, allowance) = dialer.reach(at).await?;
            let connected = PubSub::new(dialer.login(), stream).await;
            let (sink, stream) = connected.map_err(|error| Fault::of(&error))?.split();
            allowance.grant(SLACK);
            Ok(Self { sink, stream, allowance, at: at.clone() })
        };
        timeout(CONNECT_TIMEOUT, connect).await.unwrap_or(Err(Fault::Unreachable))
    }

    /// Where it leads to.
    #[must_use]
    pub fn at(&self) -> &Address {
        &self.at
    }

    /// Subscribes to `channels`; done when Redis has confirmed it. Nothing bounds its time.
    ///
    /// # Errors
    /// What went wrong: the connection is of no more use.
    pub async fn join(&mut self, channels: &[&str]) -> Result<(), Fault> {
        self.expect(channels);
        self.sink.subscribe(channels).await.map_err(|error| Fault::of(&error))
    }

    /// Subscribes to `channels` no longer.
    ///
    /// # Errors
    /// As [`Subscription::join`].
    pub async fn leave(&mut self, channels: &[&str]) -> Result<(), Fault> {
        self.expect(channels);
        self.sink.unsubscribe(channels).await.map_err(|error| Fault::of(&error))
    }

    /// The channel of the next message; `None` when the connection has ended. May be dropped and
    /// called again.
    pub async fn next(&mut self) -> Option<String> {
        let message = self.stream.next().await?;
        let channel = message.get_channel_name();
        self.allowance.grant(channel.len() + message.get_payload_bytes().len() + FRAMING);
        Some(channel.to_owned())
    }

    fn expect(&self, channels: &[&str]) {
        self.allowance.grant(channels.iter().map(|channel| channel.len() + FRAMING).sum());
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("allowance", &self.allowance).finish_non_exhaustive()
    }
}
