//! Purges that ask for what they cover to be refreshed: from whoever purges to whoever refreshes.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::stamps::Scope;

/// Purges that wait to be looked at. Beyond that all of them become one of everything, which takes
/// what is purged and used, whatever it was purged by.
const MOST: usize = 4096;

/// What is to be refreshed. Nothing is lost where nobody takes it: it is stale, and refreshed when
/// it is asked for.
#[derive(Debug, Default)]
pub struct Refreshes {
    wanted: Mutex<Vec<Scope>>,
    added: Notify,
}

impl Refreshes {
    /// Adds what a purge has made stale.
    pub fn add(&self, scopes: &[Scope]) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.len() + scopes.len() > MOST {
            *wanted = vec![Scope::All];
        } else {
            wanted.extend_from_slice(scopes);
        }
        drop(wanted);
        self.added.notify_one();
    }

    /// All that has been added, once there is something. For one taker.
    pub async fn next(&self) -> Vec<Scope> {
        loop {
            let wanted =
                std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
            if !wanted.is_empty() {
                return wanted;
            }
            self.added.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_added_is_taken_once_and_too_much_is_everything() {
        let refreshes = Refreshes::default();
        let scope = || Scope::Prefix("http://a.test/".to_owned());
        refreshes.add(&[scope()]);
        refreshes.add(&[scope()]);
        assert_eq!(refreshes.next().await, [scope(), scope()]);
        for _ in 0..=MOST {
            refreshes.add(&[scope()]);
        }
        assert_eq!(refreshes.next().await, [Scope::All]);
    }
}
