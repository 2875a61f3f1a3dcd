//! A gate: tasks stop at it until the test lets them pass.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

/// Where a script stops until the test releases it, once per release.
#[derive(Clone)]
pub struct Gate {
    permits: Arc<Semaphore>,
    reached: Arc<watch::Sender<usize>>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), reached: Arc::new(watch::Sender::new(0)) }
    }

    /// Lets `count` passes through, waiting now or later.
    pub fn release(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.permits.close();
    }

    /// Waits until it was reached `count` times in all.
    pub async fn reached(&self, count: usize) {
        let mut reached = self.reached.subscribe();
        let wait = reached.wait_for(|&seen| seen >= count);
        super::within("a script to reach its gate", wait).await.expect("the gate holds its sender");
    }

    /// Stops here until released.
    pub async fn pass(&self) {
        self.reached.send_modify(|seen| *seen += 1);
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }
}
