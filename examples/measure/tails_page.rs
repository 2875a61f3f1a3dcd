//! What `measure tails` found, as tables and a plot.

use std::io;

use crate::conditions::{self, Conditions};
use crate::handshakes::{self, Handshakes, Kind};
use crate::page::{Page, Table, figure, grouped, with_failures};
use crate::plot::{Chart, Line};
use crate::results::Results;
use crate::tails::{self, Meanwhile, SHARES, Tail};

/// Writes the section, if anything is known.
pub(crate) fn write(page: &mut Page, results: &Results) -> io::Result<()> {
    let mut text = String::new();
    if let Some(tails) = results.get::<Vec<Tail>>(tails::FILE) {
        text += "Latencies in milliseconds; how often a second the other thing was done; the server's share \
                 of its core, and what others used of one, in percent.\n\n";
        text += &page.plot(
            "tails",
            "Latency by share of answers at 80 % of capacity",
            &by_nines(&tails)?,
        )?;
        text += &table(&tails);
    }
    if let Some(all) = results.get::<Vec<Handshakes>>(handshakes::FILE) {
        text += &handshake_table(&all);
    }
    if text.is_empty() {
        return Ok(());
    }
    if let Some(conditions) = results.get::<Conditions>(&conditions::file("tails")) {
        let how = format!("one run of {} s each", 2 * conditions.turns.seconds);
        text.insert_str(0, &conditions.told(&how));
    }
    page.set("tails", &text)
}

fn table(tails: &[Tail]) -> String {
    let shares = SHARES.map(|(share, _)| share);
    let first = ["meanwhile", "% of capacity", "requests/s"];
    let columns = [&first[..], &shares, &["done/s", "server %", "noise"]].concat();
    let mut table = Table::new(&columns);
    for tail in tails {
        let rate = with_failures(grouped(tail.rate), tail.failed);
        let mut cells = vec![tail.meanwhile.title().to_owned(), tail.load.to_string(), rate];
        cells.extend(tail.latencies.iter().map(|millis| figure(*millis)));
        cells.push(figure(tail.done));
        cells.extend([tail.server_share, tail.noise].map(|share| format!("{share:.0}")));
        table.row(&cells);
    }
    table.finish()
}

fn by_nines(tails: &[Tail]) -> io::Result<String> {
    /// Of the loads the one where a server still has to do with its own work only.
    const LOAD: u32 = 80;
    let line = |meanwhile: Meanwhile| {
        let tail = tails.iter().find(|it| it.meanwhile == meanwhile && it.load == LOAD)?;
        let nines = SHARES.iter().map(|(_, nines)| *nines);
        let points = nines.zip(tail.latencies.iter().copied()).collect();
        Some(Line { name: meanwhile.name().to_owned(), points })
    };
    let share = |nines: f64| 100.0 - 100.0 / 10f64.powf(nines);
    Chart {
        title: "ms, at 80 % of capacity",
        lines: Meanwhile::ALL.into_iter().filter_map(line).collect(),
        x_words: &|nines| format!("{} %", (share(*nines) * 100.0).round() / 100.0),
        x_labels: 5,
        y_words: &|millis| format!("{millis}"),
        is_log: true,
    }
    .draw()
}

fn handshake_table(all: &[Handshakes]) -> String {
    let columns = [
        "server",
        "full: CPU ms",
        "a CPU-second",
        "resumed: CPU ms",
        "a CPU-second",
        "resumed %",
        "noise",
    ];
    let mut table = Table::new(&columns);
    for full in all.iter().filter(|it| it.kind == Kind::Full) {
        let resumed = all.iter().find(|it| it.kind == Kind::Resumed && it.peer == full.peer);
        let mut cells = vec![full.peer.name().to_owned()];
        for kind in [Some(full), resumed] {
            let cpu = kind.map(|it| it.cpu);
            cells.push(figure(cpu));
            cells.push(cpu.map_or_else(|| figure(None), |cpu| grouped(1000.0 / cpu)));
        }
        let share = resumed.map(|it| it.resumed as f64 / it.count * 100.0);
        cells.push(share.map_or_else(|| figure(None), |share| format!("{share:.0}")));
        let noise = resumed.map_or(full.noise, |resumed| full.noise.max(resumed.noise));
        cells.push(format!("{noise:.0}"));
        table.row(&cells);
    }
    table.finish()
}
