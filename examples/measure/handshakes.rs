//! `measure tails`, its second part: what TLS handshakes cost, full and resumed.

use std::io;

use serde::{Deserialize, Serialize};

use crate::lab::{Cores, Lab, Server};
use crate::peer::{Peer, Room, needed};
use crate::results::Results;
use crate::rounds::{Meter, quieter, wait_for_quiet};

/// Whether a client comes back with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Full,
    Resumed,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Full, Self::Resumed];

    const fn flag(self) -> &'static str {
        match self {
            Self::Full => "-new",
            Self::Resumed => "-reuse",
        }
    }
}

/// Connections with a request each, one after the other, by a client that does nothing else.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Handshakes {
    pub(crate) peer: Peer,
    pub(crate) kind: Kind,
    pub(crate) count: f64,
    /// Of them, those that were resumed.
    pub(crate) resumed: usize,
    /// Milliseconds of the server's CPU for each.
    pub(crate) cpu: f64,
    pub(crate) noise: f64,
}

/// What every connection asks for, out of memory.
const PATH: &str = "/size-16/handshake";

const PEERS: [Peer; 3] = [Peer::Nginx, Peer::Haproxy, Peer::Seawall];

/// Measures what is not known yet; without `openssl`, nothing.
pub(crate) fn measure(lab: &Lab, results: &Results, seconds: u32) -> io::Result<()> {
    if let Err(error) = needed("openssl") {
        eprintln!("handshakes are left out: {error}");
        return Ok(());
    }
    results.get_or(FILE, || {
        let mut all = Vec::new();
        for peer in Peer::installed(&PEERS) {
            let Some(server) = peer.try_start(lab, Cores::First, Room::Plenty, |_| Ok(())) else {
                continue;
            };
            for kind in Kind::ALL {
                let time = || time(lab, peer, &server, kind, seconds);
                all.push(quieter(time, |it| it.noise)?);
            }
        }
        Ok(all)
    })?;
    Ok(())
}

fn time(
    lab: &Lab,
    peer: Peer,
    server: &Server,
    kind: Kind,
    seconds: u32,
) -> io::Result<Handshakes> {
    let mut command = lab.command(Cores::Second, &needed("openssl")?);
    command.args(["s_time", kind.flag(), "-tls1_3", "-connect", &server.tls.to_string()]);
    // A ticket comes behind the handshake, so somebody has to read.
    command.args(["-www", PATH, "-time", &seconds.to_string()]);
    wait_for_quiet()?;
    let reached = lab.reached_origin()?;
    let before = Meter::read(lab, server)?;
    let output = command.output()?;
    let used = Meter::read(lab, server)?.since(&before);
    server.check()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let count = connections(&said).ok_or_else(|| {
        io::Error::other(format!("openssl: {said}{}", String::from_utf8_lossy(&output.stderr)))
    })?;
    let fetched = (lab.reached_origin()? - reached) as f64;
    if fetched > count / 20.0 {
        eprintln!("  {}: of {count} requests {fetched} reached the origin", peer.name());
    }
    Ok(Handshakes {
        peer,
        kind,
        count,
        resumed: resumed(&said),
        cpu: used.server / count * 1000.0,
        noise: used.noise(),
    })
}

/// Of "1234 connections in 3 real seconds, 5 bytes read per connection", the first.
fn connections(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains("real seconds"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// It writes an `r` for each connection that was resumed, and an asterisk for others.
fn resumed(said: &str) -> usize {
    let is_progress = |line: &&str| line.chars().all(|mark| mark == 'r' || mark == '*');
    let marks = said.lines().filter(is_progress).flat_map(str::chars);
    marks.filter(|mark| *mark == 'r').count()
}

pub(crate) const FILE: &str = "tails-handshakes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_is_understood() {
        let said = "starting\n*rrr\n\n1900 connections in 0.75s; 2533.33 connections/user sec, bytes read 0\n\
            1901 connections in 3 real seconds, 0 bytes read per connection\n";
        assert_eq!(connections(said), Some(1901.0));
        assert_eq!(resumed(said), 3);
        assert_eq!(connections("verify error"), None);
    }
}
