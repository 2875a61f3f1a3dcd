//! What `measure peers` found, as tables and a plot.

use std::io;

use crate::conditions::{self, Conditions};
use crate::page::{Page, Table, figure, grouped, with_failures};
use crate::peer::Peer;
use crate::peers::{Row, WEIGHED_SIZE, Weight, Workload, file};
use crate::plot;
use crate::results::Results;
use crate::rounds::{Sample, failed, median};
use crate::stampede::{self, Case, Outcome};

/// Writes the section, if anything is known.
pub(crate) fn write(page: &mut Page, results: &Results) -> io::Result<()> {
    let known: Vec<(Workload, Vec<Row>)> = Workload::all()
        .into_iter()
        .filter_map(|workload| Some((results.get(&file(workload.name))?, workload)))
        .map(|(rows, workload)| (workload, rows))
        .collect();
    if known.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    if let Some(conditions) = results.get::<Conditions>(&conditions::file("peers")) {
        text += &conditions.told(&conditions.turns.told());
    }
    text += "Seconds of CPU for a million requests. \"× nginx\" is nginx's figure over Seawall's: above 1, \
             Seawall does more with the same CPU. *Noise* is the most, of all servers' medians, that \
             others used of a core meanwhile, in percent.\n\n";
    text += &cpu(&known);
    text += &page.plot("peers", "Work for each second of CPU, in nginx's", &bars(&known)?)?;
    text += "Requests a second and, behind the stroke, the 99th percentile of latency in \
             milliseconds, with all connections asking as fast as they are answered: where the \
             generator is at its end these are the generator's.\n\n";
    text += &rates(&known);
    if let Some(weights) = results.get::<Vec<Weight>>(&file("memory")) {
        text += &memory(&weights);
        if present(&known).contains(&Peer::Haproxy) {
            text += "HAProxy takes the whole of its cache when it starts.\n\n";
        }
    }
    let outcomes = stampede::known(results);
    if !outcomes.is_empty() {
        text += &stampedes(&outcomes);
    }
    page.set("peers", &text)
}

fn of(rows: &[Row], peer: Peer, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    let row = rows.iter().find(|row| row.peer == peer)?;
    median(row.samples.iter().filter_map(figure))
}

fn cpu_of(rows: &[Row], peer: Peer) -> Option<f64> {
    of(rows, peer, |sample| Some(sample.cpu))
}

/// By how much another's CPU is more than Seawall's.
fn ratio(rows: &[Row], other: Peer) -> Option<f64> {
    Some(cpu_of(rows, other)? / cpu_of(rows, Peer::Seawall)?)
}

/// The peers that any row has.
fn present(known: &[(Workload, Vec<Row>)]) -> Vec<Peer> {
    let is_there =
        |peer: &Peer| known.iter().any(|(_, rows)| rows.iter().any(|row| row.peer == *peer));
    Peer::ALL.into_iter().filter(is_there).collect()
}

fn columns<'a>(first: &'a str, peers: &[Peer], more: &[&'a str]) -> Table {
    let names = peers.iter().map(|peer| peer.name());
    let all: Vec<_> = [first].into_iter().chain(names).chain(more.iter().copied()).collect();
    Table::new(&all)
}

fn cpu(known: &[(Workload, Vec<Row>)]) -> String {
    let peers = present(known);
    let mut table = columns("workload", &peers, &["× nginx", "× HAProxy", "noise"]);
    for (workload, rows) in known {
        let mut cells = vec![workload.title.to_owned()];
        cells.extend(peers.iter().map(|peer| {
            let samples = rows.iter().filter(|row| row.peer == *peer).flat_map(|row| &row.samples);
            with_failures(figure(cpu_of(rows, *peer)), failed(samples))
        }));
        cells.extend([Peer::Nginx, Peer::Haproxy].map(|peer| figure(ratio(rows, peer))));
        let noise = rows.iter().filter_map(|row| of(rows, row.peer, |sample| Some(sample.noise)));
        cells.push(format!("{:.0}", noise.fold(0.0, f64::max)));
        table.row(&cells);
    }
    table.finish()
}

fn rates(known: &[(Workload, Vec<Row>)]) -> String {
    let peers = present(known);
    let mut table = columns("workload", &peers, &[]);
    for (workload, rows) in known {
        let mut cells = vec![workload.title.to_owned()];
        cells.extend(peers.iter().map(|peer| {
            let rate = of(rows, *peer, |sample| Some(sample.told.rate)).map(grouped);
            let p99 = of(rows, *peer, |sample| sample.told.p99);
            match (rate, p99) {
                (Some(rate), Some(p99)) => format!("{rate} / {}", figure(p99)),
                (rate, _) => rate.unwrap_or_else(|| figure(None)),
            }
        }));
        table.row(&cells);
    }
    table.finish()
}

fn bars(known: &[(Workload, Vec<Row>)]) -> io::Result<String> {
    let peers = present(known);
    let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
    let rows: Vec<_> = known
        .iter()
        .map(|(workload, rows)| {
            let nginx = cpu_of(rows, Peer::Nginx);
            let share = |peer: &Peer| Some(nginx? / cpu_of(rows, *peer)?);
            (workload.title.replace('`', ""), peers.iter().map(share).collect())
        })
        .collect();
    plot::bars("Work for each second of CPU, × nginx", &names, &rows)
}

fn memory(weights: &[Weight]) -> String {
    let text = format!(
        "### Memory\n\nGrowth (PSS, and the cache's folder in memory, if it has one) over {} objects of {} B with six \
         fields, for each.\n\n",
        grouped(weights.first().map_or(0.0, |weight| weight.objects as f64)),
        grouped(WEIGHED_SIZE as f64)
    );
    let mut table = Table::new(&["server", "bytes", "beside the body", "still there, of 1,000"]);
    for weight in weights {
        let beside = weight.bytes - WEIGHED_SIZE as f64;
        let cells = [weight.bytes, beside, weight.kept as f64].map(grouped);
        table.row(&[&[weight.peer.name().to_owned()][..], &cells[..]].concat());
    }
    text + &table.finish()
}

fn stampedes(outcomes: &[Outcome]) -> String {
    let mut text = "### Stampedes\n\n500 clients at once, an origin that takes 500 ms: requests that \
                    reached it; the median client's first byte and the last one's, in milliseconds.\n\n"
        .to_owned();
    let peers = Peer::IN_STAMPEDES.into_iter();
    let peers: Vec<_> =
        peers.filter(|peer| outcomes.iter().any(|outcome| outcome.peer == *peer)).collect();
    let mut table = columns("case", &peers, &[]);
    for case in Case::ALL {
        let cell = |peer: &Peer| {
            let found = outcomes.iter().find(|it| it.case == case && it.peer == *peer);
            found.map_or_else(|| figure(None), crowd)
        };
        let cells = peers.iter().map(cell);
        table.row(&[case.title().to_owned()].into_iter().chain(cells).collect::<Vec<_>>());
    }
    text += &table.finish();
    text
}

fn crowd(outcome: &Outcome) -> String {
    let Outcome { fetched, p50, last, failed, .. } = outcome;
    let times = format!("{fetched}: {} / {}", grouped(*p50), grouped(*last));
    with_failures(times, *failed as u64)
}
