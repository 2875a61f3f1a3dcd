//! Finding the primary by asking sentinels.
//!
//! One sentinel's word is not enough: it may be cut off from the others, or behind them. So whom it
//! names has to say of itself that it is a primary, and the next sentinel is asked where it does
//! not. That a sentinel announces another primary is a hint to look; a look now and then finds out
//! without it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::config::{Address, Config, Sentinel};
use super::connect::{Dialer, Opened, SetupError};
use super::fault::Fault;
use super::subscription::Subscription;

/// How long one sentinel may take, connecting included: there are others.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a server may take to say what it is.
const ROLE_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of an answer: a host name and a port, or all replicas of a primary.
const MOST_ADDRESS: usize = 512;
const MOST_ROLE: usize = 16 * 1024;

/// Bytes of a host name, as DNS has them.
const MOST_HOST: usize = 253;

/// The channel on which a sentinel tells of a new primary.
const SWITCHED: &str = "+switch-master";

/// How long to wait before the next sentinel is listened to, at least; half as much again at most.
const PAUSE: Duration = Duration::from_secs(1);

/// The sentinels of one primary.
#[derive(Debug)]
pub(super) struct Sentinels {
    primary: String,
    nodes: Vec<Address>,
    dialer: Dialer,
    /// The one that was right last.
    latest: AtomicUsize,
    /// Another primary was announced.
    hint: Notify,
}

impl Sentinels {
    /// # Errors
    /// What TLS towards them can't be set up for.
    pub(super) fn new(config: &Config, sentinel: &Sentinel) -> Result<Self, SetupError> {
        let dialer = Dialer::for_sentinels(config, sentinel)?;
        let Sentinel { primary, nodes, .. } = sentinel.clone();
        Ok(Self { primary, nodes, dialer, latest: AtomicUsize::new(0), hint: Notify::new() })
    }

    /// A connection to the primary.
    ///
    /// # Errors
    /// [`Fault::NoPrimary`] where no sentinel tells of one, or what is wrong with whom they name.
    pub(super) async fn primary(&self, servers: &Dialer) -> Result<Opened, Fault> {
        let (mut fault, mut tried) = (Fault::NoPrimary, Vec::new());
        for index in self.in_turn() {
            let address = match self.ask(index).await {
                Ok(address) => address,
                // That one refuses to talk is worth telling only if nobody says more.
                Err(refused) => {
                    fault = if tried.is_empty() { refused } else { fault };
                    continue;
                }
            };
            if tried.contains(&address) {
                continue;
            }
            match open_primary(servers, &address).await {
                Ok(opened) => {
                    self.latest.store(index, Relaxed);
                    return Ok(opened);
                }
                Err(failed) => fault = failed,
            }
            tried.push(address);
        }
        Err(fault)
    }

    /// Whether the first sentinel that answers names another primary than this one.
    pub(super) async fn name_another_than(&self, address: &Address) -> bool {
        for index in self.in_turn() {
            if let Ok(named) = self.ask(index).await {
                return named != *address;
            }
        }
        false
    }

    /// Waits until another primary is announced.
    pub(super) async fn hint(&self) {
        self.hint.notified().await;
    }

    /// Listens to one sentinel after the other for as long as its thread runs.
    pub(super) async fn listen(&self) {
        for node in self.nodes.iter().cycle() {
            if let Ok(mut subscription) = self.subscribed(node).await {
                // What was announced before is not known.
                self.hint.notify_one();
                while subscription.next().await.is_some() {
                    self.hint.notify_one();
                }
            }
            sleep(PAUSE.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
        }
    }

    async fn subscribed(&self, node: &Address) -> Result<Subscription, Fault> {
        let subscribe = async {
            let mut subscription = Subscription::open(&self.dialer, node).await?;
            subscription.join(&[SWITCHED]).await?;
            Ok(subscription)
        };
        timeout(PATIENCE, subscribe).await.unwrap_or(Err(Fault::Timeout))
    }

    /// All of them, the one that was right last first.
    fn in_turn(&self) -> impl Iterator<Item = usize> {
        let (first, count) = (self.latest.load(Relaxed), self.nodes.len());
        (0..count).map(move |step| (first + step) % count)
    }

    /// Whom one sentinel names.
    async fn ask(&self, index: usize) -> Result<Address, Fault> {
        let asked = async {
            let opened = self.dialer.open(&self.nodes[index]).await?;
            opened.ask(&question(&self.primary), MOST_ADDRESS, PATIENCE).await
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => named(&answer).ok_or(Fault::NoPrimary),
            Ok(Err(fault @ (Fault::Denied | Fault::NoPermission))) => Err(fault),
            Ok(Err(_)) | Err(_) => Err(Fault::NoPrimary),
        }
    }
}

fn question(primary: &str) -> Cmd {
    let mut command = cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    command
}

/// The address in a sentinel's answer; none for a name that it does not know.
fn named(answer: &Value) -> Option<Address> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(host), Value::BulkString(port)] = parts.as_slice() else { return None };
    let host = std::str::from_utf8(host).ok().filter(|host| is_host(host))?;
    let port = std::str::from_utf8(port).ok()?.parse().ok().filter(|port| *port != 0)?;
    Some(Address::new(host, port))
}

pub(super) fn is_host(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    (1..=MOST_HOST).contains(&text.len()) && text.bytes().all(fits)
}

/// A connection to `address`, if that is a primary.
async fn open_primary(servers: &Dialer, address: &Address) -> Result<Opened, Fault> {
    let opened = servers.open(address).await?;
    match opened.ask(&cmd("ROLE"), MOST_ROLE, ROLE_PATIENCE).await? {
        Value::Array(parts) => match parts.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(opened),
            Some(Value::BulkString(_)) => Err(Fault::ReadOnly),
            _ => Err(Fault::Garbage),
        },
        _ => Err(Fault::Garbage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_nonsense_is_not() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let pair = |host: &str, port: &str| Value::Array(vec![bulk(host), bulk(port)]);
        for (answer, expected) in [
            (pair("10.0.0.7", "6379"), Some("10.0.0.7:6379")),
            (pair("redis-1.example.com", "1"), Some("redis-1.example.com:1")),
            (pair("fd00::7", "6379"), Some("[fd00::7]:6379")),
            (pair("", "6379"), None),
            (pair("a b", "6379"), None),
            (pair(&"x".repeat(254), "6379"), None),
            (pair("h", "0"), None),
            (pair("h", "65536"), None),
            (pair("h", "-1"), None),
            (Value::Nil, None),
            (Value::Array(vec![bulk("h")]), None),
            (Value::Okay, None),
        ] {
            let read = named(&answer).map(|address| address.to_string());
            assert_eq!(read.as_deref(), expected, "{answer:?}");
        }
    }
}
