//! One connection of the scripted origin: a strict reader of requests and an obedient writer.

use std::sync::Arc;

use seawall::clock::{Clock, Timestamp};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, Step, Style};
use super::message::{Fault, Fields, Framing, Wire, find, framing, is_token_byte};
use super::origin::{Seen, Shared};

/// One connection to the origin, in the hands of a script.
pub struct Conn {
    wire: Wire,
    shared: Arc<Shared>,
    number: usize,
    sni: Option<String>,
}

impl Conn {
    pub(super) async fn open(
        shared: Arc<Shared>,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
    ) -> Option<Self> {
        stream.set_nodelay(true).ok()?;
        let number = shared.connected();
        let (wire, sni) = match tls {
            None => (Wire::new(stream), None),
            Some(acceptor) => {
                let stream = acceptor.accept(stream).await.ok()?;
                let sni = stream.get_ref().1.server_name().map(str::to_owned);
                (Wire::new(stream), sni)
            }
        };
        Some(Self { wire, shared, number, sni })
    }

    /// The next request's head, recorded; `None` when the connection ends instead.
    pub async fn head(&mut self) -> Option<(Seen, Option<Framing>)> {
        match self.wire.head().await {
            Ok(Some((line, fields))) => match parse(&line, fields) {
                Ok((mut seen, framing)) => {
                    seen.connection = self.number;
                    seen.sni.clone_from(&self.sni);
                    seen.number = self.shared.record(seen.clone());
                    Some((seen, framing))
                }
                Err(what) => {
                    self.shared.fault(what);
                    None
                }
            },
            Ok(None) | Err(Fault::Cut) => None,
            Err(Fault::Bad(what)) => {
                self.shared.fault(what);
                None
            }
        }
    }

    /// The next piece of a request's body; `None` when it is complete or cut.
    pub async fn piece(&mut self, framing: &mut Framing) -> Option<Vec<u8>> {
        match self.wire.piece(framing).await {
            Ok(piece) => piece,
            Err(Fault::Cut) => None,
            Err(Fault::Bad(what)) => {
                self.shared.fault(what);
                None
            }
        }
    }

    /// The next request, whole. Says `100 Continue` where it is waited for.
    pub async fn request(&mut self) -> Option<Seen> {
        let (mut seen, framing) = self.head().await?;
        if seen.field("expect").is_some() {
            self.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        if let Some(mut framing) = framing {
            while let Some(piece) = self.piece(&mut framing).await {
                seen.body.extend(piece);
            }
            seen.trailers = std::mem::take(&mut self.wire.trailers);
            self.shared.complete(&seen);
        }
        Some(seen)
    }

    /// Sends bytes; a connection that is gone is seen at the next read.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.send(bytes.as_ref()).await.is_ok()
    }

    /// Bytes outside any message, as they come; empty when the connection has ended.
    pub async fn some(&mut self) -> Vec<u8> {
        self.wire.some().await.unwrap_or_default()
    }

    /// Waits until the other side has closed or reset the connection.
    pub async fn ended(&mut self) {
        while !self.some().await.is_empty() {}
    }

    /// Ends the sending side (FIN), and waits for the other.
    pub async fn finish(mut self) {
        if self.wire.finish().await.is_ok() {
            self.ended().await;
        }
    }

    /// Ends the connection at once (RST).
    pub fn reset(self) {
        self.wire.reset();
    }

    /// Follows an answer's script; the connection, if it can serve another request.
    pub async fn answer(mut self, request: &Seen, answer: &Answer) -> Option<Self> {
        if let Some(gate) = &answer.head_gate {
            gate.pass().await;
        }
        if let Some(bytes) = &answer.raw {
            self.send(bytes).await;
            let _ = self.wire.finish().await;
            return None;
        }
        for (status, fields) in &answer.interim {
            let head = head(*status, fields);
            self.send(head).await;
        }
        let clock = Clock::Manual(self.shared.clock.clone());
        let bodiless = request.method == "HEAD" || matches!(answer.status, 204 | 304);
        self.send(final_head(answer, bodiless, clock.now())).await;
        if bodiless {
            return (!answer.close).then_some(self);
        }
        self.body(answer).await
    }

    async fn body(mut self, answer: &Answer) -> Option<Self> {
        let chunked = answer.style == Style::Chunked;
        for step in &answer.steps {
            match step {
                Step::Bytes(bytes) if chunked => {
                    let chunk =
                        [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
                    self.send(chunk).await;
                }
                Step::Bytes(bytes) => _ = self.send(bytes).await,
                Step::Wait(gate) => gate.pass().await,
                Step::Cut { reset: true } => {
                    self.wire.reset();
                    return None;
                }
                Step::Cut { reset: false } => {
                    let _ = self.wire.finish().await;
                    return None;
                }
            }
        }
        if chunked {
            self.send(last_chunk(&answer.trailers)).await;
        }
        if answer.close || answer.style == Style::Close {
            let _ = self.wire.finish().await;
            return None;
        }
        Some(self)
    }
}

/// A request's head, which must mean one thing only (RFC 9112 §2, §3.2, §6.3).
fn parse(line: &str, fields: Fields) -> Result<(Seen, Option<Framing>), String> {
    let parts: Vec<_> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        return Err(format!("request line {line:?}"));
    };
    if !method.bytes().all(is_token_byte) || !(target.starts_with('/') || target == "*") {
        return Err(format!("request line {line:?}"));
    }
    let hosts = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).count();
    if hosts != 1 {
        return Err(format!("{hosts} Host fields in {fields:?}"));
    }
    let framing = framing(&fields).map_err(|fault| format!("{fault:?}"))?;
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok((Seen { method, target, fields, ..Seen::default() }, framing))
}

fn head(status: u16, fields: &[(String, String)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in fields {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn final_head(answer: &Answer, bodiless: bool, now: Timestamp) -> Vec<u8> {
    let mut fields = answer.fields.clone();
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    let length: usize = answer
        .steps
        .iter()
        .map(|step| if let Step::Bytes(bytes) = step { bytes.len() } else { 0 })
        .sum();
    match answer.style {
        Style::Length if matches!(answer.status, 204 | 304) || bodiless && length == 0 => {}
        Style::Length => add("Content-Length", length.to_string()),
        Style::Claimed(length) => add("Content-Length", length.to_string()),
        Style::Chunked => add("Transfer-Encoding", "chunked".to_owned()),
        Style::Close | Style::Verbatim => {}
    }
    if answer.dated && find(&answer.fields, "date").is_none() {
        add("Date", super::http_date(now));
    }
    head(answer.status, &fields)
}

fn last_chunk(trailers: &Fields) -> Vec<u8> {
    let mut bytes = "0\r\n".to_owned();
    for (name, value) in trailers {
        bytes.extend([name, ": ", value, "\r\n"]);
    }
    bytes.push_str("\r\n");
    bytes.into_bytes()
}
