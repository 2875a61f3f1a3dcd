//! Asking Redis something, within a time and a size, and what is noted of the answer.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use ::redis::{Cmd, Pipeline, Value};
use tokio::time::timeout;

use super::connect::Opened;
use super::fault::Fault;
use super::shared::Shared;

/// The connections of a node. What is long on one does not delay what is short on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Lookups: small and in a hurry.
    Heads,
    /// Bodies' chunks.
    Chunks,
    /// Everything that is written.
    Writes,
}

/// One connection of one lane, for as long as it lasts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) lane: Lane,
    pub(super) opened: Arc<Opened>,
    pub(super) shared: Arc<Shared>,
    /// Which connections of all these are.
    pub(super) generation: u64,
}

/// Bytes that a reply's framing takes beside its values, for each of them.
const FRAMING: usize = 64;

impl Connection {
    /// The answer to `command`, which may take `most` bytes and has to come within `patience`.
    ///
    /// # Errors
    /// What went wrong; it is noted.
    pub async fn ask(
        &self,
        command: &Cmd,
        most: usize,
        patience: Duration,
    ) -> Result<Value, Fault> {
        let mut connection = self.opened.connection.clone();
        let asked = async move { command.query_async::<Value>(&mut connection).await };
        self.settled(asked, most + FRAMING, patience).await
    }

    /// The answers to a pipeline of `count` commands, which may take `most` bytes together and have
    /// to come within `patience`.
    ///
    /// # Errors
    /// What went wrong with the first of them that failed; it is noted.
    pub async fn ask_all(
        &self,
        pipeline: &Pipeline,
        count: usize,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Value>, Fault> {
        let mut connection = self.opened.connection.clone();
        let asked = async move {
            let answers = connection.req_packed_commands(pipeline, 0, count).await?;
            let answers: Result<Vec<_>, _> =
                answers.into_iter().map(Value::extract_error).collect();
            answers.map(Value::Array)
        };
        match self.settled(asked, most + count * FRAMING, patience).await? {
            Value::Array(answers) if answers.len() == count => Ok(answers),
            _ => Err(self.garbage()),
        }
    }

    /// Notes that an answer was none to what was asked.
    #[must_use]
    pub fn garbage(&self) -> Fault {
        self.shared.failed(self.lane, self.generation, Fault::Garbage);
        Fault::Garbage
    }

    async fn settled(
        &self,
        asked: impl Future<Output = ::redis::RedisResult<Value>>,
        most: usize,
        patience: Duration,
    ) -> Result<Value, Fault> {
        self.opened.allowance.grant(most);
        let answer = match timeout(patience, asked).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Fault::of(&error)),
            Err(_) => Err(Fault::Timeout),
        };
        match &answer {
            Ok(value) => {
                self.opened.allowance.settle(most, size(value));
                self.shared.succeeded(self.lane, self.generation);
            }
            Err(fault) => {
                // What was not answered in time may still come.
                if *fault != Fault::Timeout {
                    self.opened.allowance.settle(most, FRAMING);
                }
                self.shared.failed(self.lane, self.generation, *fault);
            }
        }
        answer
    }
}

/// Bytes of a reply, at least.
fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len() + FRAMING,
        Value::Array(values) => values.iter().map(size).sum(),
        _ => FRAMING,
    }
}
