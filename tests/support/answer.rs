//! What the scripted origin answers: a response, or a way of not giving one.

use super::gate::Gate;
use super::message::Fields;

/// One step of sending a body.
#[derive(Clone)]
pub enum Step {
    /// These bytes: one chunk, or part of the length.
    Bytes(Vec<u8>),
    /// Stop until the test opens the gate.
    Wait(Gate),
    /// End the connection: by reset, or else in order.
    Cut { reset: bool },
}

/// How the origin frames its body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `Content-Length` of what the steps hold.
    Length,
    /// This `Content-Length`, whatever the steps hold.
    Claimed(u64),
    /// Chunked.
    Chunked,
    /// Ended by the end of the connection.
    Close,
    /// No framing fields are added: the script's own decide, the bytes follow as they are.
    Verbatim,
}

/// An answer of the origin.
#[derive(Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) fields: Fields,
    pub(super) interim: Vec<(u16, Fields)>,
    pub(super) head_gate: Option<Gate>,
    pub(super) steps: Vec<Step>,
    pub(super) style: Style,
    pub(super) trailers: Fields,
    pub(super) dated: bool,
    pub(super) close: bool,
    /// Sent instead of all of the above.
    pub(super) raw: Option<Vec<u8>>,
}

/// A 200 with this body.
pub fn ok(body: impl AsRef<[u8]>) -> Answer {
    status(200).body(body)
}

/// A 200 with these fields and some body.
pub fn given(fields: &[(&str, &str)]) -> Answer {
    fields.iter().fold(ok("body"), |answer, (name, value)| answer.with(name, *value))
}

/// A response without a body.
pub fn status(status: u16) -> Answer {
    Answer {
        status,
        fields: Vec::new(),
        interim: Vec::new(),
        head_gate: None,
        steps: Vec::new(),
        style: Style::Length,
        trailers: Vec::new(),
        dated: true,
        close: false,
        raw: None,
    }
}

/// Exactly these bytes, then the end of the connection.
pub fn raw(bytes: impl AsRef<[u8]>) -> Answer {
    Answer { raw: Some(bytes.as_ref().to_vec()), ..status(200) }
}

impl Answer {
    /// No answer at all: the connection ends when the request has been read.
    pub fn hang_up() -> Self {
        raw("")
    }

    /// No answer, and the connection stays open until the gate opens.
    pub fn silent(gate: &Gate) -> Self {
        Self::hang_up().gate(gate)
    }

    /// What a failed test says of it.
    pub fn summary(&self) -> (u16, &Fields) {
        (self.status, &self.fields)
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// `Cache-Control: max-age=…`.
    pub fn fresh(self, seconds: u64) -> Self {
        self.with("Cache-Control", format!("max-age={seconds}"))
    }

    /// More of the body; one chunk where it is chunked.
    pub fn body(mut self, bytes: impl AsRef<[u8]>) -> Self {
        if !bytes.as_ref().is_empty() {
            self.steps.push(Step::Bytes(bytes.as_ref().to_vec()));
        }
        self
    }

    /// Holds the head back until the gate lets it pass.
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    /// Holds the rest of the body back until the gate lets it pass.
    pub fn then(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// Byte by byte, one for each release of the gate.
    pub fn drip(mut self, bytes: &[u8], gate: &Gate) -> Self {
        for &byte in bytes {
            self = self.then(gate).body([byte]);
        }
        self
    }

    /// Resets the connection here, whatever was announced.
    pub fn cut(mut self) -> Self {
        self.steps.push(Step::Cut { reset: true });
        self
    }

    /// Closes the connection here, in order, whatever was announced.
    pub fn stop(mut self) -> Self {
        self.steps.push(Step::Cut { reset: false });
        self
    }

    pub fn chunked(mut self) -> Self {
        self.style = Style::Chunked;
        self
    }

    pub fn claiming(mut self, length: u64) -> Self {
        self.style = Style::Claimed(length);
        self
    }

    pub fn until_close(mut self) -> Self {
        self.style = Style::Close;
        self
    }

    pub fn verbatim(mut self) -> Self {
        self.style = Style::Verbatim;
        self
    }

    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self.chunked()
    }

    /// An interim response before the final one.
    pub fn interim(mut self, status: u16, fields: &[(&str, &str)]) -> Self {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        self.interim.push((status, fields.iter().map(own).collect()));
        self
    }

    /// Without the `Date` that is otherwise added.
    pub fn undated(mut self) -> Self {
        self.dated = false;
        self
    }

    /// Ends the connection after this answer, and says so.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self.with("Connection", "close")
    }
}
