//! Asking Redis something, within a time and a size, and what is noted of the answer.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::timeout;

use super::cluster::{Cluster, Redirect};
use super::config::Address;
use super::connect::Opened;
use super::fault::Fault;
use super::shared::Shared;
use super::slots;

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
    /// The others, where there are some.
    pub(super) cluster: Option<Arc<Cluster>>,
}

/// Bytes that a reply may take beside its values: its framing, or the text of an error instead.
const FRAMING: usize = 512;

impl Connection {
    /// One to a server of a Cluster.
    pub(super) fn within(self, cluster: Arc<Cluster>) -> Self {
        Self { cluster: Some(cluster), ..self }
    }

    /// Where it leads to.
    pub(super) fn server(&self) -> &Address {
        self.opened.at()
    }

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
        let asked = async move {
            match command.query_async::<Value>(&mut connection).await {
                Err(error) => self.asked_elsewhere(command, error, most).await,
                answer => answer,
            }
        };
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
            let mut answers = connection.req_packed_commands(pipeline, 0, count).await?;
            self.ask_elsewhere(pipeline, &mut answers, most).await;
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
            self.ask_elsewhere(&both, &mut answers, most).await;
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
            Err(fault) => self.note(Lane::Writes, *fault),
        }
        Ok((answers.pop().unwrap_or(Value::Nil), attempted))
    }

    /// What an error comes to that may say where else to ask.
    async fn asked_elsewhere(
        &self,
        command: &Cmd,
        error: RedisError,
        most: usize,
    ) -> RedisResult<Value> {
        let Some(redirect) = redirect(&error, self.opened.at()) else { return Err(error) };
        let answers = self.follow(&redirect, &[command], most).await;
        match answers.as_deref() {
            Some([answer]) => answer.clone().extract_error(),
            _ => Err(error),
        }
    }

    /// Puts the answers of other servers in the places of those that only say who has them.
    async fn ask_elsewhere(&self, pipeline: &Pipeline, answers: &mut [Value], most: usize) {
        if self.cluster.is_none() {
            return;
        }
        let mut elsewhere: Vec<(Redirect, Vec<(usize, &Cmd)>)> = Vec::new();
        for (place, (command, answer)) in pipeline.cmd_iter().zip(&*answers).enumerate() {
            let Value::ServerError(error) = answer else { continue };
            let error = RedisError::from(error.clone());
            let Some(redirect) = redirect(&error, self.opened.at()) else { continue };
            match elsewhere.iter_mut().find(|(known, _)| *known == redirect) {
                Some((_, commands)) => commands.push((place, command)),
                None => elsewhere.push((redirect, vec![(place, command)])),
            }
        }
        for (redirect, commands) in elsewhere {
            let asked: Vec<_> = commands.iter().map(|(_, command)| *command).collect();
            let Some(others) = self.follow(&redirect, &asked, most).await else { continue };
            for ((place, _), answer) in commands.into_iter().zip(others) {
                answers[place] = answer;
            }
        }
    }

    /// The answers of another server, if it can be asked. Once: whoever is sent on from there, too,
    /// is met by a Cluster that is being rebuilt, and better off with a miss.
    async fn follow(
        &self,
        redirect: &Redirect,
        commands: &[&Cmd],
        most: usize,
    ) -> Option<Vec<Value>> {
        let there = self.cluster.as_ref()?.follow(redirect, self.lane)?;
        let each = 1 + usize::from(redirect.asking);
        let count = each * commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for command in commands {
            if redirect.asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command((*command).clone());
        }
        let mut connection = there.opened.connection.clone();
        let most = most + count * FRAMING;
        there.opened.allowance.grant(most);
        let answers = connection.req_packed_commands(&pipeline, 0, count).await.ok()?;
        there.opened.allowance.settle(most, answers.iter().map(size).sum());
        (answers.len() == count).then(|| answers.into_iter().skip(each - 1).step_by(each).collect())
    }

    /// Notes that an answer was none to what was asked.
    #[must_use]
    pub fn garbage(&self) -> Fault {
        self.shared.failed(self.lane, self.generation, Fault::Garbage);
        Fault::Garbage
    }

    /// Where there is no Cluster, a server that has its keys elsewhere is of no use.
    fn note(&self, lane: Lane, fault: Fault) {
        if fault == Fault::Moving && self.cluster.is_some() {
            self.shared.moved(self.generation);
        } else {
            self.shared.failed(lane, self.generation, fault);
        }
    }

    async fn settled(
        &self,
        asked: impl Future<Output = RedisResult<Value>>,
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
            Err(fault) => self.note(self.lane, *fault),
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
        let asked = async {
            if !self.is_asking() {
                return command.query_async::<Value>(&mut connection).await;
            }
            let mut both = Pipeline::with_capacity(2);
            both.cmd("ASKING").add_command(command.clone());
            let mut answers = connection.req_packed_commands(&both, 0, 2).await?;
            answers.pop().unwrap_or(Value::Nil).extract_error()
        };
        let answer = timeout(patience, asked).await;
        let answer = answer.map_err(|_| Fault::Timeout)?.map_err(|error| Fault::of(&error))?;
        self.allowance.settle(most, size(&answer));
        Ok(answer)
    }

    /// Where the server says that `command` has to be asked, if not there.
    pub(super) async fn redirect_of(
        &self,
        command: &Cmd,
        patience: Duration,
    ) -> Result<Option<Redirect>, Fault> {
        let mut connection = self.connection.clone();
        let asked = timeout(patience, command.exec_async(&mut connection)).await;
        let Err(error) = asked.map_err(|_| Fault::Timeout)? else { return Ok(None) };
        redirect(&error, &self.at).map(Some).ok_or_else(|| Fault::of(&error))
    }
}

/// Where an error of the server at `asked` leads to.
fn redirect(error: &RedisError, asked: &Address) -> Option<Redirect> {
    let (to, _) = error.redirect_node()?;
    let asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
    Some(Redirect { to: slots::target(to, asked)?, asking })
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
