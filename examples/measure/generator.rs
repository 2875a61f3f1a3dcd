//! The load generators: wrk, and h2load for HTTP/2.

use std::io;
use std::process::Command;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::lab::{Cores, Lab, Server};
use crate::peer::needed;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Always this path.
    One(String),
    /// A prefix and a number, one of so many.
    Among(String, u64),
    /// A prefix and a new number each time.
    New(String),
    /// This path, in so many variants.
    Variants(String, u64),
}

/// Who asks, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) ask: Ask,
    pub(crate) connections: u32,
    pub(crate) transport: Transport,
    pub(crate) cores: Cores,
    pub(crate) seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    /// HTTP/1.1 over TLS 1.3.
    Tls,
    /// HTTP/2 over TLS 1.3, with so many streams a connection.
    Http2(u32),
}

/// What a generator says of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Answers.
    pub(crate) requests: u64,
    /// Of them those with a bad status, and what got no answer.
    pub(crate) failed: u64,
    /// Answers a second.
    pub(crate) rate: f64,
    /// Latencies in milliseconds, to the last byte; h2load does not tell them.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

impl Load {
    /// Whether nothing that is asked for can be stored already.
    pub(crate) const fn is_missed(&self) -> bool {
        matches!(self.ask, Ask::New(_))
    }

    pub(crate) fn run(&self, lab: &Lab, server: &Server) -> io::Result<Told> {
        let base = match self.transport {
            Transport::Plain => format!("http://{}", server.address),
            Transport::Tls | Transport::Http2(_) => format!("https://{}", server.tls),
        };
        let threads = if self.cores == Cores::Both { 2 } else { 1 };
        let (connections, seconds) = (self.connections, self.seconds);
        let common = [format!("-t{threads}"), format!("-c{connections}")];
        let mut command;
        if let Transport::Http2(streams) = self.transport {
            command = lab.command(self.cores, &needed("h2load")?);
            command.args(common).args([format!("-m{streams}"), format!("-D{seconds}")]);
        } else {
            command = lab.command(self.cores, &needed("wrk")?);
            command.args(common).args([format!("-d{seconds}s"), "--latency".to_owned()]);
            command.args(["--timeout", "20s"]);
            self.script(&mut command);
        }
        let path = match &self.ask {
            Ask::One(path) | Ask::Variants(path, _) => path,
            Ask::Among(..) | Ask::New(_) => "/",
        };
        let output = command.arg(format!("{base}{path}")).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let told = match self.transport {
            Transport::Http2(_) => of_h2load(&said),
            Transport::Plain | Transport::Tls => of_wrk(&said),
        };
        let complaint = || String::from_utf8_lossy(&output.stderr).into_owned();
        told.filter(|told| told.requests > 0)
            .ok_or_else(|| io::Error::other(format!("{base}: no answers: {said}{}", complaint())))
    }

    fn script(&self, command: &mut Command) {
        const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
        let (script, prefix, count) = match &self.ask {
            Ask::One(_) => return,
            Ask::Among(prefix, count) => ("urls", prefix, Some(count)),
            Ask::New(prefix) => ("urls", prefix, None),
            Ask::Variants(path, count) => ("variants", path, Some(count)),
        };
        command.args(["-s", &format!("{FOLDER}/{script}.lua")]);
        match &self.ask {
            // What was new in the last run is not in this one.
            Ask::New(_) => command.env("PREFIX", format!("{prefix}{}-", now())),
            _ => command.env("PREFIX", prefix),
        };
        if let Some(count) = count {
            command.env("COUNT", count.to_string());
        }
    }
}

/// A number that was never told before.
fn now() -> u128 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos()
}

fn of_wrk(said: &str) -> Option<Told> {
    let failed = number_behind(said, "Non-2xx or 3xx responses:").unwrap_or(0)
        + behind(said, "Socket errors:").map_or(0, |rest| numbers(rest.lines().next()));
    // Above it there are shares in percent too.
    let latencies = behind(said, "Latency Distribution").unwrap_or_default();
    Some(Told {
        requests: before(said, " requests in")?.parse().ok()?,
        failed,
        rate: behind(said, "Requests/sec:")?.split_whitespace().next()?.parse().ok()?,
        p50: behind(latencies, "50%").and_then(millis),
        p99: behind(latencies, "99%").and_then(millis),
    })
}

fn of_h2load(said: &str) -> Option<Told> {
    // Who does not speak it is asked in HTTP/1.1.
    behind(said, "Application protocol: h2")?;
    Some(Told {
        requests: before(said, " 2xx")?.parse().ok()?,
        // What is "errored" is among them.
        failed: before(said, " failed,")?.parse().ok()?,
        rate: before(said, " req/s")?.parse().ok()?,
        p50: None,
        p99: None,
    })
}

/// The word that ends where `mark` begins.
fn before<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text[..text.find(mark)?].rsplit([' ', '\n']).next()
}

fn behind<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    Some(&text[text.find(mark)? + mark.len()..])
}

fn number_behind(text: &str, mark: &str) -> Option<u64> {
    behind(text, mark)?.split_whitespace().next()?.parse().ok()
}

/// The sum of what stands in a line.
fn numbers(line: Option<&str>) -> u64 {
    let words = line.unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// A time as wrk writes it.
fn millis(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 4] = [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)];
    let word = text.split_whitespace().next()?;
    let (unit, factor) = UNITS.into_iter().find(|(unit, _)| word.ends_with(unit))?;
    Some(word.strip_suffix(unit)?.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    \
        Latency   655.98us  410.57us   9.31ms   89.50%\n    Req/Sec    97.1k     4.5k  110.1k    68.99%\n  \
        Latency Distribution\n     50%  637.00us\n     75%    1.10ms\n     99%    3.33ms\n  \
        193500 requests in 2.00s, 250.11MB read\n  \
        Socket errors: connect 0, read 3, write 0, timeout 2\n  Non-2xx or 3xx responses: 7\n\
        Requests/sec:  96750.12\nTransfer/sec:    125.05MB\n";

    const H2LOAD: &str = "Application protocol: h2\nfinished in 2.00s, 106800.50 req/s, 125.44MB/s\n\
        requests: 213601 total, 214113 started, 213601 done, 213601 succeeded, 4 failed, \
        1 errored, 0 timeout\nstatus codes: 213601 2xx, 0 3xx, 0 4xx, 0 5xx\n";

    #[test]
    fn wrk_is_understood() {
        let told = of_wrk(WRK).unwrap();
        assert_eq!((told.requests, told.failed, told.rate), (193_500, 12, 96_750.12));
        assert_eq!((told.p50, told.p99), (Some(0.637), Some(3.33)));
        assert_eq!(of_wrk("unable to connect"), None);
    }

    #[test]
    fn h2load_is_understood() {
        let told = of_h2load(H2LOAD).unwrap();
        assert_eq!((told.requests, told.failed, told.rate), (213_601, 4, 106_800.5));
        assert_eq!(of_h2load("connection refused"), None);
        let older = H2LOAD.replace("protocol: h2", "protocol: http/1.1");
        assert_eq!(of_h2load(&older), None, "it is not what was asked for");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(millis(" 1.20s\n"), Some(1200.0));
        assert_eq!(millis("2.00m"), Some(120_000.0));
        assert_eq!(millis("90"), None);
    }
}
