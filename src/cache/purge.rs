//! Purges: here at once, and in the whole fleet where there is one.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Shared;
use crate::store::remote::fleet::{Acknowledged, Node};
use crate::store::{Mode, Scope};

/// How long the answer to a purge waits for its place in the fleet's sequence.
const PLACED_WITHIN: Duration = Duration::from_secs(1);

/// What became of a purge, as its answer tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Its number on this node.
    pub sequence: u64,
    /// Its place in the fleet's sequence; none without a fleet, or while Redis is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// Who has done it, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Vec<String>>,
    /// Who is not known to have done it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<Missing>>,
}

/// A node that is not known to have done a purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its name.
    pub node: String,
    /// How long ago it was heard of, in milliseconds.
    pub silent_ms: u64,
}

impl Purged {
    /// Whether all is done that was waited for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let Some(missing) = &self.missing else { return true };
        let somebody = self.acknowledged.as_ref().is_some_and(|nodes| !nodes.is_empty());
        missing.is_empty() && self.fleet.is_some() && somebody
    }
}

impl Shared {
    /// Purges, here and in the tier behind, and returns the numbers of its records, as
    /// [`Memory::purge`] does.
    ///
    /// [`Memory::purge`]: crate::store::Memory::purge
    #[must_use]
    pub fn purge(&self, scope: Scope, mode: Mode) -> RangeInclusive<u64> {
        match &self.tier {
            None => self.memory.purge(scope, mode),
            Some(tier) => tier.purge(vec![scope], mode),
        }
    }

    /// Purges all of them, and returns the last one's sequence number.
    #[must_use]
    pub fn purge_each(&self, scopes: Vec<Scope>, mode: Mode) -> u64 {
        if let Some(tier) = &self.tier {
            return *tier.purge(scopes, mode).end();
        }
        let purge = |scope: &Scope| self.memory.purge(scope.clone(), mode);
        let last = scopes.iter().map(purge).last();
        if mode == Mode::Refresh {
            self.memory.refreshes().add(&scopes);
        }
        last.map_or_else(|| self.memory.sequence(), |numbers| *numbers.end())
    }

    /// Purges all of them here at once, and says where in the fleet's sequence they stand. With
    /// `wait` only when every node has done it, or so much time is over.
    pub fn purge_in_fleet(
        self: &Arc<Self>,
        scopes: Vec<Scope>,
        mode: Mode,
        wait: Option<Duration>,
    ) -> impl Future<Output = Purged> + Send + use<> {
        let sequence = self.purge_each(scopes, mode);
        let shared = Arc::clone(self);
        async move { shared.waited(sequence, wait).await }
    }

    async fn waited(&self, sequence: u64, wait: Option<Duration>) -> Purged {
        let Some(tier) = &self.tier else {
            // There is nobody else.
            let acknowledged = wait.map(|_| vec!["this node".to_owned()]);
            return Purged { sequence, acknowledged, ..Purged::default() };
        };
        let (fleet, room, begun) = (tier.fleet(), tier.room(), Instant::now());
        let Some(wait) = wait else {
            let position = fleet.placed(room, sequence, begun + PLACED_WITHIN).await;
            let fleet = position.map(|position| position.to_string());
            return Purged { sequence, fleet, ..Purged::default() };
        };
        let Acknowledged { position, done, missing } =
            fleet.acknowledged(room, sequence, begun + wait).await;
        let told = |node: Node| Missing {
            node: node.name,
            silent_ms: u64::try_from(node.silent.as_millis()).unwrap_or(u64::MAX),
        };
        Purged {
            sequence,
            fleet: position.map(|position| position.to_string()),
            acknowledged: Some(done.into_iter().map(|node| node.name).collect()),
            missing: Some(missing.into_iter().map(told).collect()),
        }
    }
}
