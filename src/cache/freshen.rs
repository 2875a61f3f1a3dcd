//! A validation has found the stored response good: its head is brought up to date.

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::response::Parts as ResponseHead;

use super::conclude::{Concluded, Conclusion, Verdict, done, of_the_resource};
use super::{FlightLeader, compress, respond};
use crate::clock::Timestamp;
use crate::coalesce::FlightOutcome;
use crate::context::Outcome;
use crate::key::CacheKey;
use crate::policy::{NO_VARY_SEARCH, Reason, Storability, StoredHead};
use crate::store::{Insertion, Stamp, Standing, StoredResponse};

impl Conclusion<'_> {
    /// RFC 9111 §4.3.4: the stored response is good; its head is brought up to date.
    pub(super) fn freshen(
        mut self,
        stored: &Arc<StoredResponse>,
        not_modified: &ResponseHead,
    ) -> Verdict {
        let job = self.job;
        let policy = &job.config.policy;
        let head =
            stored.head.with_update(&not_modified.headers, self.times(), policy, &job.facts());
        let head = head.hiding(job.config.tags.fields());
        let (content, copies) = (stored.content.clone(), stored.copies.under(&head));
        let choice = compress::choose(&head, &content, &copies, job);
        if !choice.is_at_hand(&content) {
            // The new head forbids the only form that is left.
            return self.again(Reason::ValidatorMismatch);
        }
        self.keep_to_itself(head.status(), head.get_all(&NO_VARY_SEARCH));
        if choice.wish == compress::Wish::Identity {
            copies.want_identity();
        }
        let key = self.key();
        if self.for_itself {
            self.shared.memory.remove(&job.target.key(), stored);
            self.leave_others();
        }
        let (verdict, stamp) = match self.updated_stamp(stored, &head) {
            Ok(stamp) => (head.storable(&job.facts(), policy), stamp),
            Err(reason) => (Storability::DoNotStore(reason), None),
        };
        let verdict = match verdict {
            Storability::Store if !job.config.store => Storability::DoNotStore(Reason::StoreOff),
            Storability::Store if job.varies_by_client(&not_modified.headers) => {
                Storability::DoNotStore(Reason::VaryClient)
            }
            verdict => verdict,
        };
        let useless_at = head.expires_from_store_at(policy);
        let updated = stamp.and_then(|stamp| {
            let copies = copies.again();
            self.shared.seal_with(&key, head.clone(), content.clone(), stamp, useless_at, copies)
        });
        let now = self.now;
        let kept = match (verdict, updated) {
            (Storability::Store, Some(updated)) if self.keep_updated(&key, &updated, now) => {
                match self.unshareable(&head) {
                    None => {
                        self.shared.forget_trouble(&key, self.plan.variant);
                        self.announce(FlightOutcome::Settled);
                    }
                    Some(reason) => self.release(key.as_str(), reason),
                }
                true
            }
            // Purged meanwhile, or no memory for the new head: the old one stands.
            (Storability::Store, _) => {
                self.announce(FlightOutcome::NotShareable);
                false
            }
            (Storability::DoNotStore(reason), _) => {
                if of_the_resource(reason) {
                    self.shared.remove(&key, stored);
                }
                self.release(key.as_str(), reason);
                false
            }
        };
        let outcome = Outcome {
            stored: kept,
            ttl: Some(head.ttl(policy, now)),
            ..self.outcome(not_modified.status, self.plan.reason)
        };
        let mut response = respond::answer_from((&head, &content), &choice.form, job, outcome, now);
        // A cookie on the 304 is for the client that was validated for, and is not stored.
        for cookie in not_modified.headers.get_all(SET_COOKIE) {
            response.http.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        done(Concluded { response: Ok(response), pump: None })
    }

    /// Stores what a validation has brought up to date; whether it is stored now.
    fn keep_updated(
        &mut self,
        key: &CacheKey,
        updated: &Arc<StoredResponse>,
        now: Timestamp,
    ) -> bool {
        let insertion = self.shared.memory.insert(key, updated, now);
        // What has to be validated at each use gains nothing by being written each time.
        if self.shared.tier.is_some()
            && insertion != Insertion::Purged
            && self.is_for_all()
            && self.unshareable(&updated.head).is_none()
        {
            let lease = self.leader.as_mut().and_then(FlightLeader::take_lease);
            self.shared.offer(key, updated, self.started.at, lease);
        }
        insertion == Insertion::Stored
    }

    /// The stamp of `stored` with the head that a validation has given it; `None` where a purge
    /// during the validation has met a tag that it has lost.
    fn updated_stamp(
        &self,
        stored: &StoredResponse,
        head: &StoredHead,
    ) -> Result<Option<Stamp>, Reason> {
        let (labels, sequence) = (self.labels(head, true)?, self.started.sequence);
        let old = stored.stamp.labels();
        if old != labels.as_ref() {
            let old = Stamp::new(sequence, old.cloned());
            let standing = |key: &str| self.shared.memory.standing_outside(key, &old);
            if self.job.target.with_key_str(standing) != Standing::Valid {
                return Ok(None);
            }
        }
        Ok(Some(Stamp::new(sequence, labels)))
    }
}
