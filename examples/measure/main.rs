//! Measures Seawall beside its peers, and writes what it finds into docs/benchmarks.md.
//!
//! `make bench-peers` and its kind. What was measured of a program is kept below `target/bench`, so a
//! run that was cut goes on where it was; `--again` begins anew. Ctrl-C ends servers and generators, and
//! leaves nothing but the results.
#![expect(clippy::print_stderr, reason = "it is a program that tells how far it is")]
#![expect(clippy::cast_possible_wrap, reason = "places in a plot are small")]

mod client;
mod conditions;
mod curves;
mod curves_page;
mod generator;
mod handshakes;
mod interrupt;
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
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, value_parser};
use seawall::shutdown::raise_open_files;

use crate::conditions::Conditions;
use crate::lab::Lab;
use crate::page::Page;
use crate::results::Results;
use crate::rounds::Turns;

/// Measure Seawall beside its peers, and write docs/benchmarks.md
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
    Page {
        /// Where results are kept
        #[arg(long, default_value = "target/bench")]
        results: PathBuf,
        /// The folder with benchmarks.md
        #[arg(long, default_value = "docs")]
        docs: PathBuf,
    },
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
    #[arg(long, env = "ROUNDS", default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a turn takes, in seconds
    #[arg(long, env = "SECS", default_value_t = 2, value_parser = value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How many objects are stored to weigh one: at least 1,000, which are asked for again
    #[arg(long, env = "OBJECTS", default_value_t = 200_000, value_parser = value_parser!(u64).range(1000..))]
    objects: u64,
    /// Measure again what is known, as after another server was installed
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
        What::Peers(options) => options.measure("peers", &["wrk", "h2load"], |lab, results| {
            peers::measure(lab, results, options.turns(), options.objects)?;
            stampede::measure(lab, results, 2)
        }),
        What::Curves(options) => options.measure("curves", &["wrk"], |lab, results| {
            curves::measure(lab, results, options.turns())
        }),
        What::Tails(options) => options.measure("tails", &[], |lab, results| {
            tails::measure(lab, results, 2 * options.seconds)?;
            handshakes::measure(lab, results, 2 * options.seconds)
        }),
        What::Page { results, docs } => {
            write_page(&mut Page::open(docs)?, &Results::of_last(results)?)
        }
        What::Origin { listen } => origin::run(*listen),
    }
}

impl Options {
    const fn turns(&self) -> Turns {
        Turns { rounds: self.rounds, seconds: self.seconds }
    }

    /// Measures a group of things by means of some programs, and writes the page.
    fn measure(
        &self,
        group: &str,
        programs: &[&str],
        measure: impl FnOnce(&Lab, &Results) -> io::Result<()>,
    ) -> io::Result<()> {
        // Whatever is missing is told before anything is measured.
        let mut page = Page::open(&self.docs)?;
        let how = format!("{} rounds of {} s, {} objects", self.rounds, self.seconds, self.objects);
        let results = Results::of(&self.results, &self.seawall, &how)?;
        for program in programs {
            peer::needed(program)?;
        }
        interrupt::listen()?;
        let lab = Lab::open(&self.seawall)?;
        if self.again {
            results.forget(&format!("{group}-"))?;
        }
        let conditions = || Conditions::of(&lab, self.turns());
        let measured = results
            .get_or(&conditions::file(group), conditions)
            .and_then(|_| measure(&lab, &results));
        drop(lab);
        interrupt::check()?;
        // What is known is known, whatever went wrong then.
        write_page(&mut page, &results).and(measured)
    }
}

fn write_page(page: &mut Page, results: &Results) -> io::Result<()> {
    peers_page::write(page, results)?;
    curves_page::write(page, results)?;
    tails_page::write(page, results)
}
