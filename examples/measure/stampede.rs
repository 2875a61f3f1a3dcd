//! Crowds: five hundred clients who want the same at once, of an origin that takes its time.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::client::{self, Seen};
use crate::interrupt;
use crate::lab::{Cores, Lab, Server};
use crate::peer::{Peer, Room};
use crate::results::Results;
use crate::rounds::median;

const CLIENTS: usize = 500;

/// Of those who join a body on its way.
const JOINERS: (usize, Duration) = (49, Duration::from_millis(300));

/// What a crowd meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Case {
    Missing,
    Uncacheable,
    KnownUncacheable,
    Expired,
    ExpiredWithGrant,
    Dripping,
}

/// How it went, of several crowds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) peer: Peer,
    pub(crate) case: Case,
    /// Requests that reached the origin, the most of any crowd.
    pub(crate) fetched: u64,
    /// To the first byte of a body, in milliseconds: the median's median, and the last of all.
    pub(crate) p50: f64,
    pub(crate) last: f64,
    /// Answers that were not good.
    pub(crate) failed: usize,
}

impl Case {
    pub(crate) const ALL: [Self; 6] = [
        Self::Missing,
        Self::Uncacheable,
        Self::KnownUncacheable,
        Self::Expired,
        Self::ExpiredWithGrant,
        Self::Dripping,
    ];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Missing => "missing key",
            Self::Uncacheable => "uncacheable, first time",
            Self::KnownUncacheable => "uncacheable, known",
            Self::Expired => "expired key, no stale allowed",
            Self::ExpiredWithGrant => "expired key, stale allowed",
            Self::Dripping => "body of 2 s, 49 join at 0.3 s",
        }
    }

    const fn wish(self) -> &'static str {
        match self {
            Self::Missing => "/size-1024/wait-500",
            Self::Uncacheable | Self::KnownUncacheable => "/size-1024/wait-500/no-store",
            Self::Expired => "/size-1024/wait-500/for-1",
            Self::ExpiredWithGrant => "/size-1024/wait-500/for-1/stale-60",
            Self::Dripping => "/size-65536/drip-2000",
        }
    }

    /// Has a server know what this case is about.
    fn prepare(self, server: &Server, path: &str) -> io::Result<()> {
        /// A lifetime of a second has ended, whoever rounds it up.
        const EXPIRED: Duration = Duration::from_millis(2500);
        if matches!(self, Self::KnownUncacheable | Self::Expired | Self::ExpiredWithGrant) {
            client::get(server.address, path)?;
        }
        if matches!(self, Self::Expired | Self::ExpiredWithGrant) {
            sleep(EXPIRED);
        }
        Ok(())
    }

    /// Sends a crowd: how many requests reached the origin, and what each client saw.
    fn crowd(self, lab: &Lab, server: &Server, number: usize) -> io::Result<(u64, Vec<Seen>)> {
        let path = format!("{}/crowd-{self:?}-{number}", self.wish());
        self.prepare(server, &path)?;
        let before = lab.reached_origin()?;
        let (clients, late) =
            if self == Self::Dripping { (1, Some(JOINERS)) } else { (CLIENTS, None) };
        let seen = client::block_on(client::all_at_once(server.address, &path, clients, late))?;
        if self == Self::ExpiredWithGrant {
            // The refresh follows the answers, and would be counted for the next crowd.
            sleep(Duration::from_secs(1));
        }
        Ok((lab.reached_origin()? - before, seen))
    }

    fn measure(self, lab: &Lab, peer: Peer, server: &Server, crowds: usize) -> io::Result<Outcome> {
        let mut outcome = Outcome { peer, case: self, fetched: 0, p50: 0.0, last: 0.0, failed: 0 };
        let mut medians = Vec::new();
        for number in 0..crowds {
            let (fetched, seen) = self.crowd(lab, server, number)?;
            let times = || seen.iter().map(|seen| seen.first_byte.as_secs_f64() * 1000.0);
            medians.extend(median(times()));
            outcome.fetched = outcome.fetched.max(fetched);
            outcome.last = times().fold(outcome.last, f64::max);
            outcome.failed += seen.iter().filter(|seen| seen.status != StatusCode::OK).count();
        }
        outcome.p50 = median(medians).unwrap_or_default();
        Ok(outcome)
    }
}

/// Measures what is not known yet.
pub(crate) fn measure(lab: &Lab, results: &Results, crowds: usize) -> io::Result<()> {
    for peer in Peer::installed(&Peer::IN_STAMPEDES) {
        interrupt::check()?;
        results.get_or(&file(peer), || {
            let mut outcomes = Vec::new();
            if let Some(server) = peer.try_start(lab, Cores::First, Room::Plenty, |_| Ok(())) {
                for case in Case::ALL {
                    interrupt::check()?;
                    match case.measure(lab, peer, &server, crowds) {
                        Ok(outcome) => outcomes.push(outcome),
                        Err(error) => eprintln!("  {}, {}: {error}", peer.name(), case.title()),
                    }
                }
            }
            Ok(outcomes)
        })?;
    }
    Ok(())
}

/// What is known of all.
pub(crate) fn known(results: &Results) -> Vec<Outcome> {
    let of = |peer| results.get::<Vec<Outcome>>(&file(peer)).unwrap_or_default();
    Peer::IN_STAMPEDES.into_iter().flat_map(of).collect()
}

fn file(peer: Peer) -> String {
    format!("peers-stampede-{peer:?}")
}
