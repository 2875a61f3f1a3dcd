//! What no policy can exceed, knowing the future too.
//!
//! A hit needs its object to stay from the request before it to itself: so many bytes for so many
//! requests. All the memory for all requests is what there is of that; given to the cheapest hits
//! first, it buys at least as many as any policy gets, which can't spend what is left over at one
//! time at another (the upper bound PFOO-U of Berger, Beckmann and Harchol-Balter, 2018).

use super::{Engine, Setup};
use crate::forecast::keeper::Policy;
use crate::forecast::plan::Plan;
use crate::forecast::trace::Trace;

/// Shares from 0 to 1 that can't be exceeded, each by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Of requests.
    pub hit_ratio: f64,
    /// Of bytes to clients.
    pub byte_hit_ratio: f64,
}

/// A hit, and what it costs.
#[derive(Clone, Copy, Debug)]
struct Hit {
    /// Bytes times requests.
    space: f64,
    /// Bytes to the client.
    bytes: f64,
}

impl Bound {
    /// For `setup`, whatever its policy is.
    #[must_use]
    pub fn new(trace: &Trace, plan: &Plan, setup: &Setup) -> Self {
        let setup = Setup { policy: Policy::Unbounded, ..setup.clone() };
        let capacity = plan.weigh.capacity(setup.memory) / u64::from(setup.sample.every);
        let start = trace.requests.first().map_or(0, |request| request.at);
        let counts_from = start.saturating_add(setup.clockwork.warm_up);
        let mut engine = Engine::new(trace, plan, &setup, None);
        let mut seen = vec![0_u32; plan.keys()];
        let (mut hits, mut requests, mut bytes) = (Vec::new(), 0_u64, 0.0);
        let mut played = 0_u32;
        for (request, step) in trace.requests.iter().zip(&plan.steps) {
            if !setup.sample.holds(step.key) {
                continue;
            }
            let event = engine.play(request, *step);
            played = played.saturating_add(1);
            let Some(seen) = seen.get_mut(step.key as usize) else { continue };
            let waited = played - std::mem::replace(seen, played);
            if request.at < counts_from {
                continue;
            }
            requests += 1;
            bytes += request.bytes as f64;
            let weight = engine.keeper.size(step.key);
            if event.outcome.is_hit() && weight <= capacity {
                let space = weight as f64 * f64::from(waited);
                hits.push(Hit { space, bytes: request.bytes as f64 });
            }
        }
        let all = capacity as f64 * f64::from(played);
        let share = |part: f64, whole: f64| if whole > 0.0 { (part / whole).min(1.0) } else { 0.0 };
        hits.sort_unstable_by(|one, other| one.space.total_cmp(&other.space));
        let most_hits = bought(&hits, all, |_| 1.0);
        hits.retain(|hit| hit.bytes > 0.0);
        let price = |hit: &Hit| hit.space / hit.bytes;
        hits.sort_unstable_by(|one, other| price(one).total_cmp(&price(other)));
        let most_bytes = bought(&hits, all, |hit| hit.bytes);
        Self {
            hit_ratio: share(most_hits, requests as f64),
            byte_hit_ratio: share(most_bytes, bytes),
        }
    }
}

/// What `budget` buys of `hits`, in their order, the last of them in part.
fn bought(hits: &[Hit], budget: f64, worth: impl Fn(&Hit) -> f64) -> f64 {
    let (mut left, mut sum) = (budget, 0.0);
    for hit in hits {
        if hit.space > left {
            return sum + worth(hit) * left / hit.space;
        }
        left -= hit.space;
        sum += worth(hit);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_are_bought_first_and_the_last_in_part() {
        let hits = [(1.0, 5.0), (3.0, 2.0), (8.0, 4.0)];
        let hits = hits.map(|(space, bytes)| Hit { space, bytes });
        let count = |budget| bought(&hits, budget, |_| 1.0);
        assert!((count(0.0) - 0.0).abs() < 1e-9);
        assert!((count(4.0) - 2.0).abs() < 1e-9);
        assert!((count(8.0) - 2.5).abs() < 1e-9);
        assert!((count(99.0) - 3.0).abs() < 1e-9);
        assert!((bought(&hits, 2.5, |hit| hit.bytes) - 6.0).abs() < 1e-9);
    }
}
