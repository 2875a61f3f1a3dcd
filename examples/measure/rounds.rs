//! Rounds: who is measured when, and what a run came to.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::generator::{Load, Told};
use crate::interrupt;
use crate::kernel;
use crate::lab::{Lab, Server};

/// What others may use of a core, in percent, while something is measured; a run during which it was
/// more is repeated once.
const LOUD: f64 = 10.0;

/// The share of answers that may be bad; they are told.
const MOST_FAILED: f64 = 0.01;

/// The share of hits that may reach the origin, and that of misses that have to.
pub(crate) const MOST_FETCHED: f64 = 0.01;
pub(crate) const LEAST_FETCHED: f64 = 0.95;

/// How often and how long each server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turns {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
}

impl Turns {
    pub(crate) fn told(self) -> String {
        let Self { rounds, seconds } = self;
        format!("{rounds} interleaved rounds of {seconds} s, medians")
    }
}

/// A server, and what is asked of it.
pub(crate) struct Target<'a> {
    pub(crate) name: String,
    pub(crate) server: &'a Server,
    pub(crate) load: Load,
}

/// A run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    #[serde(flatten)]
    pub(crate) told: Told,
    /// Seconds of CPU that the server took for a million requests.
    pub(crate) cpu: f64,
    /// Requests that reached the origin, for each.
    pub(crate) fetched: f64,
    /// What else took CPU, in percent of a core.
    pub(crate) noise: f64,
}

/// The samples of each target: rounds in which every one has its turn, every other one backwards.
/// What goes wrong is told, and leaves that run out.
///
/// # Errors
/// If nothing was measured of any.
pub(crate) fn interleaved(
    lab: &Lab,
    targets: &[Target<'_>],
    rounds: u32,
) -> io::Result<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::new(); targets.len()];
    for round in 0..rounds {
        let mut order: Vec<_> = (0..targets.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            interrupt::check()?;
            match quieter(|| run(lab, &targets[place]), |sample| sample.noise) {
                Ok(sample) => samples[place].push(sample),
                Err(error) => eprintln!("  {}, a turn is left out: {error}", targets[place].name),
            }
        }
    }
    if samples.iter().all(Vec::is_empty) {
        return Err(io::Error::other("nothing could be measured of any server; see above"));
    }
    Ok(samples)
}

/// A run, or the quieter of two where the first was loud.
pub(crate) fn quieter<T>(
    mut run: impl FnMut() -> io::Result<T>,
    noise: impl Fn(&T) -> f64,
) -> io::Result<T> {
    let first = run()?;
    if noise(&first) <= LOUD {
        return Ok(first);
    }
    // Whatever becomes of the second one, the first is good.
    Ok(run().ok().filter(|again| noise(again) < noise(&first)).unwrap_or(first))
}

fn run(lab: &Lab, target: &Target<'_>) -> io::Result<Sample> {
    wait_for_quiet()?;
    let fetched = lab.reached_origin()?;
    let before = Meter::read(lab, target.server)?;
    let told = target.load.run(lab, target.server)?;
    let used = Meter::read(lab, target.server)?.since(&before);
    target.server.check()?;
    let requests = told.requests as f64;
    let sample = Sample {
        told,
        cpu: used.server / requests * 1e6,
        fetched: (lab.reached_origin()? - fetched) as f64 / requests,
        noise: used.noise(),
    };
    match flaw(&sample, target.load.is_missed()) {
        None => Ok(sample),
        Some(flaw) => Err(io::Error::other(flaw)),
    }
}

/// Why a run does not show what it is for, if so.
fn flaw(sample: &Sample, is_missed: bool) -> Option<String> {
    let Sample { told, fetched, .. } = sample;
    if told.failed as f64 > MOST_FAILED * told.requests as f64 {
        return Some(format!("{} failed, beside {} requests", told.failed, told.requests));
    }
    let is_sound = if is_missed { *fetched > LEAST_FETCHED } else { *fetched < MOST_FETCHED };
    (!is_sound).then(|| format!("{fetched:.2} of requests reached the origin"))
}

/// Waits until others use little, but not for long: some machines are never quiet.
pub(crate) fn wait_for_quiet() -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(2);
    const LOOK: Duration = Duration::from_millis(100);
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let before = kernel::busy()?;
        sleep(LOOK);
        if (kernel::busy()? - before) * 100.0 / LOOK.as_secs_f64() < LOUD + 1.0 {
            break;
        }
    }
    Ok(())
}

/// Seconds of CPU, by who used them.
pub(crate) struct Meter {
    at: Instant,
    pub(crate) server: f64,
    ours: f64,
    machine: f64,
}

impl Meter {
    pub(crate) fn read(lab: &Lab, server: &Server) -> io::Result<Self> {
        let ours = kernel::own_cpu()? + lab.origin.cpu();
        Ok(Self { at: Instant::now(), server: server.cpu(), ours, machine: kernel::busy()? })
    }

    pub(crate) fn since(&self, before: &Self) -> Used {
        Used {
            seconds: (self.at - before.at).as_secs_f64(),
            server: self.server - before.server,
            ours: self.ours - before.ours,
            machine: self.machine - before.machine,
        }
    }
}

/// What was used between two readings.
pub(crate) struct Used {
    pub(crate) seconds: f64,
    pub(crate) server: f64,
    ours: f64,
    machine: f64,
}

impl Used {
    /// Neither the server's nor a generator's nor the origin's, in percent of a core.
    pub(crate) fn noise(&self) -> f64 {
        ((self.machine - self.server - self.ours) / self.seconds * 100.0).max(0.0)
    }

    /// The server's, in percent of a core.
    pub(crate) fn server_share(&self) -> f64 {
        self.server / self.seconds * 100.0
    }
}

/// Answers of all samples that were bad, or did not come.
pub(crate) fn failed<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> u64 {
    samples.into_iter().map(|sample| sample.told.failed).sum()
}

/// The one in the middle; of two there the lower.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(noise: f64) -> Sample {
        let told = Told { requests: 1000, ..Told::default() };
        Sample { told, cpu: 1.0, fetched: 0.0, noise }
    }

    #[test]
    fn of_two_turns_the_quieter_counts_and_a_failed_one_takes_nothing_from_the_other() {
        let noise = |turns: &[Option<f64>]| {
            let mut turns = turns.iter();
            let turn = || turns.next().unwrap().map(sample).ok_or(io::ErrorKind::Other.into());
            quieter(turn, |sample| sample.noise).ok().map(|sample| sample.noise)
        };
        assert_eq!(noise(&[Some(3.0)]), Some(3.0));
        assert_eq!(noise(&[Some(30.0), Some(20.0)]), Some(20.0));
        assert_eq!(noise(&[Some(30.0), Some(40.0)]), Some(30.0));
        assert_eq!(noise(&[Some(30.0), None]), Some(30.0));
        assert_eq!(noise(&[None]), None);
    }

    #[test]
    fn hits_that_are_none_and_bad_answers_are_flaws() {
        let with = |failed, fetched| {
            let told = Told { failed, ..sample(0.0).told };
            Sample { told, fetched, ..sample(0.0) }
        };
        assert_eq!(flaw(&with(0, 0.0), false), None);
        assert_eq!(flaw(&with(10, 0.0), false), None, "told beside the figure");
        assert!(flaw(&with(11, 0.0), false).is_some());
        assert!(flaw(&with(0, 0.02), false).is_some());
        assert_eq!(flaw(&with(0, 1.0), true), None);
        assert!(flaw(&with(0, 0.9), true).is_some(), "misses that were hits");
        assert!(flaw(&with(1000, 1.0), true).is_some());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0]), Some(1.0));
        assert_eq!(median([]), None);
    }
}
