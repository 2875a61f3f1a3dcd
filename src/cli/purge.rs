//! `seawall purge`: its arguments.

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use seawall::key::{Target, TargetError};
use seawall::rules::{Label, LabelError};
use seawall::store::{Scope, ScopeError};

use super::AdminAccess;

const PURGE_EXAMPLES: &str = "\
Examples:
  seawall purge --url https://example.com/news
  seawall purge --prefix https://example.com/news --hard
  seawall purge --tag product:7 --tag start-page
  seawall purge --prefix https://example.com/ --hard --dry-run
  seawall purge --host shop.example.com --hard --wait all
  seawall purge --tag catalogue --refresh
  seawall purge --all --admin http://127.0.0.1:9180";

/// Purge what a running Seawall has stored, in all variants.
///
/// A soft purge makes it stale: it is refreshed when it is next asked for, and stale rules may still
/// serve it until then. With --refresh, what of it is in use is refreshed at once, at a bounded pace. A
/// hard purge removes it. Where nodes share a Redis, all of them do it.
#[derive(Debug, Args)]
#[command(after_help = PURGE_EXAMPLES)]
#[command(group = ArgGroup::new("what").required(true).args(["url", "prefix", "hosts", "tags", "groups", "all"]))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Purge {
    /// One URL, as clients ask for it.
    #[arg(long, value_name = "URL", value_parser = absolute_url)]
    pub(crate) url: Option<String>,

    /// Every URL that begins with this.
    #[arg(long, value_name = "URL", value_parser = absolute_url)]
    pub(crate) prefix: Option<String>,

    /// Every URL of this host, by http and by https; repeat it for more.
    #[arg(long = "host", value_name = "HOST", value_parser = host)]
    pub(crate) hosts: Vec<String>,

    /// Every response with this tag; repeat it for more.
    #[arg(long = "tag", value_name = "TAG", value_parser = tag)]
    pub(crate) tags: Vec<String>,

    /// Every response in this cache group of --origin (RFC 9875); repeat it for more.
    #[arg(long = "group", value_name = "GROUP", value_parser = tag, requires = "origin")]
    pub(crate) groups: Vec<String>,

    /// Whose groups: any URL of the origin, as clients ask for it.
    #[arg(long, value_name = "URL", value_parser = absolute_url, requires = "groups")]
    pub(crate) origin: Option<String>,

    /// Everything.
    #[arg(long)]
    pub(crate) all: bool,

    /// Make stale: so it is if nothing is said.
    #[arg(long, conflicts_with = "hard")]
    pub(crate) soft: bool,

    /// Make stale, and have each node refresh what it has been asked for lately, the most first: as
    /// many a second as their files allow, 100 if they say nothing.
    #[arg(long, conflicts_with_all = ["hard", "soft"])]
    pub(crate) refresh: bool,

    /// Remove, instead of making stale.
    #[arg(long)]
    pub(crate) hard: bool,

    /// Return when every node of the fleet has done it. Where some are not known to have within
    /// --timeout, they are named, and the exit code is 75.
    #[arg(long, value_name = "WHOM", value_enum)]
    pub(crate) wait: Option<Whom>,

    /// For how many seconds --wait waits, up to 300.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "wait", value_parser = value_parser!(u64).range(0..=300))]
    pub(crate) timeout: u64,

    /// Say how much of the node's memory it would take, and what that would mean for the origin; and
    /// do nothing. Takes a second, in which the node's requests are counted.
    #[arg(long, conflicts_with_all = ["wait", "yes"])]
    pub(crate) dry_run: bool,

    /// Do it however much it takes: without this, a hard purge of more than half of what is stored
    /// (and of more than 1000 responses) is not done, and the exit code is 1.
    #[arg(long)]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) access: AdminAccess,
}

/// Whom a purge waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whom {
    /// Every node that is alive.
    All,
}

fn host(text: &str) -> Result<String, ScopeError> {
    Scope::host(text).map(|_| text.to_owned())
}

/// What the node would refuse is refused here, before anything is sent.
fn absolute_url(text: &str) -> Result<String, TargetError> {
    Target::parse(text).map(|_| text.to_owned())
}

/// A tag or group that a response can have.
fn tag(text: &str) -> Result<String, LabelError> {
    Label::tag(text.as_bytes()).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    #[test]
    fn a_purge_names_an_absolute_url() {
        for (url, good) in [("https://a.test/x", true), ("/x", false), ("ftp://a.test/", false)] {
            let line = ["seawall", "purge", "--url", url];
            assert_eq!(Cli::try_parse_from(line).is_ok(), good, "{url}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (line, said) in [
            ("seawall purge", "--prefix"),
            ("seawall purge --all --url http://a.test/", "cannot be used with"),
            ("seawall purge --all --refresh --hard", "cannot be used with"),
        ] {
            let mistake = Cli::try_parse_from(line.split_whitespace()).unwrap_err().to_string();
            assert!(mistake.contains(said), "{line}: {mistake}");
        }
    }
}
