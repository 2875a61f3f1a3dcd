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
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use crate::client::{self, Client};
use crate::generator::Ask;
use crate::lab::{Cores, Lab, Server};
use crate::peer::seawall;
use crate::peers::warm;
use crate::results::Results;
use crate::rounds::{LEAST_FETCHED, MOST_FETCHED, Meter, quieter, wait_for_quiet};

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
    /// How often a second the other thing was done.
    #[serde(default)]
    pub(crate) done: Option<f64>,
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

    /// How often a second it begins, and over how many connections: where answers are late, others
    /// begin on time.
    const fn pace(self) -> (Duration, u32) {
        const CONNECTIONS: u32 = 64;
        match self {
            Self::Nothing => (Duration::MAX, 0),
            Self::Purges => (Duration::from_millis(2), CONNECTIONS),
            Self::Fills => (Duration::from_millis(1), CONNECTIONS),
            // The next one begins when one ends.
            Self::HugeFill => (Duration::from_millis(1), 1),
        }
    }

    /// Does it until `is_over`, on other URLs in each `turn`.
    async fn go_on(
        self,
        server: SocketAddr,
        turn: u32,
        is_over: Arc<AtomicBool>,
    ) -> io::Result<Done> {
        let (pause, connections) = self.pace();
        let began = Instant::now();
        let mut workers = JoinSet::new();
        for place in 0..connections {
            let mut client = Client::connect(server).await?;
            let mut ticks = interval_at(began + pause * place, pause * connections);
            let is_over = Arc::clone(&is_over);
            workers.spawn(async move {
                let mut done = 0;
                while !is_over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    self.once(&mut client, &format!("{turn}-{place}-{done}")).await?;
                    done += 1;
                }
                Ok(done)
            });
        }
        let counts: io::Result<Vec<u64>> = workers.join_all().await.into_iter().collect();
        Ok(Done { count: counts?.iter().sum(), seconds: began.elapsed().as_secs_f64() })
    }

    async fn once(self, client: &mut Client, name: &str) -> io::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Purges => {
                let path = format!("/size-1024/purged-{name}");
                client.order("GET", &path).await?;
                client.order("PURGE", &path).await
            }
            Self::Fills => client.order("GET", &format!("/size-16384/filled-{name}")).await,
            Self::HugeFill => {
                client.order("GET", &format!("/size-268435456/drip-2560/huge-{name}")).await
            }
        }
    }
}

/// How often something was done, and within which time.
#[derive(Clone, Copy, Debug)]
struct Done {
    count: u64,
    seconds: f64,
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
        let mut command = self.lab.command(Cores::Second, &self.lab.seawall);
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

    /// Latencies at a rate, while something else goes on.
    fn tail(
        &self,
        meanwhile: Meanwhile,
        turn: u32,
        (load, rate): (u32, f64),
        seconds: u32,
    ) -> io::Result<Tail> {
        wait_for_quiet()?;
        let reached = self.lab.reached_origin()?;
        let measure = || {
            let before = Meter::read(self.lab, self.server)?;
            let report = self.run(Some(rate), seconds)?;
            Ok((report, Meter::read(self.lab, self.server)?.since(&before)))
        };
        let ((report, used), done) = during(meanwhile, turn, self.server.address, measure)?;
        self.server.check()?;
        if let Some(Done { count, .. }) = done {
            let fetched = self.lab.reached_origin()? - reached;
            if (fetched as f64) < LEAST_FETCHED * count as f64 {
                let why = format!("{}: {fetched} of {count} reached the origin", meanwhile.name());
                return Err(io::Error::other(why));
            }
        }
        let (rate, latencies) = told(&report)?;
        Ok(Tail {
            meanwhile,
            load,
            rate,
            done: done.map(|done| done.count as f64 / done.seconds),
            latencies,
            server_share: used.server_share(),
            noise: used.noise(),
            failed: report["failed"].as_u64().unwrap_or_default(),
        })
    }
}

/// Requests a second and latencies, of a report on answers that were hits.
fn told(report: &Value) -> io::Result<(f64, Vec<f64>)> {
    let missing = || io::Error::other(format!("seawall bench tells no figures: {report}"));
    let hits = report["hit_ratio"].as_f64().ok_or_else(missing)?;
    if hits < 1.0 - MOST_FETCHED {
        return Err(io::Error::other(format!("only {hits:.2} of the answers were hits")));
    }
    let latencies = SHARES.into_iter().map(|(share, _)| report["latency_ms"][share].as_f64());
    let latencies: Option<Vec<_>> = latencies.collect();
    let told = report["requests_per_second"].as_f64().zip(latencies);
    told.ok_or_else(missing)
}

/// Does something else on a thread of its own while `measure` runs.
fn during<T>(
    meanwhile: Meanwhile,
    turn: u32,
    server: SocketAddr,
    measure: impl FnOnce() -> io::Result<T>,
) -> io::Result<(T, Option<Done>)> {
    if meanwhile == Meanwhile::Nothing {
        return Ok((measure()?, None));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let other = {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || client::block_on(meanwhile.go_on(server, turn, is_over)))
    };
    let measured = measure();
    is_over.store(true, Ordering::Relaxed);
    match other.join() {
        Ok(done) => done.and_then(|done| Ok((measured?, Some(done)))),
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
    let (mut tails, mut turn) = (Vec::new(), 0);
    for meanwhile in Meanwhile::ALL {
        for load in LOADS {
            let rate = capacity * f64::from(load) / 100.0;
            let tail = || {
                turn += 1;
                bench.tail(meanwhile, turn, (load, rate), seconds)
            };
            tails.push(quieter(tail, |tail| tail.noise)?);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_understood_where_its_answers_were_hits() {
        let latencies = json!({"p50": 1.0, "p90": 2.0, "p99": 3.0, "p99.9": 4.0, "p99.99": 5.0});
        let mut report = json!({
            "hit_ratio": 1.0, "requests_per_second": 6.0, "latency_ms": latencies
        });
        assert_eq!(told(&report).unwrap(), (6.0, vec![1.0, 2.0, 3.0, 4.0, 5.0]));
        report["hit_ratio"] = json!(0.5);
        assert!(told(&report).is_err());
        assert!(told(&json!({"hit_ratio": 1.0, "requests_per_second": 0.0})).is_err());
    }
}
