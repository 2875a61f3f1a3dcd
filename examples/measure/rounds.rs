//! Rounds: who is measured when, and what a run came to.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::generator::{Load, Told};
use crate::kernel;
use crate::lab::{Lab, Server};

/// What others may use of a core, in percent, while something is measured; a run during which it was
/// more is repeated once.
const LOUD: f64 = 10.0;

/// A server, and what is asked of it.
pub(crate) struct Target<'a> {
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
pub(crate) fn interleaved(lab: &Lab, targets: &[Target<'_>], rounds: usize) -> Vec<Vec<Sample>> {
    let mut samples = vec![Vec::new(); targets.len()];
    for round in 0..rounds {
        let mut order: Vec<_> = (0..targets.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            match quieter(lab, &targets[place]) {
                Ok(sample) => samples[place].push(sample),
                Err(error) => eprintln!("  left out: {error}"),
            }
        }
    }
    samples
}

/// A run, or the quieter of two where the first was loud.
fn quieter(lab: &Lab, target: &Target<'_>) -> io::Result<Sample> {
    let sample = run(lab, target)?;
    if sample.noise <= LOUD {
        return Ok(sample);
    }
    let again = run(lab, target)?;
    Ok(if again.noise < sample.noise { again } else { sample })
}

fn run(lab: &Lab, target: &Target<'_>) -> io::Result<Sample> {
    wait_for_quiet()?;
    let fetched = lab.reached_origin()?;
    let before = Meter::read(lab, target.server)?;
    let told = target.load.run(target.server.address, target.server.tls)?;
    let used = Meter::read(lab, target.server)?.since(&before);
    let requests = told.requests as f64;
    Ok(Sample {
        told,
        cpu: used.server / requests * 1e6,
        fetched: (lab.reached_origin()? - fetched) as f64 / requests,
        noise: used.noise(),
    })
}

/// Waits until others use little, but not for long: some machines are never quiet.
fn wait_for_quiet() -> io::Result<()> {
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
        let ours = kernel::cpu_of_ended_children()? + kernel::own_cpu()? + lab.origin.cpu();
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

/// The one in the middle; of two there the lower.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0]), Some(1.0));
        assert_eq!(median([]), None);
    }
}
