//! `measure tails`: how late the late answers are, at a given part of what can be served at all.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::interval;

use crate::client::{self, Client};
use crate::generator::Ask;
use crate::lab::{Cores, Lab, Server};
use crate::peer::seawall;
use crate::peers::warm;
use crate::results::Results;
use crate::rounds::Meter;

/// Objects that are asked for.
const PREFIX: &str = "/size-1024/tail-";
const OBJECTS: u64 = 1000;

/// Parts of the capacity, in percent.
const LOADS: [u32; 3] = [50, 80, 95];

/// Shares whose latencies are told, as `seawall bench` calls them, and how many nines those are.
pub(crate) const SHARES: [(&str, f64); 5] =
    [("p50", 0.301), ("p90", 1.0), ("p99", 2.0), ("p99.9", 3.0), ("p99.99", 4.0)];

/// What else the server does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Meanwhile {
    Nothing,
    Purges,
    Fills,
    HugeFill,
}

/// Latencies of hits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub(crate) meanwhile: Meanwhile,
    /// Percent of the capacity.
    pub(crate) load: u32,
    /// Requests a second.
    pub(crate) rate: f64,
    /// In milliseconds, by [`SHARES`].
    pub(crate) latencies: Vec<f64>,
    /// What the server used of its core, in percent.
    pub(crate) server_share: f64,
    pub(crate) noise: f64,
    /// Requests without a good answer.
    pub(crate) failed: u64,
}

impl Meanwhile {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Purges, Self::Fills, Self::HugeFill];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing else",
            Self::Purges => "500 fills and purges a second",
            Self::Fills => "1,000 fills of 16 KiB a second",
            Self::HugeFill => "a fill of 256 MiB at 100 MiB a second",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing else",
            Self::Purges => "purges",
            Self::Fills => "fills",
            Self::HugeFill => "a huge fill",
        }
    }

    /// Does it until `is_over`.
    async fn go_on(self, server: SocketAddr, is_over: &AtomicBool) -> io::Result<()> {
        let mut client = Client::connect(server).await?;
        let mut ticks = interval(match self {
            Self::Purges => Duration::from_millis(2),
            Self::Nothing | Self::Fills | Self::HugeFill => Duration::from_millis(1),
        });
        let mut number = 0;
        while !is_over.load(Ordering::Relaxed) {
            ticks.tick().await;
            number += 1;
            match self {
                Self::Nothing => {}
                Self::Purges => {
                    let path = format!("/size-1024/purged-{number}");
                    client.get(&path).await?;
                    client.ask("PURGE", &path).await?;
                }
                Self::Fills => {
                    client.get(&format!("/size-16384/filled-{number}")).await?;
                }
                Self::HugeFill => {
                    client.get(&format!("/size-268435456/drip-2560/huge-{number}")).await?;
                }
            }
        }
        Ok(())
    }
}

/// `seawall bench`, on the generator's core.
struct Bench<'a> {
    lab: &'a Lab,
    server: &'a Server,
    urls: PathBuf,
}

impl Bench<'_> {
    /// Its report on so many requests a second, or on as many as there can be.
    fn run(&self, rate: Option<f64>, seconds: u32) -> io::Result<Value> {
        let mut command = Cores::Second.command(&self.lab.seawall);
        command.args(["bench", &format!("http://{}", self.server.address), "--json"]);
        command.args(["--threads", "1", "--connections", "64", "--warmup", "500ms"]);
        command.args(["--duration", &format!("{seconds}s")]).arg("--urls").arg(&self.urls);
        if let Some(rate) = rate {
            command.args(["--rate", &format!("{rate:.0}")]);
        }
        let output = command.output()?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            io::Error::other(format!("seawall bench: {error}: {said}"))
        })
    }

    /// Requests a second of which neither server nor generator can do more.
    fn capacity(&self, seconds: u32) -> io::Result<f64> {
        let report = self.run(None, seconds)?;
        report["requests_per_second"].as_f64().ok_or(io::ErrorKind::InvalidData.into())
    }

    fn tail(&self, meanwhile: Meanwhile, load: u32, rate: f64, seconds: u32) -> io::Result<Tail> {
        let before = Meter::read(self.lab, self.server)?;
        let report = self.run(Some(rate), seconds)?;
        let used = Meter::read(self.lab, self.server)?.since(&before);
        let latency = |(share, _)| report["latency_ms"][share].as_f64().unwrap_or(f64::NAN);
        Ok(Tail {
            meanwhile,
            load,
            rate: report["requests_per_second"].as_f64().unwrap_or_default(),
            latencies: SHARES.into_iter().map(latency).collect(),
            server_share: used.server_share(),
            noise: used.noise(),
            failed: report["failed"].as_u64().unwrap_or_default(),
        })
    }
}

/// Does something else on a thread of its own while `measure` runs.
fn during<T>(
    meanwhile: Meanwhile,
    server: SocketAddr,
    measure: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let is_over = Arc::new(AtomicBool::new(meanwhile == Meanwhile::Nothing));
    let other = {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || client::block_on(meanwhile.go_on(server, &is_over)))
    };
    let measured = measure();
    is_over.store(true, Ordering::Relaxed);
    match other.join() {
        Ok(ended) => ended.and(measured),
        Err(_) => Err(io::Error::other("what went on meanwhile has panicked")),
    }
}

fn tails(lab: &Lab, folder: &Path, seconds: u32) -> io::Result<Vec<Tail>> {
    const SETTINGS: &str = "max_object_size = \"512MiB\"\n[purge]\nallow = [\"127.0.0.1\"]\n";
    let server = seawall(lab, Cores::First, "off", SETTINGS)?;
    warm(&server, &Ask::Among(PREFIX.to_owned(), OBJECTS))?;
    let urls = folder.join("tails.urls");
    let lines: Vec<_> = (1..=OBJECTS).map(|number| format!("{PREFIX}{number}\n")).collect();
    fs::write(&urls, lines.concat())?;
    let bench = Bench { lab, server: &server, urls };
    let capacity = bench.capacity(seconds)?;
    let mut tails = Vec::new();
    for meanwhile in Meanwhile::ALL {
        for load in LOADS {
            let rate = capacity * f64::from(load) / 100.0;
            let tail = || bench.tail(meanwhile, load, rate, seconds);
            tails.push(during(meanwhile, server.address, tail)?);
        }
    }
    Ok(tails)
}

/// Measures what is not known yet.
pub(crate) fn measure(lab: &Lab, results: &Results, seconds: u32) -> io::Result<()> {
    results.get_or(FILE, || tails(lab, results.folder(), seconds))?;
    Ok(())
}

pub(crate) const FILE: &str = "tails-hits";
