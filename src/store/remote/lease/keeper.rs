//! The heartbeat of this node's leases, and their ends.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ::redis::{Cmd, Pipeline, Value};
use foldhash::fast::RandomState;
use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

use super::{APART, Ending, Owner, script};
use crate::redis::{Connection, Lane, Room};
use crate::store::remote::counters::{Counters, Leased};

/// Heartbeats in the time that a lease holds without one.
pub(super) const BEATS: u32 = 3;

/// Commands in one pipeline.
const AT_ONCE: usize = 256;

/// How long ends may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a fetch may keep others waiting, in all: one that drips for hours must not.
const LONGEST: Duration = Duration::from_secs(60);

/// What is to be done about a lease.
#[derive(Debug)]
pub(super) enum Order {
    /// It was granted: keep it alive.
    Hold(Owner, Arc<str>),
    /// It has ended in Redis already, like this.
    Forget(Owner, Leased),
    /// End it, and tell whoever waits.
    End(Owner, Arc<str>, Ending),
}

pub(super) struct Keeper {
    /// It must not keep the thread alive that it runs on.
    room: Weak<Room>,
    orders: UnboundedReceiver<Order>,
    time: Duration,
    counters: Arc<Counters>,
    held: HashMap<Owner, Held, RandomState>,
}

struct Held {
    name: Arc<str>,
    since: Instant,
}

impl Keeper {
    pub(super) fn new(
        room: Weak<Room>,
        orders: UnboundedReceiver<Order>,
        time: Duration,
        counters: Arc<Counters>,
    ) -> Self {
        Self { room, orders, time, counters, held: HashMap::default() }
    }

    /// Runs until the room is gone, or all who could hold a lease.
    pub(super) async fn run(mut self) {
        let mut beat = interval(self.time / BEATS);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut orders = Vec::new();
        loop {
            tokio::select! {
                count = self.orders.recv_many(&mut orders, AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    let idle = self.held.is_empty();
                    let ends: Vec<_> =
                        orders.drain(..).filter_map(|order| self.follow(order)).collect();
                    if idle {
                        // The first one has just been granted.
                        beat.reset();
                    }
                    self.send(ends, PATIENCE).await;
                }
                _ = beat.tick(), if !self.held.is_empty() => self.beat().await,
            }
        }
    }

    /// What is to be sent for an order.
    fn follow(&mut self, order: Order) -> Option<Asked> {
        match order {
            Order::Hold(owner, name) => {
                self.held.insert(owner, Held { name, since: Instant::now() });
                None
            }
            Order::Forget(owner, outcome) => {
                if self.held.remove(&owner).is_some() {
                    self.counters.leased(outcome);
                }
                None
            }
            Order::End(owner, name, ending) => {
                if self.held.remove(&owner).is_some() {
                    self.counters.leased(match ending {
                        Ending::Apart(_) => Leased::Apart,
                        Ending::Failed => Leased::Failed,
                        Ending::Abandoned => Leased::Abandoned,
                    });
                }
                let end = self.end(owner, &name, ending);
                Some((name, end))
            }
        }
    }

    fn end(&self, owner: Owner, name: &str, ending: Ending) -> Cmd {
        let (word, readable) = match ending {
            Ending::Apart(Some((reason, time))) => (reason.word(), time),
            // For those whom the message does not reach before they look.
            Ending::Apart(None) => (APART, self.time),
            Ending::Failed => (Leased::Failed.word(), Duration::ZERO),
            Ending::Abandoned => (Leased::Abandoned.word(), Duration::ZERO),
        };
        script::end(name, owner, word, readable)
    }

    async fn beat(&mut self) {
        let (mut beats, mut owners, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (owner, held) in &self.held {
            if held.since.elapsed() > LONGEST {
                ends.push((*owner, Arc::clone(&held.name)));
            } else {
                let beat = script::beat(&held.name, *owner, self.time);
                beats.push((Arc::clone(&held.name), beat));
                owners.push(*owner);
            }
        }
        // A heartbeat that is not answered until the next one is due is none.
        let answers = self.send(beats, self.time / BEATS).await;
        for (owner, answer) in owners.iter().zip(answers) {
            if answer == Some(Value::Int(0)) && self.held.remove(owner).is_some() {
                self.counters.leased(Leased::Lost);
            }
        }
        let orders =
            ends.into_iter().map(|(owner, name)| Order::End(owner, name, Ending::Apart(None)));
        let orders: Vec<_> = orders.collect();
        let ends: Vec<_> = orders.into_iter().filter_map(|order| self.follow(order)).collect();
        self.send(ends, PATIENCE).await;
    }

    /// The answers to those of the commands that were answered. What fails is noted where it is
    /// asked, and mended by time: a lease that is not ended runs out.
    async fn send(&self, commands: Vec<Asked>, patience: Duration) -> Vec<Option<Value>> {
        let mut answers = vec![None; commands.len()];
        let Some(room) = self.room.upgrade() else { return answers };
        let commands: Vec<_> = commands.into_iter().enumerate().collect();
        let parts = room.parts(Lane::Writes, commands, |(_, (name, _))| name);
        drop(room);
        // A server that is slow delays nothing at the others.
        let asked = parts.into_iter().filter_map(|(connection, commands)| {
            let connection = connection?;
            Some(async move { send_to(&connection, commands, patience).await })
        });
        for (place, answer) in join_all(asked).await.into_iter().flatten() {
            answers[place] = Some(answer);
        }
        answers
    }
}

/// A command about the lease of this name.
type Asked = (Arc<str>, Cmd);

/// The answers of one server, by the places of their commands.
async fn send_to(
    connection: &Connection,
    commands: Vec<(usize, Asked)>,
    patience: Duration,
) -> Vec<(usize, Value)> {
    let mut answers = Vec::with_capacity(commands.len());
    for commands in commands.chunks(AT_ONCE) {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for (_, (_, command)) in commands {
            pipeline.add_command(command.clone());
        }
        match connection.ask_all(&pipeline, commands.len(), 0, patience).await {
            Ok(more) => answers.extend(commands.iter().map(|(place, _)| *place).zip(more)),
            Err(_) => return answers,
        }
    }
    answers
}
