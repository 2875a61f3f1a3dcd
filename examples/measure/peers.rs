//! `measure peers`: what a request costs Seawall and the others.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client;
use crate::generator::{Ask, Load, Transport};
use crate::interrupt;
use crate::lab::{Cores, Lab, Server};
use crate::peer::{Peer, Room, SMALL_ROOM};
use crate::results::Results;
use crate::rounds::{Sample, Target, Turns, interleaved};

/// What all servers are asked, as one row of a table.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    ask: Ask,
    connections: u32,
    transport: Transport,
    /// Both for servers and generators, or one for each.
    is_unpinned: bool,
    /// A small one is full.
    room: Room,
}

/// What came of a server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) peer: Peer,
    pub(crate) samples: Vec<Sample>,
}

/// What an object takes of a server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Weight {
    pub(crate) peer: Peer,
    /// How many there were.
    pub(crate) objects: u64,
    /// Bytes for each, its body included.
    pub(crate) bytes: f64,
    /// Of a thousand objects, those that were still there.
    pub(crate) kept: u64,
}

/// Bytes of the bodies of objects that are weighed.
pub(crate) const WEIGHED_SIZE: u64 = 1024;

impl Workload {
    pub(crate) fn all() -> Vec<Self> {
        let one = |size: u64| Ask::One(format!("/size-{size}/one"));
        let plain = |name, title, ask| Self {
            name,
            title,
            ask,
            connections: 64,
            transport: Transport::Plain,
            is_unpinned: false,
            room: Room::Plenty,
        };
        let many = Ask::Among("/size-1024/many-".to_owned(), 10_000);
        let pass = Ask::New("/size-1024/no-store/new-".to_owned());
        let fill = Ask::New("/size-1024/new-".to_owned());
        vec![
            plain("hit-1k", "1 KiB, one URL", one(1024)),
            plain("hit-10k-urls", "1 KiB, 10,000 URLs", many),
            plain("hit-16k", "16 KiB", one(16 * 1024)),
            plain("hit-1m", "1 MiB", one(1024 * 1024)),
            Self { connections: 1000, ..plain("hit-c1000", "1 KiB, 1,000 connections", one(1024)) },
            Self { transport: Transport::Tls, ..plain("hit-tls", "1 KiB, TLS 1.3", one(1024)) },
            Self {
                connections: 16,
                transport: Transport::Http2(32),
                ..plain("hit-h2", "1 KiB, HTTP/2 over TLS, 16 × 32 streams", one(1024))
            },
            plain("miss-pass", "miss: `no-store`, every URL new", pass),
            plain("miss-fill", "miss: stored, every URL new", fill.clone()),
            Self {
                room: Room::Small,
                ..plain("miss-fill-full", "miss: stored, 256 MiB full", fill.clone())
            },
            Self {
                room: Room::Taken,
                ..plain("miss-fill-taken", "miss: stored, memory taken before", fill)
            },
            Self { is_unpinned: true, ..plain("two-cores", "1 KiB, two cores for all", one(1024)) },
        ]
    }

    /// Has a server store what it will be asked for, or all that it has room for.
    fn prepare(&self, server: &Server) -> io::Result<()> {
        if self.room == Room::Small {
            // As many KiB: there is never room for all.
            let most = SMALL_ROOM * 1024;
            client::block_on(client::fill(server.address, "/size-1024/before-", most))?;
        }
        warm(server, &self.ask)
    }

    fn cores(&self) -> (Cores, Cores) {
        if self.is_unpinned { (Cores::Both, Cores::Both) } else { (Cores::First, Cores::Second) }
    }

    fn measure(&self, lab: &Lab, peers: &[Peer], turns: Turns) -> io::Result<Vec<Row>> {
        let (theirs, ours) = self.cores();
        let is_plain = self.transport == Transport::Plain;
        let mut servers = Vec::new();
        for peer in peers.iter().filter(|peer| is_plain || peer.speaks_tls()) {
            interrupt::check()?;
            let server = peer.try_start(lab, theirs, self.room, |server| self.prepare(server));
            servers.extend(server.map(|server| (*peer, server)));
        }
        let load = Load {
            ask: self.ask.clone(),
            connections: self.connections,
            transport: self.transport,
            cores: ours,
            seconds: turns.seconds,
        };
        let targets: Vec<_> = servers
            .iter()
            .map(|(peer, server)| Target { name: peer.name().into(), server, load: load.clone() })
            .collect();
        let samples = interleaved(lab, &targets, turns.rounds)?;
        let rows = servers.iter().zip(samples);
        Ok(rows.map(|((peer, _), samples)| Row { peer: *peer, samples }).collect())
    }
}

/// Has a server store what it will be asked for.
pub(crate) fn warm(server: &Server, ask: &Ask) -> io::Result<()> {
    match ask {
        Ask::One(path) => {
            for _ in 0..3 {
                client::get(server.address, path)?;
            }
            Ok(())
        }
        Ask::Among(prefix, count) => client::block_on(client::fill(server.address, prefix, *count)),
        Ask::New(_) | Ask::Variants(..) => Ok(()),
    }
}

/// Measures what is not known yet.
pub(crate) fn measure(lab: &Lab, results: &Results, turns: Turns, objects: u64) -> io::Result<()> {
    let peers = Peer::installed(&Peer::ALL);
    for workload in Workload::all() {
        results.get_or(&file(workload.name), || workload.measure(lab, &peers, turns))?;
    }
    results.get_or(&file("memory"), || weigh_all(lab, &peers, objects))?;
    Ok(())
}

fn weigh_all(lab: &Lab, peers: &[Peer], objects: u64) -> io::Result<Vec<Weight>> {
    let mut weights = Vec::new();
    for peer in peers {
        interrupt::check()?;
        if peer.takes_memory_as_it_goes() && *peer != Peer::NginxCopying {
            match weigh(lab, *peer, objects) {
                Ok(weight) => weights.push(weight),
                Err(error) => eprintln!("  {} is left out: {error}", peer.name()),
            }
        }
    }
    Ok(weights)
}

pub(crate) fn file(name: &str) -> String {
    format!("peers-{name}")
}

fn weigh(lab: &Lab, peer: Peer, objects: u64) -> io::Result<Weight> {
    let server = peer.start(lab, Cores::First, Room::Plenty)?;
    let bytes = weigh_objects(&server, WEIGHED_SIZE, objects)?;
    // The first of them: whoever had no room for all has dropped some.
    let reached = lab.reached_origin()?;
    client::block_on(client::fill(server.address, &weighed(WEIGHED_SIZE), 1000))?;
    let kept = 1000 - (lab.reached_origin()? - reached).min(1000);
    Ok(Weight { peer, objects, bytes, kept })
}

/// Bytes by which a server grows for each object.
pub(crate) fn weigh_objects(server: &Server, size: u64, count: u64) -> io::Result<f64> {
    /// What is freed or returned later is not the objects'.
    const SETTLE: Duration = Duration::from_secs(1);
    // Connections, and what is made once.
    client::block_on(client::fill(server.address, &format!("/size-{size}/first-"), 2000))?;
    sleep(SETTLE);
    let before = server.memory();
    client::block_on(client::fill(server.address, &weighed(size), count))?;
    sleep(SETTLE);
    Ok((server.memory() as f64 - before as f64) / count as f64)
}

fn weighed(size: u64) -> String {
    format!("/size-{size}/weighed-")
}
