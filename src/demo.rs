//! `seawall demo`: a small origin with Seawall in front of it, to see what a cache does.

mod origin;
mod paint;
mod watch;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use seawall::config::{self, CliOverrides, Faults, Origin, Sources, Toggled};

use self::paint::{Ink, Paint};
use crate::launch::{LaunchError, Started, launch};
use crate::say;

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("cannot start the demo's origin: {0}")]
    Origin(#[from] io::Error),
    #[error("cannot configure the demo: {0}")]
    Settings(#[from] Faults),
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// Shows the demo on `listen` (or a free port) until a signal ends it.
pub(crate) fn run(listen: SocketAddr) -> Result<(), DemoError> {
    let listen = free(listen);
    let origin = origin::start()?;
    let watch = watch::start(origin.counter())?;
    let mut settings = config::load(&sources(listen, origin.address()))?;
    settings.telemetry.access = watch.access_log();
    launch(settings, None, |started| say(welcome(started, origin.address())))?;
    watch.finish();
    let count = origin.requests();
    let requests = if count == 1 { "request" } else { "requests" };
    say(format_args!("\n{count} {requests} went on to the origin."));
    Ok(())
}

/// `wanted`, or any port of the same host if it is taken.
fn free(wanted: SocketAddr) -> SocketAddr {
    // To `launch`, a taken port is an error. Here it is not worth one, so it is found out first.
    match TcpListener::bind(wanted) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            say(format_args!("{wanted} is taken; listening on a free port instead"));
            SocketAddr::new(wanted.ip(), 0)
        }
        _ => wanted,
    }
}

fn sources(listen: SocketAddr, origin: SocketAddr) -> Sources {
    let overrides = CliOverrides {
        origin: Some(Origin { tls: false, host: origin.ip().to_string(), port: origin.port() }),
        listen: vec![listen],
        admin_listen: Some(Toggled::On(SocketAddr::from(([127, 0, 0, 1], 0)))),
        // What goes wrong here is part of the show.
        log_level: Some("error".to_owned()),
        // Ctrl-C is not to wait for a curl that listens to events.
        grace: Some(Duration::from_secs(1)),
        ..CliOverrides::default()
    };
    Sources { file: None, overrides }
}

fn welcome(started: &Started, origin: SocketAddr) -> String {
    let mut text = String::new();
    let at = started.addresses.first().map_or_else(String::new, SocketAddr::to_string);
    let paint = Paint::of_stdout();
    let bold = |text: &str| paint.paint(Ink::Bold, text);
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line("");
    line(&format!(
        "Seawall listens on {} and protects an origin at {origin}.",
        bold(&format!("http://{at}/"))
    ));
    line("Try, in another terminal (each answer's Cache-Status field says what happened):");
    line("");
    for page in origin::PAGES {
        line(&bold(&format!("  curl {}http://{at}{}", page.flags, page.path)));
        line(&format!("      {}", page.what));
    }
    // The number makes it a page that nobody has asked for yet.
    line(&bold(&format!("  seq 50 | xargs -P 50 -I@ curl -s \"http://{at}/slow?$RANDOM\"")));
    line(
        "      fifty clients at once: one request goes on to the origin, and all share its answer",
    );
    if let Some(admin) = started.admin {
        let program = std::env::args().next().unwrap_or_else(|| "seawall".to_owned());
        line(&bold(&format!("  {program} purge --all --admin http://{admin}")));
        line("      makes all that is stored stale: the next answers are fetched anew");
    }
    line("");
    line(
        "Below, a line for each answer (those of a crowd in one) with what the cache did, and totals;",
    );
    line("and one, marked \"origin\", for each request that had to go on. Ctrl-C ends.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_left_alone() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = taken.local_addr().unwrap();
        assert_eq!(free(wanted), SocketAddr::new(wanted.ip(), 0));
    }

    #[test]
    fn its_settings_are_good() {
        let origin = SocketAddr::from(([127, 0, 0, 1], 9000));
        let settings =
            config::load(&sources(SocketAddr::from(([127, 0, 0, 1], 0)), origin)).unwrap();
        assert_eq!(settings.upstreams[0].port, 9000);
        let started = Started { addresses: vec![origin], admin: None };
        assert!(welcome(&started, origin).contains("curl -i http://127.0.0.1:9000/slow"));
    }
}
