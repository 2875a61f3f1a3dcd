//! `seawall bench`: its arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::uri::Authority;
use seawall::config;

use super::logs::Logs;

const EXAMPLES: &str = "\
Examples:
  seawall bench http://127.0.0.1:8080 --urls pages.txt --requests 10000
      these pages of a running site, over and over

  seawall serve --origin http://127.0.0.1:9000 --listen 127.0.0.1:8080 &
  seawall bench http://127.0.0.1:8080 --with-origin 127.0.0.1:9000 --duration 30s --warmup 10s
      made-up objects from an origin of its own, which counts what gets through

  seawall bench http://127.0.0.1:8080 --with-origin 127.0.0.1:9000 --log access.log --speed 60
      what an access log (or a trace) says, an hour of it in a minute

  seawall bench https://cache.example --rate 2000 --duration 1m \\
      --budget 'hit>=90%,hit.p99<=5ms' --html report.html
      for CI: exit code 1 where a budget is missed

Budgets are for hit (or hit_ratio), byte_hit, saved (with what shared another's fetch), origin_hit
and origin_byte_hit (as --with-origin counted), error, rps, origin_requests, and latencies: p50,
p99, p99.9, mean, max, or hit.p99, miss.mean and the like.

Exit codes: 0 good; 1 a budget was missed; 64 usage; 70 failed at run time, as when nobody answers.";

/// Measure hit ratio and latency of a running cache: Seawall, nginx, Varnish or another.
///
/// What the cache did is told by its Cache-Status (RFC 9211), X-Cache-Status, X-Cache or X-Varnish;
/// with --with-origin it is counted at the origin as well. Without --rate or --speed each
/// connection asks again when it has its answer. With them requests begin on time whatever the
/// answers do, and latency counts from then. Ctrl-C ends a run and shows what was measured.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// The cache: http or https, a host, a port, and a path that everything is below.
    #[arg(value_name = "URL", value_parser = site)]
    pub(crate) url: Site,

    /// Ask for the URLs or paths of this file, one a line, in order and again.
    #[arg(long, value_name = "FILE", help_heading = "What is asked for", conflicts_with_all = ["log", "objects", "churn"])]
    pub(crate) urls: Option<PathBuf>,

    /// Else, or but for --log: ask for so many made-up objects [default: 10000].
    #[arg(long, value_name = "N", help_heading = "What is asked for", conflicts_with = "log", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) objects: Option<u32>,

    /// How much more popular the popular ones are: the exponent of Zipf's law, 0 for not at all
    /// [default: 0.9; with --urls, in order].
    #[arg(long, value_name = "S", help_heading = "What is asked for", conflicts_with = "log", value_parser = exponent)]
    pub(crate) zipf: Option<f64>,

    /// Share of requests that are for a new object, while old ones fade, as news do
    /// [default: 0%].
    #[arg(long, value_name = "SHARE", help_heading = "What is asked for", conflicts_with = "log", value_parser = share)]
    pub(crate) churn: Option<f64>,

    /// Size of made-up objects, or a range; for --with-origin [default: 16KiB].
    #[arg(
        long,
        value_name = "SIZE[..SIZE]",
        help_heading = "What is asked for",
        conflicts_with = "log"
    )]
    pub(crate) size: Option<String>,

    /// Where chance comes from: the same seed, the same requests.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "What is asked for")]
    pub(crate) seed: u64,

    /// A field of every request; may be repeated.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", help_heading = "What is asked for", value_parser = field)]
    pub(crate) header: Vec<(http::HeaderName, http::HeaderValue)>,

    #[command(flatten)]
    pub(crate) logs: Logs,

    /// Send what a log has of POST, PUT, DELETE and the like too, without bodies: it may change
    /// what is behind the cache. With --with-origin it is sent anyway.
    #[arg(long, help_heading = "Logs", requires = "log")]
    pub(crate) all_methods: bool,

    /// So many requests a second, however the answers come (open loop).
    #[arg(long, value_name = "N", help_heading = "When", value_parser = positive, conflicts_with = "speed")]
    pub(crate) rate: Option<f64>,

    /// At the times of the log, so many times faster (open loop).
    #[arg(long, value_name = "FACTOR", help_heading = "When", value_parser = positive, requires = "log")]
    pub(crate) speed: Option<f64>,

    /// End after so many requests.
    #[arg(long, short = 'n', value_name = "N", help_heading = "When", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,

    /// End after this time [default: 10s, unless there are --requests or a file to be played].
    #[arg(long, short = 'd', value_name = "TIME", help_heading = "When", value_parser = time)]
    pub(crate) duration: Option<Duration>,

    /// Ask for so long, or so often, before anything is counted.
    #[arg(long, value_name = "TIME|N", help_heading = "When", value_parser = warmup)]
    pub(crate) warmup: Option<Warmup>,

    /// Connections at once.
    #[arg(long, short = 'c', value_name = "N", default_value_t = 16, help_heading = "How", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) connections: u32,

    /// Requests at once on each connection, with HTTP/2.
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "How", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) streams: u32,

    /// The version of HTTP [default: what TLS comes to, else 1.1].
    #[arg(long, value_name = "VERSION", help_heading = "How")]
    pub(crate) http: Option<Http>,

    /// Trust the certificate authorities of this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE", help_heading = "How", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,

    /// Trust any certificate.
    #[arg(long, help_heading = "How")]
    pub(crate) insecure: bool,

    /// Bound on a request and its whole answer.
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = "How", value_parser = time)]
    pub(crate) timeout: Duration,

    /// Bound on an answer's body.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", help_heading = "How", value_parser = config::size)]
    pub(crate) max_body: u64,

    /// Threads [default: one for each core].
    #[arg(long, value_name = "N", help_heading = "How", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) threads: Option<u16>,

    /// Be the origin of the cache as well, on this address: answer with what the workload says, and
    /// count what gets through.
    #[arg(long, value_name = "ADDR", help_heading = "The origin", value_parser = config::address)]
    pub(crate) with_origin: Option<SocketAddr>,

    /// Cache-Control of its answers, where no log tells it; empty for none.
    #[arg(long, value_name = "VALUE", default_value = "max-age=3600", help_heading = "The origin", value_parser = field_value)]
    pub(crate) origin_cache_control: http::HeaderValue,

    /// How long it takes to answer; "log": as long as the log says.
    #[arg(long, value_name = "TIME|log", default_value = "0s", help_heading = "The origin", value_parser = latency)]
    pub(crate) origin_latency: Latency,

    /// Exit with 1 if any of these is missed (see below): 'hit>=90%,hit.p99<=5ms'.
    #[arg(long, value_name = "DEMANDS", help_heading = "The report")]
    pub(crate) budget: Option<String>,

    /// Write JSON.
    #[arg(long, help_heading = "The report")]
    pub(crate) json: bool,

    /// Write a report with plots to this file as well: HTML, complete in itself.
    #[arg(long, value_name = "FILE", help_heading = "The report")]
    pub(crate) html: Option<PathBuf>,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// As it was written.
    pub(crate) text: String,
    /// Scheme, host and port.
    pub(crate) origin: config::Origin,
    /// The host to ask for, with its port where that is not the scheme's own.
    pub(crate) authority: Authority,
    /// The path that everything is below, without a slash at its end.
    pub(crate) base: String,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Http {
    /// HTTP/1.1.
    #[value(name = "1.1", alias = "1")]
    One,
    /// HTTP/2, without TLS by prior knowledge.
    #[value(name = "2")]
    Two,
}

/// How long the bench's own origin takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latency {
    /// This long.
    Fixed(Duration),
    /// As long as what the workload was made of.
    Logged,
}

/// What is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmup {
    /// So many requests.
    Requests(u64),
    /// Requests that begin in this time.
    Time(Duration),
}

pub(super) fn site(text: &str) -> Result<Site, String> {
    let example = "write it like http://127.0.0.1:8080 or https://cache.example/shop";
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| format!("the scheme is missing; write http://{text} or https://{text}"))?;
    if text.contains(['?', '#']) {
        return Err(format!("a query or a fragment has no place here; {example}"));
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let origin =
        config::origin(&format!("{scheme}://{host}")).map_err(|error| error.to_string())?;
    let base = path.trim_end_matches('/').to_owned();
    let authority = host.parse();
    let is_path = base.is_empty() || base.parse::<http::uri::PathAndQuery>().is_ok();
    match authority {
        Ok(authority) if is_path => Ok(Site { text: text.to_owned(), origin, authority, base }),
        _ => Err(format!("this is not a URL; {example}")),
    }
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "write a number above 0".to_owned())
}

fn exponent(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=10.0).contains(number));
    number.ok_or_else(|| "write a number from 0 to 10, like 0.9".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().ok().map(|percent| percent / 100.0),
        None => text.parse::<f64>().ok(),
    };
    let share = number.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a share, like 10% or 0.1".to_owned())
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let duration = config::duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("write a time above 0".to_owned()) } else { Ok(duration) }
}

fn latency(text: &str) -> Result<Latency, String> {
    match text {
        "log" => Ok(Latency::Logged),
        _ => config::duration(text).map(Latency::Fixed).map_err(|error| error.to_string()),
    }
}

fn warmup(text: &str) -> Result<Warmup, String> {
    match text.parse() {
        Ok(requests) => Ok(Warmup::Requests(requests)),
        Err(_) => time(text).map(Warmup::Time),
    }
}

pub(super) fn field(line: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let read = || {
        let (name, value) = line.split_once(':')?;
        let name = http::HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, http::HeaderValue::from_str(value.trim()).ok()?))
    };
    read().ok_or_else(|| "write a field like 'cookie: session=1'".to_owned())
}

fn field_value(text: &str) -> Result<http::HeaderValue, String> {
    http::HeaderValue::from_str(text).map_err(|_| "this cannot stand in a field".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn read(line: &str) -> Result<Bench, String> {
        let words = ["seawall", "bench"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Bench(bench) => Ok(*bench),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_url_has_a_host_and_a_base() {
        let bench = read("https://cache.example:8443/shop/ -n 5 -H a:b --warmup 7").unwrap();
        let Site { origin, authority, base, .. } = bench.url;
        assert_eq!((origin.tls, origin.host.as_str(), origin.port), (true, "cache.example", 8443));
        assert_eq!((authority.as_str(), base.as_str()), ("cache.example:8443", "/shop"));
        assert_eq!((bench.requests, bench.warmup), (Some(5), Some(Warmup::Requests(7))));
        assert_eq!(read("http://[::1]:80").unwrap().url.origin.host, "::1");
    }

    #[test]
    fn mistakes_are_explained() {
        for (line, said) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("ftp://a", "only http and https"),
            ("http://", "not a URL"),
            ("http://a b", "unexpected argument"),
            ("http://a:99999", "not a port"),
            ("http://a/?x=1", "query"),
            ("http://u:p@a", "user name"),
            ("http://a --rate 0", "above 0"),
            ("http://a --rate nan", "above 0"),
            ("http://a --rate 5 --speed 1 --trace x", "cannot be used with"),
            ("http://a --speed 1", "--log"),
            ("http://a --format csv", "--log"),
            ("http://a --log x --size 1KiB", "cannot be used with"),
            ("http://a --origin-latency 5", "5s"),
            ("http://a --urls x --trace y", "cannot be used with"),
            ("http://a -n 0", "0 is not in"),
            ("http://a -d 10", "10s"),
            ("http://a -d 0s", "above 0"),
            ("http://a -c 0", "0 is not in"),
            ("http://a --zipf -1", "unexpected argument"),
            ("http://a --zipf=-1", "from 0 to 10"),
            ("http://a --churn 110%", "10%"),
            ("http://a --http 3", "possible values: 1.1, 2"),
            ("http://a --ca x --insecure", "cannot be used with"),
            ("http://a --max-body 5", "5MiB"),
            ("http://a -H nonsense", "cookie"),
            ("http://a --with-origin 9000", "0.0.0.0:9000"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
