//! What is told of the purges of the whole fleet.

use std::sync::Arc;

use super::of_tier;
use crate::cache;
use crate::store::remote::fleet::{Doubted, Fleet, Read};
use crate::telemetry::Metrics;

pub(super) fn register(metrics: &Metrics, cache: &Arc<cache::Shared>) {
    for &outcome in Read::ALL {
        let labels = vec![("result", outcome.word().to_owned())];
        let read = of_tier(cache, move |tier| tier.fleet().counters().entries(outcome));
        let help = "Entries read from the fleet's stream of purges";
        metrics.counter_with("seawall_fleet_entries", help, labels, read);
    }
    for &why in Doubted::ALL {
        let labels = vec![("why", why.word().to_owned())];
        let read = of_tier(cache, move |tier| tier.fleet().counters().doubts(why));
        let help = "How often everything had to be validated, because purges may have been missed";
        metrics.counter_with("seawall_fleet_doubts", help, labels, read);
    }
    let counter = |name, help, read: fn(&Fleet) -> u64| {
        metrics.counter(name, help, of_tier(cache, move |tier| read(tier.fleet())));
    };
    let help = "Entries written to the fleet's stream of purges";
    counter("seawall_fleet_published", help, |fleet| fleet.counters().publications());
    let help = "How often more purges waited than are kept, so that all nodes doubt everything";
    counter("seawall_fleet_overflows", help, |fleet| fleet.counters().overflows());
    let gauge = |name, help, read: fn(&Fleet) -> f64| {
        metrics.gauge(name, help, of_tier(cache, move |tier| read(tier.fleet())));
    };
    let help = "Whether purges of other nodes are heard (1) or not (0)";
    gauge("seawall_fleet_synced", help, |fleet| f64::from(u8::from(fleet.deaf().is_none())));
    let help = "Seconds since all purges that there were had been heard";
    gauge("seawall_fleet_unsynced_seconds", help, |fleet| fleet.unsynced().as_secs_f64());
    let help = "Nodes that take part, as far as this one knows";
    gauge("seawall_fleet_nodes", help, |fleet| fleet.nodes().len() as f64);
    let help = "Purges that wait to be written to the fleet's stream";
    gauge("seawall_fleet_unpublished", help, |fleet| fleet.unpublished() as f64);
}
