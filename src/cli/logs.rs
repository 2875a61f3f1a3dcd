//! Logs and traces: the flags of all commands that read them.
#![expect(clippy::doc_markdown, reason = "what is shown by --help is no Markdown")]

use std::path::PathBuf;

use clap::Args;
use seawall::forecast::format::{FieldMap, FieldMapError, Format, LayoutError};

/// What is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct Logs {
    /// A log or trace, plain, gzip or Zstandard; "-" for standard input; may be repeated.
    #[arg(long, alias = "trace", value_name = "FILE")]
    pub(crate) log: Vec<PathBuf>,

    /// common (clf), combined, vhost, seawall, json, csv (timestamp,key,size), or a format string of
    /// nginx ('$remote_addr …') or Apache ('%h …') [default: by its first lines].
    #[arg(long, value_name = "FORMAT", value_parser = format, requires = "log")]
    pub(crate) format: Option<Format>,

    /// What the members of JSON are, like time=when,status=http.code,response.cache-control=cc.
    #[arg(long, value_name = "PART=NAME,…", value_parser = fields, requires = "log")]
    pub(crate) fields: Option<FieldMap>,

    /// Read no more requests than this; each takes 32 bytes of memory, and each URL its length and
    /// some 100 more.
    #[arg(long, value_name = "N", default_value_t = 200_000_000)]
    pub(crate) max_requests: usize,
}

fn format(text: &str) -> Result<Format, LayoutError> {
    Format::named(text)
}

fn fields(text: &str) -> Result<FieldMap, FieldMapError> {
    FieldMap::parse(text)
}
