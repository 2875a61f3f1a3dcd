//! What is there when nobody asks for anything: it must not be more than before.

use std::time::Duration;

use crate::support::{Proxy, get};

use super::origin::pause;

/// Bytes by which memory may differ between rounds: the allocator's and the harness's noise.
const NOISE: usize = 24 * 1024 * 1024;

/// Looks, a fifth of a second apart, after which what is still there is left for good.
const MOST_LOOKS: usize = 75;

/// What the proxy and its process hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftovers {
    in_flight: u64,
    connections: u64,
    flights: u64,
    background_tasks: u64,
    charged_bytes: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Resident memory that no file backs.
    pub anonymous_bytes: usize,
}

impl Leftovers {
    /// Purges everything and waits, for a bound, until nothing is left: idle connections close, timeouts end.
    pub async fn settled(proxy: &Proxy) -> Self {
        proxy.purge("all", "", "hard").await;
        let mut last = Self::take(proxy).await;
        let mut level = 0;
        for _ in 0..MOST_LOOKS {
            pause(Duration::from_millis(200)).await;
            let next = Self::take(proxy).await;
            let idle = next.in_flight == 0 && next.connections == 0 && next.flights == 0;
            let empty = next.charged_bytes == 0 && next.background_tasks == 0;
            let same = next.descriptors == last.descriptors;
            level = if idle && empty && same { level + 1 } else { 0 };
            last = next;
            // Pooled connections to origins are closed after half a second.
            if level > 6 {
                break;
            }
        }
        last
    }

    async fn take(proxy: &Proxy) -> Self {
        let stats = proxy.ask_admin(&get("/stats")).await;
        let stats: serde_json::Value = serde_json::from_slice(&stats.body).expect("JSON");
        let stat = |name: &str| stats[name].as_u64().expect("a number");
        let metrics = proxy.ask_admin(&get("/metrics")).await;
        let metric = |name: &str| {
            let line = metrics.text().lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.trim().split('.').next()?.parse::<u64>().ok());
            value.unwrap_or_else(|| panic!("there is a {name}"))
        };
        Self {
            in_flight: metric("seawall_requests_in_flight "),
            connections: metric("seawall_connections_open "),
            flights: stat("flights"),
            background_tasks: stat("background_tasks"),
            charged_bytes: stat("memory_used_bytes"),
            descriptors: std::fs::read_dir("/proc/self/fd").expect("Linux").count(),
            anonymous_bytes: anonymous_bytes(),
        }
    }

    /// What is more than it was `before`.
    pub fn compare(&self, after: &Self) -> Vec<String> {
        let more = [
            ("requests in flight", self.in_flight, after.in_flight),
            ("client connections", self.connections, after.connections),
            ("flights", self.flights, after.flights),
            ("tasks", self.background_tasks, after.background_tasks),
            ("charged bytes", self.charged_bytes, after.charged_bytes),
            ("descriptors", self.descriptors as u64, after.descriptors as u64),
        ];
        let grown = more.into_iter().filter(|(_, before, after)| after > before);
        grown
            .map(|(what, before, after)| format!("{what} left: {after}, {before} before"))
            .collect()
    }
}

fn anonymous_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kibibytes.expect("a number of kB") * 1024
}

/// Panics if memory grew from the first to the last of these.
pub fn assert_level(rounds: &[usize]) {
    if let [first, .., last] = rounds {
        assert!(*last <= first + NOISE, "memory grew over the rounds: {rounds:?} bytes");
    }
}
