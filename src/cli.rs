//! The command line: types only. What they mean is said by the modules that they are handed to.

mod bench;
pub(crate) mod logs;
mod purge;
pub(crate) mod replay;
mod warm;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use bench::{Bench, Http, Latency, Site, Warmup};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
pub(crate) use purge::{Purge, Whom};
use seawall::config::{self, CliOverrides, Sources};
pub(crate) use warm::Warm;

const EXAMPLES: &str = "\
Examples:
  seawall demo                                     a site to try things on, with Seawall before it
  seawall serve --origin http://127.0.0.1:9000     protect an origin, without any file
  seawall check --config seawall.toml              all that is wrong with a file, at once
  seawall explain -c seawall.toml URL              why a request is handled as it is
  seawall config show -c seawall.toml              every key, its value and where it comes from
  seawall replay --log access.log                  what hit rate it will give
  seawall purge --prefix https://example.com/news  have everything below it refreshed
  seawall warm --from urls.txt                     have pages in the cache before they are asked for
  seawall bench http://127.0.0.1:8080 -d 30s       measure a running cache

Exit codes: 0 good; 1 a check found faults, a budget was missed or not all was warmed; 64 usage or configuration; 70 failed at run time;
  75 a purge that not every node is known to have done";

/// A caching reverse proxy that keeps the waves off your origin.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The command line, and which of its settings come from environment variables.
    pub(crate) fn read(
        arguments: impl Iterator<Item = OsString>,
    ) -> Result<(Self, Vec<String>), clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        if let Some(("explain", explain)) = matches.subcommand() {
            one_source(explain)?;
        }
        let cli =
            Self::from_arg_matches(&matches).map_err(|error| error.format(&mut Self::command()))?;
        let mut innermost = &matches;
        while let Some((_, within)) = innermost.subcommand() {
            innermost = within;
        }
        Ok((cli, config::environment(innermost)))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Check(Check),
    Explain(Explain),
    #[command(subcommand)]
    Config(Config),
    Replay(Box<replay::Replay>),
    Purge(Purge),
    Warm(Box<Warm>),
    Reload(Reload),
    Demo(Demo),
    Bench(Box<Bench>),
}

const SERVE_EXAMPLES: &str = "\
Examples:
  seawall serve --origin http://127.0.0.1:9000
  seawall serve --origin https://www.example.com --listen 0.0.0.0:8080 --memory 2GiB
  seawall serve --config seawall.toml --log-level debug

Each flag has an environment variable; a flag wins over it, and it wins over the file.";

/// Serve and cache an origin.
///
/// Without a file, --origin is all it takes: responses are cached as the origin allows. SIGTERM or
/// SIGINT finishes what is under way and ends; a second one ends at once; SIGUSR1 opens log files
/// again; SIGHUP reads the file again, and keeps the old settings where it has a fault
/// (without a file, it is a SIGTERM).
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct Serve {
    /// The configuration file (TOML); "seawall config default" prints one to start from.
    #[arg(long, short, env = "SEAWALL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    overrides: CliOverrides,
}

impl Serve {
    pub(crate) fn sources(self) -> Sources {
        Sources { file: self.config, overrides: self.overrides }
    }
}

const CHECK_EXAMPLES: &str = "\
Examples:
  seawall check --config seawall.toml
  seawall check --config seawall.toml --memory 2GiB";

/// Check a configuration and report all its faults at once.
///
/// Takes the same flags and variables as "serve" and means the same by them. Exits with 1 when
/// there are faults.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct Check {
    /// The configuration file (TOML).
    #[arg(
        long,
        short,
        env = "SEAWALL_CONFIG",
        value_name = "FILE",
        required_unless_present = "defaults"
    )]
    config: Option<PathBuf>,

    /// What "config default" does.
    #[arg(long, hide = true)]
    pub(crate) defaults: bool,

    #[command(flatten)]
    overrides: CliOverrides,
}

impl Check {
    pub(crate) fn sources(self) -> Sources {
        Sources { file: self.config, overrides: self.overrides }
    }
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  seawall explain -c seawall.toml https://shop.example/api/x?utm_source=a
  seawall explain -c seawall.toml GET https://shop.example/ -H 'cookie: session=1' \\
      --response 200 --response 'cache-control: max-age=60'
  curl -sI https://shop.example/ | seawall explain -c seawall.toml https://shop.example/ \\
      --response-file -
  seawall explain --admin http://127.0.0.1:9180 https://shop.example/   what a running node would do";

/// Say why a request is handled as it is, and what to change for the opposite.
///
/// By a file, nothing is sent anywhere: the request goes through the stack that serves clients, over
/// an origin that answers what --response says. Without --response it is said what is known before
/// there is an answer.
///
/// With --admin, a running Seawall says what it would do with the request now, by the rules in force
/// and what it has stored. It does nothing of it: no origin is asked, and nothing changes.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub(crate) struct Explain {
    /// The configuration file (TOML).
    #[arg(
        long,
        short,
        env = "SEAWALL_CONFIG",
        value_name = "FILE",
        required_unless_present_any = ["admin", "origin"]
    )]
    config: Option<PathBuf>,

    /// Method (else GET) and absolute URL.
    #[arg(required = true, num_args = 1..=2, value_names = ["METHOD", "URL"])]
    pub(crate) request: Vec<String>,

    /// A field of the request; may be repeated.
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,

    /// The client's address [default: 192.0.2.1].
    #[arg(long, value_name = "ADDR")]
    pub(crate) client: Option<std::net::IpAddr>,

    /// The origin's answer: a status, or a field; may be repeated.
    #[arg(long, value_name = "LINE")]
    pub(crate) response: Vec<String>,

    /// The same from a file, with a body after an empty line; "-" for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "response")]
    pub(crate) response_file: Option<PathBuf>,

    /// Write JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Ask the running Seawall with this admin listener, and no file.
    #[arg(long, value_name = "URL", value_parser = config::origin, conflicts_with_all = ["response", "response_file"])]
    admin: Option<config::Origin>,

    /// The admin token; better given by the variable than by the flag.
    #[arg(long, env = "SEAWALL_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,

    #[command(flatten)]
    overrides: CliOverrides,
}

impl Explain {
    /// The running node that is asked, if it is one.
    pub(crate) fn live(&self) -> Option<AdminAccess> {
        let admin = self.admin.clone()?;
        Some(AdminAccess { admin, token: self.token.clone() })
    }

    pub(crate) fn sources(self) -> Sources {
        Sources { file: self.config, overrides: self.overrides }
    }
}

/// Show what can be configured, and what is.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    Show(Box<Show>),
    /// Print a file with every key, its default and its meaning, to start from.
    Default,
    /// Print the JSON Schema of the file (draft 2020-12), for editors.
    ///
    /// Put it beside the file and write `#:schema ./schema.json` into the file's first line: editors
    /// that know TOML schemas (taplo, Even Better TOML) then complete and check it.
    Schema,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  seawall config show --config seawall.toml
  seawall config show --origin http://127.0.0.1:9000 --memory 2GiB
  seawall config show -c seawall.toml --json";

/// Print the configuration in force: every key, its value and where it comes from.
///
/// Takes the same flags and variables as "serve" and means the same by them. What is printed can be
/// read again; secrets are left out of it, and so are tests.
#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(crate) struct Show {
    /// The configuration file (TOML).
    #[arg(long, short, env = "SEAWALL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Write JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    overrides: CliOverrides,
}

impl Show {
    pub(crate) fn sources(self) -> Sources {
        Sources { file: self.config, overrides: self.overrides }
    }
}

const RELOAD_EXAMPLES: &str = "\
Examples:
  seawall reload
  seawall reload --admin http://127.0.0.1:9180";

/// Have a running Seawall read its configuration file again, without losing a request.
///
/// Says what has changed and what needs a restart. Where the file has faults, nothing changes: all
/// of them are shown, and the exit code is 1. SIGHUP does the same, and leaves the answer in the log.
#[derive(Debug, Args)]
#[command(after_help = RELOAD_EXAMPLES)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) access: AdminAccess,
}

/// How to reach the admin listener of a running Seawall.
#[derive(Debug, Args)]
pub(crate) struct AdminAccess {
    /// The admin listener of the running Seawall.
    #[arg(long, env = "SEAWALL_ADMIN", value_name = "URL", default_value = "http://127.0.0.1:9180", value_parser = config::origin)]
    pub(crate) admin: config::Origin,

    /// The admin token; better given by the variable than by the flag.
    #[arg(long, env = "SEAWALL_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

/// Run a small origin with Seawall in front of it, and show what the cache does.
///
/// Prints its address and curl commands to try; then a line for each request to Seawall, and one for
/// each that had to go on to the origin.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where to listen; if it is taken, a free port is used.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = config::address)]
    pub(crate) listen: SocketAddr,
}

/// A running node has settings of its own. What the environment says is for those without.
fn one_source(explain: &ArgMatches) -> Result<(), clap::Error> {
    let written = |id: &str| explain.value_source(id) == Some(ValueSource::CommandLine);
    let asks =
        ["request", "header", "client", "json", "admin", "token", "response", "response_file"];
    let other = explain.ids().find(|id| {
        !asks.contains(&id.as_str())
            && explain.try_contains_id(id.as_str()).is_ok()
            && written(id.as_str())
    });
    match other {
        Some(other) if written("admin") => {
            let flag = other.as_str().replace('_', "-");
            let text = format!(
                "--admin asks a running Seawall, which has settings of its own: leave --{flag} out, or --admin"
            );
            Err(Cli::command().error(ErrorKind::ArgumentConflict, text))
        }
        _ => Ok(()),
    }
}

/// The environment variable that gave the value which `error` refuses; clap names the flag alone,
/// which was not written where nobody gave it in `arguments`.
pub(crate) fn variable_at_fault(
    error: &clap::Error,
    arguments: impl Iterator<Item = OsString>,
) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return None;
    }
    let flag = shown.split_whitespace().next()?.strip_prefix("--")?;
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let is_written = arguments.any(|argument| {
        let name = argument.strip_prefix("--").map(|rest| rest.split('=').next());
        name.flatten() == Some(flag)
    });
    let command = Cli::command();
    let mut flags = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let variable = flags.find(|known| known.get_long() == Some(flag))?.get_env()?;
    (!is_written).then(|| variable.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_sources() {
        let line = "seawall serve --config a.toml --origin http://a.test --listen 127.0.0.1:0 \
                    --listen 127.0.0.1:1 --admin-listen off --memory 64MiB --access-log json";
        let Command::Serve(serve) = Cli::try_parse_from(line.split_whitespace()).unwrap().command
        else {
            panic!("serve");
        };
        let sources = serve.sources();
        assert_eq!(sources.file, Some("a.toml".into()));
        assert_eq!(sources.overrides.listen.len(), 2);
        assert_eq!(sources.overrides.admin_listen, Some(config::Toggled::Off));
        assert_eq!(sources.overrides.memory, Some(64 << 20));
    }

    #[test]
    fn a_bad_variable_is_told_from_a_bad_flag() {
        let line = ["seawall", "serve", "--memory=512M"];
        let error = Cli::try_parse_from(line).unwrap_err();
        assert_eq!(variable_at_fault(&error, line.iter().map(OsString::from)), None);
        // As if the flag had not been written.
        let line = line.iter().take(2).map(OsString::from);
        assert_eq!(variable_at_fault(&error, line).as_deref(), Some("SEAWALL_MEMORY"));
        let unknown = Cli::try_parse_from(["seawall", "serve", "--memry"]).unwrap_err();
        assert_eq!(variable_at_fault(&unknown, std::iter::empty()), None);
    }

    #[test]
    fn mistakes_are_explained() {
        let mistake =
            |line: &str| Cli::try_parse_from(line.split_whitespace()).unwrap_err().to_string();
        assert!(mistake("seawall serve --memory 512M").contains("512MiB"));
        assert!(mistake("seawall serve --origin 127.0.0.1:9000").contains("http://127.0.0.1:9000"));
        assert!(mistake("seawall serve --grace 30").contains("30s"));
        assert!(mistake("seawall serve --access-log xml").contains("write text, json or off"));
        assert!(mistake("seawall serve --log-format off").contains("write text or json"));
        assert!(mistake("seawall check").contains("--config"));
    }
}
