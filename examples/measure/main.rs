//! Measures Seawall beside its peers, and writes what it finds into docs/benchmarks.md.
//!
//! `make bench-peers` and its kind. What was measured of a program is kept below `target/bench`, so a
//! run that was cut goes on where it was; `--again` begins anew.
#![expect(clippy::print_stderr, reason = "it is a program that tells how far it is")]
#![expect(clippy::cast_possible_wrap, reason = "places in a plot are small")]

mod client;
mod conditions;
mod curves;
mod curves_page;
mod generator;
mod handshakes;
mod kernel;
mod lab;
mod origin;
mod page;
mod peer;
mod peers;
mod peers_page;
mod plot;
mod results;
mod rounds;
mod stampede;
mod tails;
mod tails_page;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use seawall::shutdown::raise_open_files;

use crate::conditions::Conditions;
use crate::lab::Lab;
use crate::page::Page;
use crate::results::Results;

/// Measures Seawall beside its peers, and writes docs/benchmarks.md
#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What a request costs, what an object takes, how crowds fare: all servers side by side
    Peers(Options),
    /// What a request costs Seawall as there are more objects, connections, rules, variants, bytes
    Curves(Options),
    /// How late the late answers are under load, and what handshakes cost
    Tails(Options),
    /// Write the page again from what was measured
    Page(Options),
    /// Be the origin of all that (started by the others)
    #[command(hide = true)]
    Origin { listen: SocketAddr },
}

#[derive(Args)]
struct Options {
    /// The program to measure
    #[arg(long, env = "SEAWALL", default_value = "target/dist/seawall")]
    seawall: PathBuf,
    /// Where results are kept
    #[arg(long, default_value = "target/bench")]
    results: PathBuf,
    /// The folder with benchmarks.md
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
    /// How often each server has its turn
    #[arg(long, env = "ROUNDS", default_value_t = 3)]
    rounds: usize,
    /// How long a turn takes
    #[arg(long, env = "SECS", default_value_t = 2)]
    seconds: u32,
    /// How many objects are stored to weigh one
    #[arg(long, env = "OBJECTS", default_value_t = 200_000)]
    objects: u64,
    /// Measure again what is known
    #[arg(long)]
    again: bool,
}

fn main() -> ExitCode {
    match run(&Command::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: &What) -> io::Result<()> {
    raise_open_files()?;
    match what {
        What::Peers(options) => options.measure("peers-", |lab, results| {
            results.get_or(&peers::file("conditions"), || {
                Conditions::of(lab, options.rounds, options.seconds)
            })?;
            peers::measure(lab, results, options.rounds, options.seconds, options.objects)?;
            stampede::measure(lab, results, 2)
        }),
        What::Curves(options) => options.measure("curves-", |lab, results| {
            curves::measure(lab, results, options.rounds, options.seconds)
        }),
        What::Tails(options) => options.measure("tails-", |lab, results| {
            tails::measure(lab, results, 2 * options.seconds)?;
            handshakes::measure(lab, results, 2 * options.seconds)
        }),
        What::Page(options) => write_page(&options.docs, &Results::of_last(&options.results)?),
        What::Origin { listen } => origin::run(*listen),
    }
}

impl Options {
    /// Measures a group of things, and writes the page.
    fn measure(
        &self,
        group: &str,
        measure: impl FnOnce(&Lab, &Results) -> io::Result<()>,
    ) -> io::Result<()> {
        let results = Results::of(&self.results, &self.seawall)?;
        if self.again {
            results.forget(group)?;
        }
        kernel::stay_on_core(lab::OUR_CORE)?;
        let measured = measure(&Lab::open(&self.seawall)?, &results);
        // What is known is known, whatever went wrong then.
        write_page(&self.docs, &results).and(measured)
    }
}

fn write_page(docs: &Path, results: &Results) -> io::Result<()> {
    let mut page = Page::open(docs)?;
    peers_page::write(&mut page, results)?;
    curves_page::write(&mut page, results)?;
    tails_page::write(&mut page, results)
}
