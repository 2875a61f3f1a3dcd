//! The values that are asked for when metrics are scraped.

mod fleet;

use std::sync::{Arc, Mutex};

use super::errands::{Both, Counters};
use super::node::{State, lock};
use crate::cache;
use crate::redis::{Fault, Health};
use crate::shutdown::Shutdown;
use crate::store;
use crate::store::curve::{Counts, Curve, SIZES};
use crate::store::remote::{Leased, Looked, Tier, Waited, Wrote};
use crate::telemetry::Metrics;
use crate::upstream::{Origins, UpstreamStats};

pub(super) fn register(
    metrics: &Metrics,
    cache: &Arc<cache::Shared>,
    shutdown: &Shutdown,
    state: &Arc<Mutex<State>>,
) {
    memory(metrics, cache);
    if cache.memory().feed().is_some() {
        curve(metrics, cache);
    }
    if cache.tier().is_some() {
        tier(metrics, cache);
        fleet::register(metrics, cache);
    }
    work(metrics, cache, shutdown);
    upstreams(metrics, state);
    config(metrics, state);
}

/// What became of what is done without a request.
pub(super) fn errands(metrics: &Metrics, cache: &Arc<cache::Shared>, both: &Arc<Both>) {
    let each = |name, help, read: fn(&Both) -> &Counters| {
        for ran in cache::Ran::ALL {
            let (both, labels) = (Arc::clone(both), vec![("result", ran.word().to_owned())]);
            metrics.counter_with(name, help, labels, move || read(&both).count(ran));
        }
    };
    let help = "Responses that purges wanted refreshed, by what became of that";
    each("seawall_purge_refreshes", help, |both| &both.refreshes);
    if cache.tier().is_some() {
        let help = "Responses that the fleet asks for most, by whether they were had at the start";
        each("seawall_preloads", help, |both| &both.preloads);
    }
    let shared = Arc::clone(cache);
    let help = "Refreshes of what purges made stale that were put off, to spare the origin";
    metrics.counter("seawall_refreshes_put_off", help, move || shared.refreshes_put_off());
}

fn memory(metrics: &Metrics, cache: &Arc<cache::Shared>) {
    let budget = cache.memory().budget().clone();
    let limit = budget.limit() as f64;
    metrics.gauge("seawall_memory_limit_bytes", "Memory budget", move || limit);
    metrics.gauge("seawall_memory_used_bytes", "Memory charged to the budget", move || {
        budget.used() as f64
    });
    let shared = Arc::clone(cache);
    metrics.gauge("seawall_keys", "Keys stored", move || shared.memory().keys() as f64);
    let shared = Arc::clone(cache);
    metrics.counter("seawall_evictions", "Keys evicted for want of memory", move || {
        shared.memory().evictions()
    });
    for kind in store::Kind::ALL {
        let (shared, labels) = (Arc::clone(cache), vec![("kind", kind.word().to_owned())]);
        let read = move || shared.memory().purges(kind);
        metrics.counter_with("seawall_purges", "Purges, by what they cover", labels, read);
    }
    let shared = Arc::clone(cache);
    metrics.counter("seawall_turned_away", "Responses worth less than what is stored", move || {
        shared.memory().turned_away()
    });
}

/// What the shadow caches have counted: counters, so that any span of time can be looked at.
fn curve(metrics: &Metrics, cache: &Arc<cache::Shared>) {
    let help = "Requests for what is stored or could be, to compare seawall_curve_misses with";
    counted(metrics, cache, "seawall_curve_requests", help, None, |counts| counts.requests);
    let help = "Bytes of what was asked for, to compare seawall_curve_missed_bytes with";
    counted(metrics, cache, "seawall_curve_bytes", help, None, |counts| counts.bytes);
    for (size, times) in Curve::sizes().into_iter().enumerate() {
        let help = "Requests that so many times the memory would not have answered";
        let read = move |counts: &Counts<SIZES>| counts.misses[size];
        counted(metrics, cache, "seawall_curve_misses", help, Some(times), read);
        let help = "Bytes that so many times the memory would not have had";
        let read = move |counts: &Counts<SIZES>| counts.missed_bytes[size];
        counted(metrics, cache, "seawall_curve_missed_bytes", help, Some(times), read);
    }
    let shared = Arc::clone(cache);
    let help = "The share of keys that the shadow caches stand on";
    metrics.gauge("seawall_curve_sampled_ratio", help, move || {
        shared.memory().curve().map_or(0.0, |curve| curve.sampled)
    });
}

fn counted(
    metrics: &Metrics,
    cache: &Arc<cache::Shared>,
    name: &'static str,
    help: &'static str,
    times: Option<f64>,
    read: impl Fn(&Counts<SIZES>) -> f64 + Send + Sync + 'static,
) {
    let shared = Arc::clone(cache);
    let labels = times.map(|times| ("memory", times.to_string()));
    #[expect(clippy::cast_sign_loss, reason = "counts are not negative")]
    let count = move || shared.memory().curve().map_or(0, |curve| read(&curve.total) as u64);
    metrics.counter_with(name, help, labels.into_iter().collect(), count);
}

/// Reads a value of the tier behind memory, which is there.
fn of_tier<T: Default>(
    cache: &Arc<cache::Shared>,
    read: impl Fn(&Tier) -> T + Send + Sync + 'static,
) -> impl Fn() -> T + Send + Sync + 'static {
    let cache = Arc::clone(cache);
    move || cache.tier().map(&read).unwrap_or_default()
}

fn tier(metrics: &Metrics, cache: &Arc<cache::Shared>) {
    for &outcome in Looked::ALL {
        let labels = vec![("result", outcome.word().to_owned())];
        let read = of_tier(cache, move |tier| tier.counters().lookups(outcome));
        metrics.counter_with("seawall_redis_lookups", "Lookups in Redis", labels, read);
    }
    for &outcome in Wrote::ALL {
        let labels = vec![("result", outcome.word().to_owned())];
        let read = of_tier(cache, move |tier| tier.counters().writes(outcome));
        let help = "Responses to be written to Redis, and deletions, by what became of them";
        metrics.counter_with("seawall_redis_writes", help, labels, read);
    }
    for &outcome in Leased::ALL {
        let labels = vec![("result", outcome.word().to_owned())];
        let read = of_tier(cache, move |tier| tier.counters().leases(outcome));
        metrics.counter_with("seawall_redis_leases", "Fetches for the fleet", labels, read);
    }
    for &outcome in Waited::ALL {
        let labels = vec![("result", outcome.word().to_owned())];
        let read = of_tier(cache, move |tier| tier.counters().waits(outcome));
        let help = "Waits for fetches of other nodes";
        metrics.counter_with("seawall_redis_lease_waits", help, labels, read);
    }
    for &fault in Fault::ALL {
        let labels = vec![("why", fault.word().to_owned())];
        let read = of_tier(cache, move |tier| tier.room().faults(fault));
        metrics.counter_with("seawall_redis_faults", "Failures of Redis", labels, read);
    }
    let micros = of_tier(cache, |tier| tier.counters().lookup_micros());
    let help = "Microseconds that all lookups in Redis took together";
    metrics.counter("seawall_redis_lookup_microseconds", help, micros);
    let gauge =
        |name, help, read: fn(&Tier) -> f64| metrics.gauge(name, help, of_tier(cache, read));
    let help =
        "Whether Redis is asked and written to (1), only asked or in part (0.5), or left alone (0)";
    gauge("seawall_redis_up", help, |tier| up(tier.health()));
    let help = "The same of each server: of a Cluster, or the one that there is";
    let servers = of_tier(cache, |tier| {
        let servers = tier.room().servers().into_iter();
        servers.map(|(at, health)| (at.to_string(), up(health))).collect::<Vec<_>>()
    });
    metrics.gauges("seawall_redis_server_up", help, "server", servers);
    let help = "Responses that wait to be written to Redis";
    gauge("seawall_redis_queue_items", help, |tier| tier.waiting().0 as f64);
    let help = "Bytes that wait to be written to Redis";
    gauge("seawall_redis_queue_bytes", help, |tier| tier.waiting().1 as f64);
    let help = "Deletions that wait to be done in Redis";
    gauge("seawall_redis_queue_deletions", help, |tier| tier.waiting().2 as f64);
    let help = "Responses for which this node waits while another one fetches them";
    gauge("seawall_redis_lease_waiting", help, |tier| tier.waiting_for_others() as f64);
}

/// How it stands with Redis, as a number.
fn up(health: Health) -> f64 {
    match health {
        Health::Good => 1.0,
        Health::Unwritable(_) | Health::Partly(_) => 0.5,
        Health::Down(_) => 0.0,
    }
}

fn work(metrics: &Metrics, cache: &Arc<cache::Shared>, shutdown: &Shutdown) {
    let shared = Arc::clone(cache);
    metrics
        .gauge("seawall_flights", "Fetches that others may join", move || shared.flights() as f64);
    let background = shutdown.background().clone();
    metrics.gauge(
        "seawall_background_tasks",
        "Fills, refreshes and tunnels under way",
        move || background.len() as f64,
    );
    let shared = Arc::clone(cache);
    metrics.gauge(
        "seawall_requests_waiting",
        "Requests that wait for an origin's answer, their own or another's",
        move || shared.waiting() as f64,
    );
}

/// Those of the upstreams in force; one that a reload has replaced is no longer shown.
fn upstreams(metrics: &Metrics, state: &Arc<Mutex<State>>) {
    let connections = |name, help, read: fn(&UpstreamStats) -> u64| {
        let state = Arc::clone(state);
        metrics.gauges(name, help, "upstream", move || {
            let state = lock(&state);
            let cores: Vec<_> = state.current.origins.iter().map(Origins::stats).collect();
            let sum =
                |index| cores.iter().filter_map(|core| core.get(index)).map(read).sum::<u64>();
            let configs = state.current.shared.configs().iter().enumerate();
            configs.map(|(index, config)| (config.name.clone(), sum(index) as f64)).collect()
        });
    };
    connections("seawall_upstream_connections_open", "Open connections to the upstream", |stats| {
        stats.open
    });
    connections("seawall_upstream_connections_idle", "Idle connections to the upstream", |stats| {
        stats.idle
    });
    let state = Arc::clone(state);
    metrics.gauges(
        "seawall_upstream_requests",
        "Requests with the upstream, until their responses have been read",
        "upstream",
        move || {
            let shared = Arc::clone(&lock(&state).current.shared);
            let configs = shared.configs().iter().enumerate();
            configs
                .map(|(index, config)| (config.name.clone(), shared.requests(index) as f64))
                .collect()
        },
    );
}

/// The configuration and the logs.
fn config(metrics: &Metrics, state: &Arc<Mutex<State>>) {
    let dropped = Arc::clone(state);
    metrics.counter("seawall_access_log_dropped", "Access log lines dropped", move || {
        lock(&dropped).dropped()
    });
    let reloads = |result: &str, read: fn(&State) -> u64| {
        let state = Arc::clone(state);
        metrics.counter_with(
            "seawall_config_reloads",
            "Reloads of the configuration",
            vec![("result", result.to_owned())],
            move || read(&lock(&state)),
        );
    };
    reloads("success", |state| state.taken);
    reloads("failure", |state| state.refused);
    let gauge = |name, help, read: fn(&State) -> f64| {
        let state = Arc::clone(state);
        metrics.gauge(name, help, move || read(&lock(&state)));
    };
    gauge(
        "seawall_config_last_reload_successful",
        "Whether the configuration's last reload was taken (1) or refused (0)",
        |state| f64::from(u8::from(state.config.last_reload_successful)),
    );
    gauge(
        "seawall_config_loaded_timestamp_seconds",
        "When the configuration in force was read",
        |state| state.config.loaded_at as f64,
    );
    gauge("seawall_config_generation", "The number of the configuration in force", |state| {
        state.config.generation as f64
    });
    gauge(
        "seawall_config_restart_needed",
        "Settings in the file that wait for a restart",
        |state| state.config.needs_restart.len() as f64,
    );
}
