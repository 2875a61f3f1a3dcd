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

/// Bytes that a reply may take beside its values: its framing, or the text of an error instead.
const FRAMING: usize = 512;

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
        self.settled(asked, most + FRAMING, patience, size).await
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
        // The library makes an array of the answers, which is not on the wire.
        let used = |answers: &Value| size(answers) - size(&Value::Array(Vec::new()));
        match self.settled(asked, most + count * FRAMING, patience, used).await? {
            Value::Array(answers) if answers.len() == count => Ok(answers),
            _ => Err(self.garbage()),
        }
    }

    /// What came of `attempt`, which may write, and perhaps the answer to a `question` before it, in
    /// one round trip; together they may take `most` bytes. That an attempt is refused is noted of
    /// writing: it says nothing of reading.
    ///
    /// # Errors
    /// What went wrong with the question, or with both.
    pub async fn attempt(
        &self,
        question: Option<Cmd>,
        attempt: Cmd,
        most: usize,
        patience: Duration,
    ) -> Result<(Value, Result<Value, Fault>), Fault> {
        let mut connection = self.opened.connection.clone();
        let mut both = Pipeline::with_capacity(2);
        let count = 1 + usize::from(question.is_some());
        for command in question.into_iter().chain([attempt]) {
            both.add_command(command);
        }
        let asked = async move {
            let mut answers = connection.req_packed_commands(&both, 0, count).await?;
            // An error in the last of them is not one of the whole.
            let last = answers.pop().unwrap_or(Value::Nil);
            let answers: Result<Vec<_>, _> =
                answers.into_iter().map(Value::extract_error).collect();
            answers.map(|answers| Value::Array(answers.into_iter().chain([last]).collect()))
        };
        let used = |answers: &Value| size(answers) - size(&Value::Array(Vec::new()));
        let answers = self.settled(asked, most + count * FRAMING, patience, used).await?;
        let Value::Array(mut answers) = answers else { return Err(self.garbage()) };
        let Some(last) = answers.pop() else { return Err(self.garbage()) };
        let attempted = last.extract_error().map_err(|error| Fault::of(&error));
        match &attempted {
            Ok(_) => self.shared.succeeded(Lane::Writes, self.generation),
            Err(fault) => self.shared.failed(Lane::Writes, self.generation, *fault),
        }
        Ok((answers.pop().unwrap_or(Value::Nil), attempted))
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
        used: impl Fn(&Value) -> usize,
    ) -> Result<Value, Fault> {
        self.opened.allowance.grant(most);
        let answer = match timeout(patience, asked).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Fault::of(&error)),
            Err(_) => Err(Fault::Timeout),
        };
        match &answer {
            Ok(value) => {
                self.opened.allowance.settle(most, used(value));
                self.shared.succeeded(self.lane, self.generation);
            }
            // What was not answered in time may still come, and the rest of a pipeline has: until
            // there are new connections, so much more may come than should.
            Err(fault) => self.shared.failed(self.lane, self.generation, *fault),
        }
        answer
    }
}

impl Opened {
    /// The answer to `command` on a connection that is nobody else's, which may take `most` bytes
    /// and has to come within `patience`. What goes wrong is the asker's concern alone.
    ///
    /// # Errors
    /// What went wrong; the connection is of no use then.
    pub async fn ask(
        &self,
        command: &Cmd,
        most: usize,
        patience: Duration,
    ) -> Result<Value, Fault> {
        let (mut connection, most) = (self.connection.clone(), most + FRAMING);
        self.allowance.grant(most);
        let answer = timeout(patience, command.query_async::<Value>(&mut connection)).await;
        let answer = answer.map_err(|_| Fault::Timeout)?.map_err(|error| Fault::of(&error))?;
        self.allowance.settle(most, size(&answer));
        Ok(answer)
    }
}

/// Bytes of a reply on the wire (RESP2): no more than came, or what may come would dwindle.
fn size(value: &Value) -> usize {
    match value {
        Value::Nil | Value::Okay => 5,
        Value::SimpleString(text) => text.len() + 3,
        Value::BulkString(bytes) => bytes.len() + 6 + digits(bytes.len()),
        Value::Array(values) => values.iter().map(size).sum::<usize>() + 4,
        _ => 4,
    }
}

/// Digits of a number beyond the first.
fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_takes_what_it_takes_on_the_wire() {
        let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        for (value, wire) in [
            (Value::Nil, "$-1\r\n"),
            (Value::Okay, "+OK\r\n"),
            (Value::SimpleString("PONG".to_owned()), "+PONG\r\n"),
            (Value::Int(1), ":1\r\n"),
            (bulk(b""), "$0\r\n\r\n"),
            (bulk(b"0123456789"), "$10\r\n0123456789\r\n"),
            (Value::Array(vec![Value::Nil, bulk(b"a")]), "*2\r\n$-1\r\n$1\r\na\r\n"),
        ] {
            assert_eq!(size(&value), wire.len(), "{wire:?}");
        }
    }
}
