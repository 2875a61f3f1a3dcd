//! What rules cost a request as their number grows.
#![expect(clippy::expect_used, reason = "what cannot be set up cannot be measured")]

#[expect(dead_code, reason = "others measure with the rest")]
mod fixture;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use seawall::config::{CliOverrides, parse};
use seawall::key::Target;
use seawall::rules::Request;

criterion_group!(benches, matching);
criterion_main!(benches);

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules/match");
    let target = Target::parse("http://www.example.com/section-1/a/b/c.css?v=1").expect("a URL");
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_static("theme=dark; visitor=123456"));
    let request = Request {
        method: &Method::GET,
        target: &target,
        headers: &headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    for rules in [1, 10, 100, 1000] {
        let settings =
            parse(&fixture::rules_file(rules), &CliOverrides::default()).expect("good rules");
        group.bench_with_input(BenchmarkId::from_parameter(rules), &rules, |bencher, _| {
            bencher.iter(|| settings.proxy.rules.matching(black_box(&request)));
        });
    }
}
