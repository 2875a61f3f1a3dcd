//! What the fleet asks for most: each node says now and then what that is to it, and one that starts
//! has it in memory before anybody asks.
//!
//! It is a sorted set of requests as text. A score is the logarithm of how often something was asked
//! for, plus the time in half-lives: so what nobody says any more falls behind without anybody ageing
//! it, and of what several nodes say the most counts. Clocks are kept by NTP in a fleet anyway.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::{Value, cmd};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Config, Tier, writer};
use crate::clock::{Clock, Timestamp};
use crate::redis::{Fault, Opened, Room};
use crate::store::{Hot, Memory, Sought};

/// In which time something asked for no more counts half.
const HALF_LIFE: Duration = Duration::from_secs(10 * 60);

/// How long the set is kept when nobody adds to it.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Members that one command adds or reads, and bytes that one of them may have.
const TOGETHER: usize = 500;
const MOST_MEMBER: usize = 4096 + 16;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says what is asked for most here, for as long as the room lasts.
pub(super) async fn publish(config: Arc<Config>, room: Weak<Room>, memory: Memory, clock: Clock) {
    if config.preload == 0 {
        return;
    }
    let mut failing = false;
    loop {
        // Not all nodes at once.
        sleep(config.top_every.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        let Some(connector) = room.upgrade().map(|room| room.connector().clone()) else { return };
        let (top, now) = (top(&config, &memory).await, clock.now());
        if top.is_empty() {
            continue;
        }
        // A connection of its own: what is not allowed here must not keep others from writing.
        let said = match connector.open(&name(&config)).await {
            Ok(opened) => say(&opened, &config, &top, now).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = &said
            && !failing
        {
            tracing::info!(why = fault.word(), "other nodes are not told what is asked for most");
        }
        failing = said.is_err();
    }
}

/// What other nodes could have from Redis of what is asked for most here. Everything is looked at,
/// on a thread that nobody waits for.
async fn top(config: &Arc<Config>, memory: &Memory) -> Vec<(Vec<u8>, u8)> {
    let (config, memory) = (Arc::clone(config), memory.clone());
    let look = move || {
        let hot = memory.hottest(config.preload, |_, response, uses| {
            let length = writer::whole_length(response);
            uses > 0 && length.is_some_and(|length| length <= config.max_object_size)
        });
        let member = |hot: &Hot| Some((hot.sought()?.write()?, hot.uses));
        hot.iter().filter_map(member).collect()
    };
    spawn_blocking(look).await.unwrap_or_default()
}

async fn say(
    opened: &Opened,
    config: &Config,
    top: &[(Vec<u8>, u8)],
    now: Timestamp,
) -> Result<(), Fault> {
    let name = name(config);
    for some in top.chunks(TOGETHER) {
        let mut add = cmd("ZADD");
        add.arg(&name).arg("GT");
        for (member, uses) in some {
            add.arg(score(*uses, now)).arg(member.as_slice());
        }
        opened.ask(&add, 0, PATIENCE).await?;
    }
    let most = i64::try_from(config.preload).unwrap_or(i64::MAX - 1);
    let mut trim = cmd("ZREMRANGEBYRANK");
    trim.arg(&name).arg(0).arg(-most - 1);
    opened.ask(&trim, 0, PATIENCE).await?;
    let mut expire = cmd("PEXPIRE");
    expire.arg(&name).arg(u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX));
    opened.ask(&expire, 0, PATIENCE).await?;
    Ok(())
}

fn name(config: &Config) -> String {
    format!("{}:top", config.namespace)
}

fn score(uses: u8, now: Timestamp) -> f64 {
    f64::from(uses.max(1)).log2() + now.as_secs() as f64 / HALF_LIFE.as_secs_f64()
}

impl Tier {
    /// What the fleet asks for most, the most first, as other nodes have said.
    ///
    /// # Errors
    /// Redis can't be asked, or does not answer.
    pub async fn top(&self) -> Result<Vec<Sought>, Fault> {
        let (config, connector) = (Arc::clone(&self.config), self.room.connector().clone());
        let reading = self.room.spawn(async move {
            let opened = connector.open(&name(&config)).await?;
            read(&opened, &config).await
        });
        reading.await.unwrap_or(Err(Fault::Lost))
    }

    /// How much of what the fleet asks for most a node that starts has before it is asked; zero for
    /// nothing.
    #[must_use]
    pub fn preload(&self) -> usize {
        self.config.preload
    }
}

async fn read(opened: &Opened, config: &Config) -> Result<Vec<Sought>, Fault> {
    let (name, mut top) = (name(config), Vec::new());
    for start in (0..config.preload).step_by(TOGETHER) {
        let count = TOGETHER.min(config.preload - start);
        let mut range = cmd("ZRANGE");
        range.arg(&name).arg(start).arg(start + count - 1).arg("REV");
        let answer = opened.ask(&range, count * MOST_MEMBER, PATIENCE).await?;
        let Value::Array(members) = answer else { return Err(Fault::Garbage) };
        let is_last = members.len() < count;
        top.extend(members.into_iter().filter_map(|member| match member {
            Value::BulkString(text) => Sought::read(&text),
            _ => None,
        }));
        if is_last {
            break;
        }
    }
    Ok(top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_twice_as_much_is_worth_it_for_a_half_life() {
        let at = |seconds: i64| Timestamp::from_secs(1_000_000 + seconds);
        assert!(score(200, at(0)) > score(100, at(599)));
        assert!(score(200, at(0)) < score(100, at(601)));
        assert!(score(0, at(0)).is_finite());
    }
}
