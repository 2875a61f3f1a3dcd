//! What is replayed is what would happen: the same requests through the stack itself.

use std::fmt::Write;
use std::io::Cursor;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::config::{CliOverrides, Settings, parse};
use crate::trial::{Ask, Content, Reply, Set};

const START: i64 = 1_700_000_000;

const SITE: &str = r#"
    [upstream.origin]
    url = "http://127.0.0.1:9000"
    [cache]
    default_lifetime = "20s"
    negative = { "404" = "5s" }
    stale_if_error = "40s"
    max_object_size = "4KiB"
    [[rule]]
    match = { path = "/swr" }
    cache = { stale_while_revalidate = "15s" }
    [[rule]]
    match = { path = "/off" }
    cache.enabled = false
    [[rule]]
    match_response = { status = 203 }
    cache.default_lifetime = "2s"
    [[rule]]
    key.drop_query = ["x*"]
"#;

/// One request, and what the origin would answer.
#[derive(Clone, Debug)]
struct Line {
    after: u64,
    method: &'static str,
    target: &'static str,
    status: u16,
    control: Option<&'static str>,
    size: u64,
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let targets = vec!["/", "/a", "/a?x=1", "/a?y", "/swr", "/off", "/b/../a", "/%61"];
    let controls = vec![
        None,
        None,
        Some("max-age=9"),
        Some("no-store"),
        Some("private"),
        Some("max-age=0"),
        Some("s-maxage=12"),
        Some("max-age=7, must-revalidate"),
        Some("max-age=3, stale-while-revalidate=9"),
        Some("max-age=3, stale-if-error=9"),
    ];
    let line = (
        0_u64..25,
        prop::sample::select(vec!["GET", "GET", "GET", "GET", "GET", "HEAD", "POST"]),
        prop::sample::select(targets),
        prop::sample::select(vec![200, 200, 200, 200, 203, 301, 302, 404, 410, 400, 500, 503]),
        prop::sample::select(controls),
        prop::sample::select(vec![0_u64, 100, 4096, 5000]),
    );
    let line = line.prop_map(|(after, method, target, status, control, size)| Line {
        after,
        method,
        target,
        status,
        control,
        size,
    });
    prop::collection::vec(line, 1..40)
}

/// Every key has one size, as it has in a replay.
fn sized(mut lines: Vec<Line>) -> Vec<Line> {
    let mut sizes = std::collections::HashMap::new();
    for line in &mut lines {
        let key = match line.target {
            "/a?x=1" | "/b/../a" | "/%61" => "/a",
            other => other,
        };
        line.size = *sizes.entry(key).or_insert(line.size);
    }
    lines
}

fn settings() -> Settings {
    parse(SITE, &CliOverrides::default()).unwrap()
}

/// Whether each is answered from memory, by the stack.
fn served(settings: &Settings, lines: &[Line]) -> Vec<bool> {
    let set = Set::new(&settings.proxy, &settings.upstreams, &settings.store);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let stage = set.stage(Timestamp::from_secs(START).plus(Duration::from_millis(500)));
        let mut hits = Vec::new();
        for line in lines {
            stage.advance(Duration::from_secs(line.after));
            let url = format!("http://shop.example{}", line.target);
            let ask = Ask::new(line.method, &url).unwrap();
            let mut headers = HeaderMap::new();
            if let Some(control) = line.control {
                headers.insert("cache-control", control.parse().unwrap());
            }
            let status = StatusCode::from_u16(line.status).unwrap();
            let content = Content::Zeros(usize::try_from(line.size).unwrap());
            let seen = stage.ask(&ask, &Reply::Response { status, headers, content }).await;
            hits.push(seen.is_hit() || seen.is_stale());
        }
        hits
    })
}

/// The same, by a replay of what would be logged of them. Their times are no whole seconds: those
/// would be taken for rounded ones.
fn replayed(settings: &Settings, lines: &[Line]) -> Vec<bool> {
    let mut log = String::new();
    let mut at = START;
    for line in lines {
        at += i64::try_from(line.after).unwrap();
        let control =
            line.control.map_or(String::new(), |it| format!(r#""Cache-Control":["{it}"]"#));
        let _ = writeln!(
            log,
            "{{\"ts\":{at}.5,\"method\":\"{}\",\"host\":\"shop.example\",\"uri\":\"{}\",\
             \"status\":{},\"bytes\":{},\"resp_headers\":{{{control}}}}}",
            line.method, line.target, line.status, line.size
        );
    }
    let source = Source::new(Cursor::new(log.into_bytes()), None).unwrap();
    let mut loader = Loader::new("http://localhost", true, usize::MAX);
    loader.read(source, Some(&format::Format::named("json").unwrap())).unwrap();
    let (mut trace, reading) = loader.finish();
    assert!(reading.broken.is_empty(), "{reading:?}");
    // Also where a body was never logged whole, it is as large as it would be.
    for (asked, known) in trace.asked.iter_mut().enumerate() {
        let text = String::from_utf8_lossy(trace.texts.get(asked as u32)).into_owned();
        let line = lines.iter().find(|line| text == format!("http://shop.example{}", line.target));
        known.size = line.map(|line| line.size);
    }
    let site = Site::new(settings, Weigh::Full, true).assuming(Vec::new(), true);
    let plan = Plan::new(&site, &trace);
    let setup = setup(Policy::Seawall, settings.store.memory as u64);
    engine::outcomes(&trace, &plan, &setup).into_iter().map(Outcome::is_hit).collect()
}

/// A trace of keys, each with its size, and its plan.
fn traced(keys: &[u32], size: impl Fn(u32) -> u64) -> (Trace, Plan) {
    let mut text = String::new();
    for (second, key) in keys.iter().enumerate() {
        let _ = writeln!(text, "{second},{key},{}", size(*key));
    }
    let source = Source::new(Cursor::new(text.into_bytes()), None).unwrap();
    let mut loader = Loader::new("http://localhost", false, usize::MAX);
    loader.read(source, Some(&format::Format::Csv)).unwrap();
    let (trace, _) = loader.finish();
    let plan = Plan::new(&Site::new(&settings(), Weigh::Body, false), &trace);
    (trace, plan)
}

fn setup(policy: Policy, memory: u64) -> Setup {
    Setup { memory, policy, sample: Sample::ALL, clockwork: Clockwork::default() }
}

proptest! {
    #[test]
    fn nobody_exceeds_the_bound_and_with_one_size_nobody_belady(
        keys in prop::collection::vec(0_u32..12, 1..120),
        memory in 1_u64..60,
    ) {
        for is_uniform in [true, false] {
            let size = |key: u32| if is_uniform { 5 } else { 1 + u64::from(key * key % 23) };
            let (trace, plan) = traced(&keys, size);
            let play = |policy| run(&trace, &plan, &setup(policy, memory), None);
            let bound = Bound::new(&trace, &plan, &setup(Policy::Seawall, memory));
            let belady = play(Policy::Belady).hit_ratio();
            let all = Policy::OTHERS.into_iter().chain([Policy::Seawall]);
            for policy in all.filter(|policy| *policy != Policy::Unbounded) {
                let totals = play(policy);
                let (hits, bytes) = (totals.hit_ratio(), totals.byte_hit_ratio());
                prop_assert!(hits <= bound.hit_ratio + 1e-9, "{policy:?}");
                prop_assert!(bytes <= bound.byte_hit_ratio + 1e-9, "{policy:?}");
                prop_assert!(!is_uniform || hits <= belady + 1e-9, "{policy:?}");
            }
        }
    }
}

proptest! {
    // Each starts the stack; PROPTEST_CASES does not change this.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_replay_says_what_the_stack_does(lines in lines()) {
        let (settings, lines) = (settings(), sized(lines));
        prop_assert_eq!(replayed(&settings, &lines), served(&settings, &lines));
    }
}
