//! What a scrape writes.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::details::Details;
use super::histogram::Sum;
use super::{Asked, CoreMetrics, MethodClass, Metrics, Read, STATUS_CLASSES};
use crate::telemetry::CacheWord;

/// One scrape of all metrics.
#[derive(Debug)]
pub(super) struct Scrape(pub(super) Arc<Metrics>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let metrics = &*self.0;
        requests(metrics, &mut encoder)?;
        details(metrics, &mut encoder)?;
        durations(metrics, &mut encoder)?;
        for &(name, help, read) in CoreMetrics::COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter(&mut metric, metrics.sum(read))?;
        }
        differences(metrics, &mut encoder)?;
        asked(metrics, &mut encoder)
    }
}

fn counter(metric: &mut MetricEncoder, value: u64) -> Result<(), Error> {
    metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

fn requests(metrics: &Metrics, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    let help = "Requests answered, by method, status class and what the cache did";
    let mut family =
        encoder.encode_descriptor("seawall_requests", help, None, MetricType::Counter)?;
    for method in MethodClass::ALL {
        for (class, status) in STATUS_CLASSES.into_iter().enumerate() {
            for word in CacheWord::ALL {
                let count = metrics.sum(|core| {
                    core.requests[method as usize][class][word as usize].load(Ordering::Relaxed)
                });
                // Series appear with their first request: most of the table stays empty.
                if count > 0 {
                    let labels =
                        [("method", method.word()), ("status", status), ("cache", word.word())];
                    counter(&mut family.encode_family(&labels)?, count)?;
                }
            }
        }
    }
    Ok(())
}

fn details(metrics: &Metrics, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    let help = "Requests answered, by the detail word of Cache-Status";
    words(metrics, encoder, ("seawall_request_details", help), "detail", |core| &core.details)?;
    let help = "HTTP/2 connections ended because of what the client did too much of";
    words(metrics, encoder, ("seawall_connection_offences", help), "kind", |core| &core.offences)
}

/// Counts by a word, which is the value of `label`.
fn words(
    metrics: &Metrics,
    encoder: &mut DescriptorEncoder,
    (name, help): (&str, &str),
    label: &str,
    read: fn(&CoreMetrics) -> &Details,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    let mut counts = BTreeMap::new();
    for (word, count) in metrics.cores.iter().flat_map(|core| read(core).each()) {
        *counts.entry(word).or_insert(0) += count;
    }
    for (word, count) in counts {
        counter(&mut family.encode_family(&[(label, word)])?, count)?;
    }
    Ok(())
}

fn durations(metrics: &Metrics, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    let help = "From the request's head to the end of the response";
    let name = "seawall_request_duration_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let hits: Sum = metrics.cores.iter().map(|core| &core.hit_duration).collect();
    let misses: Sum = metrics.cores.iter().map(|core| &core.miss_duration).collect();
    histogram(&mut family, "hit", &hits)?;
    histogram(&mut family, "miss", &misses)?;
    let help = "From the request's head to the response's head";
    let name = "seawall_time_to_first_byte_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let misses: Sum = metrics.cores.iter().map(|core| &core.miss_first_byte).collect();
    histogram(&mut family, "miss", &misses)
}

fn histogram(family: &mut MetricEncoder, cache: &str, sum: &Sum) -> Result<(), Error> {
    family.encode_family(&[("cache", cache)])?.encode_histogram::<NoLabelSet>(
        sum.seconds,
        sum.count,
        &sum.buckets,
        None,
    )
}

/// Gauges that are the difference of two counters, so that neither end needs the other's core.
fn differences(metrics: &Metrics, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    let difference = |from: fn(&CoreMetrics) -> u64, less: fn(&CoreMetrics) -> u64| {
        // What was subtracted is read first: a count between the two reads can't make it negative.
        let less = metrics.sum(less);
        metrics.sum(from).saturating_sub(less)
    };
    let open = difference(
        |core| core.connections_accepted.load(Ordering::Relaxed),
        |core| core.connections_closed.load(Ordering::Relaxed),
    );
    let in_flight = difference(
        |core| core.requests_started.load(Ordering::Relaxed),
        |core| core.requests_finished.load(Ordering::Relaxed),
    );
    for (name, help, value) in [
        ("seawall_connections_open", "Client connections open", open),
        ("seawall_requests_in_flight", "Requests under way", in_flight),
    ] {
        encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
    }
    Ok(())
}

/// Values that others keep. One family must be written in one piece, so they are sorted by name.
fn asked(metrics: &Metrics, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    let asked = metrics.asked.lock().unwrap_or_else(PoisonError::into_inner);
    let mut families: BTreeMap<&str, Vec<&Asked>> = BTreeMap::new();
    for value in &*asked {
        families.entry(value.name).or_default().push(value);
    }
    for (name, values) in families {
        let Some(first) = values.first() else { continue };
        let kind = match first.read {
            Read::Gauge(_) | Read::Gauges(..) => MetricType::Gauge,
            Read::Counter(_) => MetricType::Counter,
        };
        let mut family = encoder.encode_descriptor(name, first.help, None, kind)?;
        for value in values {
            if value.labels.is_empty() {
                one(&mut family, &value.read)?;
            } else {
                one(&mut family.encode_family(&value.labels)?, &value.read)?;
            }
        }
    }
    Ok(())
}

fn one(metric: &mut MetricEncoder, read: &Read) -> Result<(), Error> {
    match read {
        Read::Gauge(read) => metric.encode_gauge(&read()),
        Read::Gauges(label, read) => read().into_iter().try_for_each(|(name, value)| {
            metric.encode_family(&[(*label, name)])?.encode_gauge(&value)
        }),
        Read::Counter(read) => counter(metric, read()),
    }
}
