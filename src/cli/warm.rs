//! `seawall warm`: its arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue};
use seawall::config;

use super::bench::{Site, field, positive, site, time};

const EXAMPLES: &str = "\
Examples:
  seawall warm --from urls.txt
  seawall warm --from sitemap.xml --to http://127.0.0.1:8080 --rate 20
  sort -u paths.txt | seawall warm --from - --to https://10.0.0.7 --ca ca.pem --json

Exit codes: 0 every URL was answered; 1 some were not, or a line names none; 64 usage; 70 failed at
run time, as when a file cannot be read.";

/// Ask for a list of URLs, so that they are stored before somebody wants them.
///
/// What became of each is told by Cache-Status: it was there (hit), has come (stored), may not be
/// stored (uncacheable, and the reason's word, which docs/reasons.md explains), or there was an
/// error. A file has a URL on each line, or a path where there is --to; empty lines and those that
/// begin with # say nothing, and a line that names no URL is counted. A sitemap (XML) does as well,
/// and files may be compressed (gzip, Zstandard). Ctrl-C ends it and shows what was done.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Warm {
    /// The list; "-" for standard input; may be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) from: Vec<PathBuf>,

    /// Ask this server for all of it, whatever hosts the URLs have: each is asked for by its own
    /// name, and by http or https as this URL is. Without it, hosts are looked up.
    #[arg(long, value_name = "URL", value_parser = site)]
    pub(crate) to: Option<Site>,

    /// A field of every request; may be repeated. Accept-Encoding is what browsers send, unless it
    /// is given here.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = field)]
    pub(crate) header: Vec<(HeaderName, HeaderValue)>,

    /// Requests at once.
    #[arg(long, short = 'c', value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) connections: u32,

    /// So many requests a second at most.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) rate: Option<f64>,

    /// Trust the certificate authorities of this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,

    /// Trust any certificate.
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Bound on a request and its whole answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) timeout: Duration,

    /// Bound on an answer's body.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = config::size)]
    pub(crate) max_body: u64,

    /// Tell what became of each URL, on a line of its own.
    #[arg(long)]
    pub(crate) each: bool,

    /// Write JSON, an object a line; the summary is the last.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command};

    #[test]
    fn what_is_to_be_warmed_has_to_be_said() {
        let read = |line: &str| Cli::try_parse_from(line.split_whitespace());
        let good = "seawall warm --from a --from - --to https://h.test:8443/shop -c 7 --rate 0.5";
        let Ok(Command::Warm(warm)) = read(good).map(|cli| cli.command) else { panic!("{good}") };
        let site = warm.to.expect("given");
        assert_eq!((warm.from.len(), site.base.as_str(), site.origin.tls), (2, "/shop", true));
        assert_eq!((warm.connections, warm.rate), (7, Some(0.5)));
        for (line, said) in [
            ("seawall warm", "--from"),
            ("seawall warm --from a --to h.test", "http://h.test"),
            ("seawall warm --from a -c 0", "0 is not in"),
            ("seawall warm --from a --rate 0", "above 0"),
            ("seawall warm --from a --ca x --insecure", "cannot be used with"),
        ] {
            let error = read(line).expect_err(line).to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
