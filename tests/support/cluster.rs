//! A Cluster of a few servers, as it is run for real.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use ::redis::cmd;
use seawall::config::Settings;
use seawall::redis::{Address, Config, Place};

use super::Redis;

/// Slots of a Cluster.
const SLOTS: usize = 16_384;

/// Servers in one Cluster, without replicas. All end when this is dropped.
pub struct Sharded {
    pub servers: Vec<Redis>,
    ids: Vec<String>,
    /// Slots that are not where they were to begin with.
    moved: Mutex<HashMap<usize, usize>>,
}

/// A port that is configured.
async fn port_of(server: &Redis, name: &str) -> u16 {
    let answer: (String, u16) = server.ask(cmd("CONFIG").arg("GET").arg(name)).await;
    answer.1
}

impl Sharded {
    /// Of three servers that have a third of the slots each.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With options of the servers' command line; `PORT` stands for the port of each.
    pub async fn with(options: &[&str]) -> Self {
        const COUNT: usize = 3;
        let mut servers = Vec::new();
        for _ in 0..COUNT {
            let cluster = [
                "--cluster-enabled",
                "yes",
                // What the servers tell each other goes by a port of its own.
                "--cluster-port",
                "ANOTHER",
                "--cluster-node-timeout",
                "2000",
                // One that is lost takes nothing but its own slots with it.
                "--cluster-require-full-coverage",
                "no",
            ];
            servers.push(Redis::with(&[&cluster, options].concat()).await);
        }
        let mut ids = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            let (first, last) = (SLOTS * index / COUNT, SLOTS * (index + 1) / COUNT - 1);
            server.run_line(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
            server.run_line(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).await;
            ids.push(server.ask(cmd("CLUSTER").arg("MYID")).await);
        }
        let sharded = Self { servers, ids, moved: Mutex::default() };
        sharded.meet().await;
        sharded
    }

    async fn meet(&self) {
        let [first, others @ ..] = self.servers.as_slice() else { return };
        for other in others {
            let (port, bus) = (other.address.port(), port_of(other, "cluster-port").await);
            first.run_line(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}")).await;
        }
        for server in &self.servers {
            let whole = |text: &str| {
                text.contains("cluster_state:ok")
                    && text.contains(&format!("cluster_slots_ok:{SLOTS}"))
                    && text.contains("cluster_known_nodes:3")
            };
            server.until("CLUSTER INFO", whole).await;
        }
    }

    /// Where two of the servers speak TLS.
    pub async fn tls_seeds(&self) -> Place {
        let mut seeds = Vec::new();
        for server in &self.servers[..2] {
            seeds.push(Address::new("127.0.0.1", port_of(server, "tls-port").await));
        }
        Place::Cluster(seeds)
    }

    /// A proxy's settings for this, with more patience than a busy machine needs.
    pub fn configure(&self, settings: &mut Settings) {
        settings.redis = Some(Config {
            place: Place::Cluster(vec![self.servers[0].place(), self.servers[1].place()]),
            answers_within: Duration::from_secs(5),
            ..Config::default()
        });
        settings.tier.lookup_budget = Duration::from_secs(5);
    }

    /// The slot of a key, and the server that has it.
    pub async fn owner(&self, key: &str) -> (usize, usize) {
        let slot: usize = self.servers[0].ask(cmd("CLUSTER").arg("KEYSLOT").arg(key)).await;
        let moved = self.moved.lock().expect("no panic").get(&slot).copied();
        let count = self.servers.len();
        let first = |index: usize| SLOTS * index / count;
        let owner = moved.or_else(|| (0..count).rfind(|index| first(*index) <= slot));
        (slot, owner.expect("every slot has an owner"))
    }

    /// Begins to move a slot: its keys may be on either server from now on.
    pub async fn begin_move(&self, slot: usize, from: usize, to: usize) {
        let (source, target) = (&self.ids[from], &self.ids[to]);
        let line = format!("CLUSTER SETSLOT {slot} IMPORTING {source}");
        self.servers[to].run_line(&line).await;
        let line = format!("CLUSTER SETSLOT {slot} MIGRATING {target}");
        self.servers[from].run_line(&line).await;
    }

    /// Moves the keys of a slot that is on its way.
    pub async fn move_keys(&self, slot: usize, from: usize, to: usize) {
        let (source, port) = (&self.servers[from], self.servers[to].address.port());
        loop {
            let list = cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(10).clone();
            let keys: Vec<String> = source.ask(&list).await;
            if keys.is_empty() {
                return;
            }
            let mut migrate = cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(port).arg("").arg(0).arg(5000).arg("KEYS").arg(&keys);
            let _: ::redis::Value = source.ask(&migrate).await;
        }
    }

    /// Ends the move: the slot is the other server's alone.
    pub async fn end_move(&self, slot: usize, to: usize) {
        let line = format!("CLUSTER SETSLOT {slot} NODE {}", self.ids[to]);
        self.servers[to].run_line(&line).await;
        for server in &self.servers {
            server.run_line(&line).await;
        }
        self.moved.lock().expect("no panic").insert(slot, to);
    }

    /// All of it, one after the other.
    pub async fn move_slot(&self, slot: usize, from: usize, to: usize) {
        self.begin_move(slot, from, to).await;
        self.move_keys(slot, from, to).await;
        self.end_move(slot, to).await;
    }
}
