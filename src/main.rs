//! The `seawall` program: command line → settings → run → exit code.

mod allocator;
mod ask;
mod bench;
mod cli;
mod demo;
mod explain;
mod logs;
mod page;
mod purge;
mod reload;
mod replay;
mod units;
mod warm;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use cli::{Cli, Command};
use demo::DemoError;
use launch::{LaunchError, launch};
use seawall::app::Fingerprint;
use seawall::config::{self, Faults, Settings, Sources};

/// How a command ended; the numbers are those of BSD's sysexits, and documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// All is well.
    Good = 0,
    /// A check found faults, or a run missed its budget.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 64,
    /// It went wrong while running.
    RunTime = 70,
    /// A purge is done, and not every node is known to have done it yet.
    Unacknowledged = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn main() -> ExitCode {
    // The first thing of all: whatever speaks TLS later finds this provider. An error would mean
    // that there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let exit = match Cli::read(std::env::args_os()) {
        Ok((cli, environment)) => run(cli.command, &environment),
        Err(error) => {
            let _ = error.print();
            if let Some(variable) = cli::variable_at_fault(&error, std::env::args_os()) {
                complain(format_args!("The value comes from the environment: {variable}"));
            }
            if error.use_stderr() { Exit::Usage } else { Exit::Good }
        }
    };
    exit.into()
}

/// `environment` names the settings that come from variables.
fn run(command: Command, environment: &[String]) -> Exit {
    match command {
        Command::Serve(serve) => self::serve(&serve.sources()),
        Command::Check(check) if check.defaults => {
            say(config::default_file().trim_end());
            Exit::Good
        }
        Command::Check(check) => self::check(&check.sources()),
        Command::Explain(explain) => self::explain(explain),
        Command::Config(cli::Config::Default) => {
            say(config::default_file().trim_end());
            Exit::Good
        }
        Command::Config(cli::Config::Schema) => {
            say(config::json_schema().trim_end());
            Exit::Good
        }
        Command::Config(cli::Config::Show(show)) => self::show(*show, environment),
        Command::Replay(replay) => self::replay(*replay),
        Command::Purge(purge) => match purge::run(&purge) {
            Ok(purge::Outcome::Done(said)) => {
                say(said);
                Exit::Good
            }
            Ok(purge::Outcome::Unacknowledged(said)) => {
                complain(said);
                Exit::Unacknowledged
            }
            Ok(purge::Outcome::Guarded(said)) => {
                complain(said);
                Exit::Failed
            }
            Err(error) => failed(error),
        },
        Command::Warm(warm) => match warm::run(&warm) {
            Ok(warm::Ended::Warm) => Exit::Good,
            Ok(warm::Ended::Failures) => Exit::Failed,
            Err(error) => failed(error),
        },
        Command::Reload(reload) => match reload::run(&reload) {
            Ok(reload::Outcome::Taken(said)) => {
                say(said);
                Exit::Good
            }
            Ok(reload::Outcome::Refused(report)) => {
                complain(report);
                Exit::Failed
            }
            Err(error) => failed(error),
        },
        Command::Bench(bench) => match bench::run(&bench) {
            Ok(bench::Ended::Good) => Exit::Good,
            Ok(bench::Ended::Missed) => Exit::Failed,
            Err(error) if error.is_usage() => {
                complain(format_args!("seawall: {error}"));
                Exit::Usage
            }
            Err(error) => failed(error),
        },
        Command::Demo(demo) => match demo::run(demo.listen) {
            Ok(()) => Exit::Good,
            Err(DemoError::Launch(error)) => not_launched(error),
            Err(error) => failed(error),
        },
    }
}

fn serve(sources: &Sources) -> Exit {
    let before = Fingerprint::of(sources);
    match config::load(sources) {
        Err(faults) => {
            report(&faults);
            Exit::Usage
        }
        Ok(settings) => launch(settings, Some((sources, before)), |_| ())
            .map_or_else(not_launched, |()| Exit::Good),
    }
}

fn check(sources: &Sources) -> Exit {
    match config::load(sources) {
        Err(faults) => {
            report(&faults);
            Exit::Failed
        }
        Ok(settings) => {
            let tests = settings.run_tests();
            if !tests.is_good() {
                let file = sources.file.as_ref().map(|file| file.display().to_string());
                complain(tests.render(file.as_deref().unwrap_or_default()));
                return Exit::Failed;
            }
            say(summary(&settings));
            Exit::Good
        }
    }
}

fn explain(explain: cli::Explain) -> Exit {
    let question = match explain::Question::read(&explain) {
        Ok(question) => question,
        Err(error) => {
            complain(format_args!("seawall: {error}"));
            return Exit::Usage;
        }
    };
    let json = explain.json;
    let explained = match explain.live() {
        Some(access) => match explain::live(&access, &question.ask) {
            Ok(explained) => explained,
            Err(error) => return failed(error),
        },
        None => match config::load(&explain.sources()) {
            Err(faults) => {
                report(&faults);
                return Exit::Usage;
            }
            Ok(settings) => settings.explain(&question.ask, question.reply.as_ref()),
        },
    };
    say(explain::render(&explained, json));
    Exit::Good
}

fn show(show: cli::Show, environment: &[String]) -> Exit {
    let json = show.json;
    let effective = match config::show(&show.sources(), environment) {
        Err(faults) => {
            report(&faults);
            return Exit::Usage;
        }
        Ok(effective) => effective,
    };
    if !json {
        say(effective.to_string().trim_end());
        return Exit::Good;
    }
    match serde_json::to_string_pretty(&effective) {
        Ok(json) => say(json),
        Err(error) => return failed(error),
    }
    Exit::Good
}

fn replay(replay: cli::replay::Replay) -> Exit {
    match replay::run(replay) {
        Ok(done) => {
            say(done.said);
            for missed in &done.missed {
                complain(missed);
            }
            if done.missed.is_empty() { Exit::Good } else { Exit::Failed }
        }
        Err(replay::ReplayError::Settings(faults)) => {
            report(&faults);
            Exit::Usage
        }
        Err(error) if error.is_usage() => {
            complain(format_args!("seawall: {error}"));
            Exit::Usage
        }
        Err(error) => failed(error),
    }
}

fn summary(settings: &Settings) -> String {
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let tests = match settings.tests.len() {
        0 => String::new(),
        count => format!(", {} passed", counted(count, "test")),
    };
    format!(
        "ok: {}, {}, {}{tests}",
        counted(settings.server.listeners.len(), "listener"),
        counted(settings.upstreams.len(), "upstream"),
        counted(settings.proxy.routes.len(), "route"),
    )
}

/// Shows faults, in colour where somebody looks at them.
fn report(faults: &Faults) {
    let coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    complain(faults.render(coloured));
}

fn failed(error: impl Display) -> Exit {
    complain(format_args!("seawall: {error}"));
    Exit::RunTime
}

/// What only a start finds out may still be the configuration's fault.
fn not_launched(error: LaunchError) -> Exit {
    let exit = if error.is_settings() { Exit::Usage } else { Exit::RunTime };
    failed(error);
    exit
}

/// A line on standard output; if nobody reads it any more, there is nobody to tell.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The one place that starts Seawall.
mod launch {
    use std::io;
    use std::net::SocketAddr;
    use std::path::Path;
    use std::time::Instant;

    use crate::allocator;
    use seawall::app::{App, Fingerprint, Source, StartError};
    use seawall::clock::Clock;
    use seawall::config::{Settings, Sources};
    use seawall::server::{BindError, Limits, RunError};
    use seawall::shutdown::{raise_open_files, watch_signals};
    use seawall::telemetry::log;

    /// What a started node has become.
    #[derive(Clone, Debug)]
    pub(crate) struct Started {
        /// Where it listens for clients.
        pub(crate) addresses: Vec<SocketAddr>,
        /// Where it listens for admin requests.
        pub(crate) admin: Option<SocketAddr>,
    }

    #[derive(Debug, thiserror::Error)]
    pub(crate) enum LaunchError {
        #[error("{0}")]
        Log(String),
        #[error(transparent)]
        Start(#[from] StartError),
        #[error("signals: {0}")]
        Signals(#[source] io::Error),
        #[error(transparent)]
        Run(#[from] RunError),
    }

    impl LaunchError {
        /// Whether the settings name what cannot be used: a certificate, an authority, a page.
        pub(crate) fn is_settings(&self) -> bool {
            matches!(
                self,
                Self::Start(
                    StartError::Bind(BindError::Tls(_))
                        | StartError::Admin(BindError::Tls(_))
                        | StartError::Upstream(_)
                        | StartError::ErrorPage { .. }
                )
            )
        }
    }

    /// Every connection is an open file: more clients than files would leave none for origins.
    fn fit(limits: &mut Limits, open_files: u64) {
        let asked = limits.max_connections;
        limits.fit(open_files);
        if limits.max_connections < asked {
            tracing::warn!(
                max_connections = asked,
                open_files,
                taken = limits.max_connections,
                "fewer connections than max_connections: raise the limit on open files (ulimit -n)"
            );
        }
    }

    /// Runs a node until a signal ends it; `started` is called once it listens. With `sources`, of
    /// which `settings` were read, it can be told to read them again.
    pub(crate) fn launch(
        settings: Settings,
        sources: Option<(&Sources, Fingerprint)>,
        started: impl FnOnce(&Started),
    ) -> Result<(), LaunchError> {
        // Until the end: dropping it writes the last lines.
        let log =
            log::init(&settings.telemetry).map_err(|error| LaunchError::Log(error.to_string()))?;
        // Before anything else: it may start the process anew.
        if settings.store.preallocate {
            preallocate(settings.store.memory, sources.and_then(|(from, _)| from.file.as_deref()));
        }
        let mut settings = settings;
        let open_files = raise_open_files();
        if let Err(error) = &open_files {
            tracing::warn!(%error, "the limit on open files stays as it is");
        }
        let open_files = open_files.unwrap_or(u64::MAX);
        fit(&mut settings.server.limits, open_files);
        let protects = protects(&settings);
        // Without a file there is nothing to read again, and a terminal that was closed is meant.
        let has_file = sources.is_some_and(|(sources, _)| sources.file.is_some());
        let source = sources.map(|(sources, before)| {
            let level = log.level();
            Source::new(
                sources.clone(),
                before,
                move |settings| fit(&mut settings.server.limits, open_files),
                move |settings| level.set(&settings.telemetry.level),
            )
        });
        let running = match source {
            Some(source) => App::start_from(source, settings, Clock::System),
            None => App::start(settings, Clock::System),
        }?;
        let (logs, configuration) = (running.reloader().clone(), running.reloader().clone());
        let node = running.handle().clone();
        let hung_up = move || if has_file { configuration.trigger() } else { node.drain() };
        watch_signals(running.handle(), move || logs.reopen_log(), hung_up)
            .map_err(LaunchError::Signals)?;
        let addresses = running.addresses().to_vec();
        let admin = running.admin_address();
        let listens = list(addresses.iter());
        let admin_at = admin.map_or_else(String::new, |admin| format!("; admin on {admin}"));
        tracing::info!("listening on {listens}, in front of {protects}{admin_at}");
        started(&Started { addresses, admin });
        running.wait()?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Takes the memory of a cache whose settings were read from `file`; what it can't is told.
    fn preallocate(bytes: usize, file: Option<&Path>) {
        // Taking it may need another start, for which the settings are read again.
        if file.is_some_and(|file| !file.is_file()) {
            tracing::warn!("no memory is preallocated: the settings come from a pipe");
        } else if let Err(error) = allocator::keep_freed() {
            tracing::warn!(%error, "no memory is preallocated: it would be given back");
        } else {
            tracing::info!(bytes, "taking the cache's memory");
            let start = Instant::now();
            allocator::take(bytes);
            let took = start.elapsed();
            tracing::info!(bytes, ?took, "the cache's memory is at hand");
        }
    }

    fn protects(settings: &Settings) -> String {
        list(settings.upstreams.iter().map(|upstream| {
            let scheme = if upstream.tls { "https" } else { "http" };
            format!("{scheme}://{}:{}", upstream.host, upstream.port)
        }))
    }

    /// Each of them once, in order.
    fn list(items: impl Iterator<Item = impl ToString>) -> String {
        let mut listed: Vec<String> = Vec::new();
        for item in items.map(|item| item.to_string()) {
            if !listed.contains(&item) {
                listed.push(item);
            }
        }
        listed.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(line: &str) -> Exit {
        let line = line.split_whitespace().map(Into::into);
        let (cli, environment) = Cli::read(line).unwrap();
        run(cli.command, &environment)
    }

    #[test]
    fn every_example_is_good_and_so_are_its_tests() {
        let examples = std::fs::read_dir("config/examples").unwrap();
        let examples: Vec<_> = examples.map(|entry| entry.unwrap().path()).collect();
        assert!(examples.len() >= 7, "{examples:?}");
        for file in examples {
            let sources = Sources { file: Some(file.clone()), ..Sources::default() };
            let settings = config::load(&sources).unwrap_or_else(|faults| panic!("{faults}"));
            assert!(!settings.tests.is_empty(), "{} has tests", file.display());
            let report = settings.run_tests();
            assert!(report.is_good(), "{}", report.render(&file.display().to_string()));
        }
    }

    #[test]
    fn the_guide_to_rules_is_true() {
        let mut text = String::new();
        for block in include_str!("../docs/rules.md").split("```toml\n").skip(1) {
            text += block.split("```").next().unwrap();
        }
        let settings = config::parse(&text, &config::CliOverrides::default())
            .unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(settings.tests.len(), 2);
        assert!(settings.run_tests().is_good(), "{}", settings.run_tests().render("docs/rules.md"));
    }

    #[test]
    fn faults_have_exit_codes() {
        assert_eq!(exit("seawall check --config /nowhere/seawall.toml"), Exit::Failed);
        assert_eq!(exit("seawall serve --config /nowhere/seawall.toml"), Exit::Usage);
        assert_eq!(exit("seawall check --config config/seawall.toml"), Exit::Good);
        assert_eq!(exit("seawall explain http://a.test/ --origin http://b.test"), Exit::Good);
        assert_eq!(exit("seawall explain /a --origin http://b.test"), Exit::Usage);
    }
}
