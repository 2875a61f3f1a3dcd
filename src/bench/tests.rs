//! The whole bench, in front of a real Seawall with the bench's own origin behind it: what the
//! cache says and what the origin counted have to agree.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use seawall::app::{App, Running};
use seawall::clock::Clock;
use seawall::config::{self, CliOverrides, Sources, Toggled};
use seawall::shutdown::Shutdown;

use super::origin::{Manners, Origin};
use super::plan::Plan;
use super::summary::Summary;
use super::testing::{File, file};
use super::verdict::Verdict;
use super::{Ended, Fault, conclude, measure};
use crate::cli::{Bench, Cli, Command};

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// An origin, and Seawall in front of it.
struct Stage {
    origin: Origin,
    running: Option<Running>,
}

impl Stage {
    fn new(cache_control: &'static str, latency: Duration) -> Self {
        let manners = Manners {
            cache_control: http::HeaderValue::from_static(cache_control),
            latency,
            size: 100,
            most: 1 << 20,
        };
        let origin = Origin::start(ANY_PORT, manners).unwrap();
        let at = origin.address();
        let overrides = CliOverrides {
            origin: Some(config::Origin { tls: false, host: at.ip().to_string(), port: at.port() }),
            listen: vec![ANY_PORT],
            admin_listen: Some(Toggled::Off),
            access_log: Some(Toggled::Off),
            threads: Some(2),
            ..CliOverrides::default()
        };
        let settings = config::load(&Sources { file: None, overrides }).unwrap();
        let running = App::start(settings, Clock::System).unwrap();
        Self { origin, running: Some(running) }
    }

    /// Runs the bench with these flags against it.
    fn run(&self, flags: &str) -> Summary {
        let at = self.running.as_ref().unwrap().addresses()[0];
        let mut plan = plan(&format!("http://{at}/base/ {flags}")).unwrap();
        plan.origin = Some(self.origin.clone());
        let driver = Arc::get_mut(&mut plan.driver).unwrap();
        driver.manner.tells_origin = true;
        measure(&plan).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.running.take().map(Running::kill);
    }
}

fn plan(line: &str) -> Result<Plan, super::PlanError> {
    Plan::new(&bench(line), Shutdown::new())
}

fn bench(line: &str) -> Bench {
    let words = ["seawall", "bench"].into_iter().chain(line.split_whitespace());
    match Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Bench(bench) => *bench,
        other => panic!("{other:?}"),
    }
}

/// Six requests for three pages.
fn pages() -> File {
    file("pages", "/a\n/b\n/a\n/c\n/b\n/a\n")
}

fn count(summary: &Summary, verdict: Verdict) -> u64 {
    summary.record.answers.get(&verdict).map_or(0, |tally| tally.latencies.count())
}

fn assert_near(found: Option<f64>, expected: f64) {
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{found:?} for {expected}");
}

#[test]
fn what_the_cache_says_is_what_the_origin_counted() {
    let (stage, pages) = (Stage::new("max-age=600", Duration::ZERO), pages());
    let list = format!("--urls {} --size 1000B", pages.path().display());
    for http in ["1.1", "2"] {
        // HTTP/2 asks for the same pages, which are all there by then.
        let fetched = if http == "1.1" { 3 } else { 0 };
        let summary = stage.run(&format!("{list} --connections 1 --streams 1 --http {http}"));
        assert_eq!((summary.answered, summary.failed, summary.bytes), (6, 0, 6_000), "{http}");
        assert_eq!(count(&summary, Verdict::Miss), fetched);
        assert_eq!(count(&summary, Verdict::Hit), 6 - fetched);
        let hits = 1.0 - fetched as f64 / 6.0;
        assert_near(summary.hit_ratio, hits);
        assert_near(summary.byte_hit_ratio, hits);
        let origin = summary.origin.unwrap();
        assert_eq!((origin.requests, origin.bytes), (fetched, fetched * 1_000));
        assert_near(origin.hit_ratio, hits);
        assert_near(origin.byte_hit_ratio, hits);
        assert_eq!(summary.told_by["Cache-Status"], 6);
        assert_eq!(summary.statuses[&200], 6);
    }
}

#[test]
fn many_at_once_cost_the_origin_each_page_once_and_are_told_apart() {
    let (stage, pages) = (Stage::new("max-age=600", Duration::from_millis(20)), pages());
    let summary = stage.run(&format!(
        "--urls {} --requests 600 --connections 12 --size 5B..90B",
        pages.path().display()
    ));
    assert_eq!((summary.answered, summary.failed), (600, 0));
    let origin = summary.origin.unwrap();
    assert_eq!(origin.requests, 3);
    assert_eq!(count(&summary, Verdict::Miss), 3);
    assert_near(summary.saved_ratio, 597.0 / 600.0);
    assert_near(origin.hit_ratio, 597.0 / 600.0);
    let misses = summary.latencies(Some(Verdict::Miss)).unwrap();
    assert!(misses.quantile(0.0).unwrap() >= Duration::from_millis(19), "the origin's latency");
}

#[test]
fn what_may_not_be_stored_all_comes_through() {
    let stage = Stage::new("no-store", Duration::ZERO);
    let summary = stage.run("--objects 5 --requests 50 --connections 4 --size 10B");
    let origin = summary.origin.unwrap();
    assert_eq!((origin.requests, summary.answered), (50, 50));
    assert_near(summary.hit_ratio, 0.0);
    assert_near(origin.hit_ratio, 0.0);
    assert_eq!(summary.bytes, 500);
}

#[test]
fn a_warm_up_is_not_counted_and_a_trace_says_sizes() {
    let stage = Stage::new("max-age=600", Duration::ZERO);
    let trace = file("trace", "0,a,10\n0.001,b,20\nnonsense\n0.002,a,10\n0.003,b,20\n0.004,c,30\n");
    let name = trace.path().display();
    let summary = stage.run(&format!("--trace {name} --warmup 2 --connections 1"));
    assert_eq!((summary.requests, summary.bytes, summary.broken_lines), (3, 60, 1));
    let origin = summary.origin.unwrap();
    assert_eq!((origin.requests, origin.bytes), (1, 30));
    assert_near(summary.hit_ratio, 2.0 / 3.0);
}

#[test]
fn an_open_loop_keeps_to_its_times() {
    let stage = Stage::new("max-age=600", Duration::ZERO);
    let summary = stage.run("--objects 3 --requests 20 --rate 200 --connections 2");
    assert_eq!(summary.answered, 20);
    // The last of twenty is due after nineteen intervals of five milliseconds.
    assert!(summary.seconds >= 0.095, "{}", summary.seconds);
    assert_eq!(summary.record.lag.count(), 20);
    // A time bound ends it as well: what is due later is not sent.
    let summary = stage.run("--objects 3 --duration 100ms --rate 50 --connections 2");
    assert!(summary.requests <= 5, "{}", summary.requests);
}

#[test]
fn requests_wait_for_a_free_connection_and_that_counts() {
    let stage = Stage::new("no-store", Duration::from_millis(30));
    // Ten are due within a millisecond, and one connection takes 30 ms for each.
    let summary = stage.run("--objects 10 --requests 10 --rate 10000 --connections 1 --size 1B");
    let latencies = summary.latencies(None).unwrap();
    assert!(latencies.most().unwrap() >= Duration::from_millis(280), "{:?}", latencies.most());
}

#[test]
fn what_was_measured_before_a_signal_is_told() {
    let stage = Stage::new("max-age=600", Duration::ZERO);
    let at = stage.running.as_ref().unwrap().addresses()[0];
    // A signal that came before the first request: nothing is sent, and that is no failure.
    let plan = plan(&format!("http://{at} --rate 1 --connections 2")).unwrap();
    plan.driver.stop.drain();
    let summary = measure(&plan).unwrap();
    assert!(summary.interrupted);
    assert_eq!(summary.requests, 0);
    assert_eq!(conclude(&summary, &[]).unwrap(), Ended::Good);
}

#[test]
fn a_body_beyond_the_bound_is_a_failure_and_no_answer_at_all_is_an_error() {
    let stage = Stage::new("max-age=600", Duration::ZERO);
    let summary = stage.run("--objects 1 --requests 3 --connections 1 --size 500B --max-body 100B");
    assert_eq!((summary.answered, summary.failures["too-large"]), (0, 3));
    assert!(matches!(conclude(&summary, &[]), Err(Fault::NoAnswer(_))));
}

#[test]
fn nobody_there_is_told_at_once() {
    let listener = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let error = plan(&format!("http://{at}")).unwrap_err();
    assert!(!error.is_usage() && error.to_string().contains("refused"), "{error}");
    let error = plan(&format!("http://{at} --urls /nowhere/at/all")).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("/nowhere/at/all"), "{error}");
    let error = plan(&format!("http://{at} --budget hits>=80%")).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("hit_ratio"), "{error}");
    let error = plan(&format!("https://{at} --ca /nowhere/ca.pem")).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("/nowhere/ca.pem"), "{error}");
}
