//! `seawall replay`.
#![expect(clippy::doc_markdown, reason = "what is shown by --help is no Markdown")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use seawall::config;
use seawall::forecast::{Assumption, AssumptionError, Budget, BudgetError};
use seawall::key::{Target, TargetError};

use super::logs::Logs;

const EXAMPLES: &str = "\
Examples:
  seawall replay --log access.log.gz
  seawall replay --log access.log -c seawall.toml --html report.html
  seawall replay --log access.log -c seawall.toml --memory 64MiB,256MiB,1GiB \\
      --what-if 'cache.default_lifetime=1m|10m|1h'
  zcat access.log.*.gz | seawall replay --log - --format combined --assume 'image/*=1d' --json
  seawall replay --log access.log -c seawall.toml --budget 'hit>=85%,origin_rps_peak<=200'
  seawall replay diff old.toml new.toml --log access.log

Exit codes: 0 good; 1 a budget is missed; 64 usage or configuration; 70 the log can't be read";

/// Say what hit rate a configuration will give, from an access log or a trace.
///
/// Every request is replayed in virtual time through Seawall's own rules, policy and eviction.
/// Nothing is sent anywhere. What a log can't know is assumed, and it is said how much rests on it:
/// unless --assume says otherwise, what neither the log nor the configuration speaks of stays fresh.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Replay {
    #[command(subcommand)]
    pub(crate) command: Option<ReplayCommand>,

    /// The configuration file (TOML); without one the defaults hold.
    #[arg(long, short, env = "SEAWALL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) asked: Asked,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    Diff(Diff),
}

/// Say what one configuration wins and loses against another.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The configuration to compare with.
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,

    /// The configuration to judge.
    #[arg(value_name = "AFTER")]
    pub(crate) after: PathBuf,

    #[command(flatten)]
    pub(crate) asked: Asked,
}

/// What `replay` and `replay diff` are asked for.
#[derive(Debug, Args)]
#[command(mut_arg("log", |log| log.required(true)))]
pub(crate) struct Asked {
    #[command(flatten)]
    pub(crate) logs: Logs,

    /// What the log leaves out of URLs.
    #[arg(long, value_name = "URL", default_value = "http://localhost", value_parser = base, help_heading = "Logs")]
    pub(crate) base: String,

    #[command(flatten)]
    pub(crate) settings: Settings,

    #[command(flatten)]
    pub(crate) telling: Telling,
}

/// Under which settings.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Memory, instead of the configuration's; the first is told of in full, all are on the curve.
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',', value_parser = memory)]
    pub(crate) memory: Vec<u64>,

    /// Set a key of the configuration: 'cache.default_lifetime=1h', 'rule.NAME.key.drop_tracking=true'.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// Compare with other values: 'KEY=A|B|C', of several keys together 'KEY=A; KEY=B'.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) what_if: Vec<String>,

    /// What the origin says where the log does not tell: 'image/*=1d', '/api/*=no-store', '*=10m';
    /// the last that fits wins; "none": nothing.
    #[arg(long, value_name = "PATTERN=TIME", value_parser = Assumed::parse)]
    pub(crate) assume: Vec<Assumed>,

    /// What of an object is weighed: all that it costs, or its body alone (as published tables do).
    #[arg(long, value_enum, default_value_t = Weigh::Full)]
    pub(crate) weigh: Weigh,

    /// Do not count the first requests, for so long.
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    pub(crate) warm_up: Option<Duration>,

    /// How long a fetch takes, where the log does not say.
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    pub(crate) latency: Option<Duration>,
}

/// What is told, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Telling {
    /// Write JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a report with plots here: one HTML file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Exit with 1 if any of these is missed: 'hit>=85%,byte_hit>=70%,origin_rps_peak<=200'.
    #[arg(long, value_name = "DEMANDS", value_parser = budget)]
    pub(crate) budget: Option<Budget>,

    /// Play other policies too: LRU, FIFO, moka, S3-FIFO, SIEVE, GDSF (so it is where a
    /// person reads).
    #[arg(long)]
    pub(crate) compare: bool,

    /// Play other sizes of memory too (so it is where a person reads).
    #[arg(long)]
    pub(crate) curve: bool,

    /// Play neither.
    #[arg(long, conflicts_with_all = ["compare", "curve"])]
    pub(crate) quick: bool,

    /// URLs, hosts and types that are named.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) top: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Weigh {
    Full,
    Body,
}

/// One `--assume`.
#[derive(Clone, Debug)]
pub(crate) enum Assumed {
    Nothing,
    This(Assumption),
}

impl Assumed {
    fn parse(text: &str) -> Result<Self, AssumptionError> {
        if text == "none" { Ok(Self::Nothing) } else { Assumption::parse(text).map(Self::This) }
    }
}

fn budget(text: &str) -> Result<Budget, BudgetError> {
    Budget::parse(text)
}

fn base(text: &str) -> Result<String, TargetError> {
    Target::parse(text).map(|target| format!("{}://{}", target.scheme(), target.authority))
}

/// A size; without a unit it is bytes, as tables of traces have it.
fn memory(text: &str) -> Result<u64, config::Refused> {
    let text = text.trim();
    text.parse().or_else(|_| config::size(text))
}
