//! Who is in the fleet, as this node remembers it: what is in Redis can be lost, and whoever was in
//! it has to be waited for all the same, until it is heard of again or its bound is over.

use std::time::Instant;

use super::nodes::{Node, Roll};

#[derive(Debug)]
pub(super) struct Roster {
    marker: Option<Vec<u8>>,
    present: Vec<Node>,
    heard_at: Instant,
    /// Who was there before the hash was lost, and has not come back.
    lost: Vec<(Node, Instant)>,
}

impl Roster {
    pub(super) fn new(now: Instant) -> Self {
        Self { marker: None, present: Vec::new(), heard_at: now, lost: Vec::new() }
    }

    /// Takes over what was read.
    pub(super) fn update(&mut self, roll: Roll, now: Instant) {
        if roll.marker != self.marker {
            let before = self.present.drain(..).map(|node| (node, self.heard_at));
            self.lost.extend(before);
            self.marker = roll.marker;
        }
        (self.present, self.heard_at) = (roll.nodes, now);
        let present = &self.present;
        self.lost.retain(|(node, at)| {
            present.iter().all(|other| other.id != node.id) && later(node, *at, now).counts()
        });
    }

    /// Everybody who counts.
    pub(super) fn all(&self, now: Instant) -> Vec<Node> {
        let lost = self.lost.iter().map(|(node, at)| later(node, *at, now));
        let present = self.present.iter().map(|node| later(node, self.heard_at, now));
        present.chain(lost).filter(Node::counts).collect()
    }
}

/// The node that was heard of at `at`, as it stands now.
fn later(node: &Node, at: Instant, now: Instant) -> Node {
    let silent = node.silent + now.saturating_duration_since(at);
    Node { silent, ..node.clone() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::remote::fleet::nodes::tests::node_with_bound;

    fn roll(marker: Option<&str>, names: &[&str]) -> Roll {
        let node = |name: &&str| node_with_bound(name, Duration::from_secs(30));
        let marker = marker.map(|marker| marker.as_bytes().to_vec());
        Roll { marker, nodes: names.iter().map(node).collect() }
    }

    fn names(roster: &Roster, now: Instant) -> Vec<String> {
        roster.all(now).into_iter().map(|node| node.name).collect()
    }

    #[test]
    fn who_has_left_is_gone_and_who_was_lost_counts_until_its_bound_is_over() {
        let now = Instant::now();
        let mut roster = Roster::new(now);
        roster.update(roll(Some("1"), &["a", "b", "c"]), now);
        roster.update(roll(Some("1"), &["a", "b"]), now);
        assert_eq!(names(&roster, now), ["a", "b"]);
        // Everything was flushed; "a" is back at once.
        roster.update(roll(None, &[]), now);
        assert_eq!(names(&roster, now), ["a", "b"]);
        roster.update(roll(Some("2"), &["a"]), now);
        roster.update(roll(Some("2"), &["a"]), now);
        assert_eq!(names(&roster, now), ["a", "b"]);
        let later = now + Duration::from_secs(31);
        roster.update(roll(Some("2"), &["a"]), later);
        assert_eq!(names(&roster, later), ["a", "b"]);
        let later = now + Duration::from_secs(33);
        roster.update(roll(Some("2"), &["a"]), later);
        assert_eq!(names(&roster, later), ["a"]);
    }
}
