//! An HTTP/1.1 client that sends exactly what it is told and says exactly what came back.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::message::{Fault, Fields, Framing, Io, Wire, find, framing};
use super::within;

/// Interim responses beyond which a client is being held up, not informed.
const MANY: usize = 1000;

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Fields,
    pub body: Option<Vec<u8>>,
    pub version: &'static str,
    /// Whether `Host: example.test` is sent.
    pub host: bool,
}

pub fn request(method: &str, target: &str) -> Request {
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        fields: Vec::new(),
        body: None,
        version: "HTTP/1.1",
        host: true,
    }
}

pub fn get(target: &str) -> Request {
    request("GET", target)
}

pub fn head(target: &str) -> Request {
    request("HEAD", target)
}

pub fn delete(target: &str) -> Request {
    request("DELETE", target)
}

pub fn post(target: &str, body: impl AsRef<[u8]>) -> Request {
    request("POST", target).body(body)
}

pub fn put(target: &str, body: impl AsRef<[u8]>) -> Request {
    request("PUT", target).body(body)
}

impl Request {
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        if name.eq_ignore_ascii_case("host") {
            self.host = false;
        }
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body = Some(bytes.as_ref().to_vec());
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        if self.host {
            head.push_str("Host: example.test\r\n");
        }
        for (name, value) in &self.fields {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if let Some(body) = &self.body {
            head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        head.push_str("\r\n");
        [head.as_bytes(), self.body.as_deref().unwrap_or_default()].concat()
    }
}

/// An interim response.
pub type Interim = (u16, Fields);

/// A response, and whether it ended as it should.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub fields: Fields,
    pub interim: Vec<Interim>,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The body came to its announced end; `false` if the connection was cut before.
    pub complete: bool,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|(_, value)| &**value).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("this body is text")
    }

    /// `Age`, in seconds.
    pub fn age(&self) -> Option<u64> {
        self.field("age").map(|age| age.parse().expect("Age is a number"))
    }

    /// `Cache-Status` (RFC 9211): this proxy's member, the last one.
    pub fn cache_status(&self) -> &str {
        let last = self.all("cache-status").pop().unwrap_or_default();
        last.rsplit(", ").next().unwrap_or_default()
    }

    /// Whether `Cache-Status` has this parameter, such as `hit` or `fwd=stale`.
    pub fn says(&self, parameter: &str) -> bool {
        self.cache_status().split(';').skip(1).any(|part| part.trim() == parameter)
    }

    /// Answered from a stored response, without the origin.
    pub fn is_hit(&self) -> bool {
        self.says("hit")
    }
}

/// A client connection.
pub struct Client {
    wire: Wire,
    framing: Option<Framing>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("it listens");
        Self::over(stream)
    }

    /// On a stream that is already there: TLS, or an odd socket.
    pub fn over(io: impl Io + 'static) -> Self {
        io.socket().set_nodelay(true).expect("a TCP socket");
        Self { wire: Wire::new(io), framing: None }
    }

    /// Reads little at a time, so that the other side feels a reader who does not read.
    pub fn reading_slowly(self) -> Self {
        self.wire.shrink_receive_buffer();
        self
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = within("room to send", self.wire.send(bytes.as_ref())).await;
        sent.expect("the connection is open");
    }

    /// Sends where the other side may already have hung up.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within("room to send", self.wire.send(bytes.as_ref())).await.is_ok()
    }

    /// Sends a request and reads the whole response.
    pub async fn exchange(&mut self, request: &Request) -> Response {
        self.try_exchange(request).await.expect("a response")
    }

    pub async fn try_exchange(&mut self, request: &Request) -> Result<Response, Fault> {
        within("room to send", self.wire.send(&request.bytes())).await?;
        let response = self.try_begin(&request.method).await?;
        self.try_finish(response).await
    }

    /// Reads a response's head; [`Client::piece`] and [`Client::finish`] read on.
    pub async fn begin(&mut self, method: &str) -> Response {
        self.try_begin(method).await.expect("a response")
    }

    pub async fn try_begin(&mut self, method: &str) -> Result<Response, Fault> {
        let mut response = Response::default();
        loop {
            let head = within("a response", self.wire.head()).await?;
            let (line, fields) = head.ok_or(Fault::Cut)?;
            let status = parse_status(&line)?;
            if (100..200).contains(&status) && status != 101 {
                response.interim.push((status, fields));
                if response.interim.len() > MANY {
                    return Err(Fault::Bad("interim responses without end".to_owned()));
                }
                continue;
            }
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let announced = framing(&fields)?;
            self.framing = (!bodiless).then_some(announced.unwrap_or(Framing::Close));
            (response.status, response.fields) = (status, fields);
            return Ok(response);
        }
    }

    /// The next piece of the body; `None` at its end.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(framing) = &mut self.framing else { return Ok(None) };
        within("more of the body", self.wire.piece(framing)).await
    }

    /// Reads until at least `count` more bytes of the body are there.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend(self.piece().await.expect("more bytes").expect("a longer body"));
        }
        bytes
    }

    /// Reads the rest of the body.
    pub async fn finish(&mut self, response: Response) -> Response {
        self.try_finish(response).await.expect("a readable body")
    }

    /// Reads the response to what was sent in pieces; not for HEAD.
    pub async fn exchange_rest(&mut self) -> Response {
        let response = self.begin("GET").await;
        self.finish(response).await
    }

    async fn try_finish(&mut self, mut response: Response) -> Result<Response, Fault> {
        loop {
            match self.piece().await {
                Ok(Some(piece)) => response.body.extend(piece),
                Ok(None) => {
                    response.complete = true;
                    response.trailers = std::mem::take(&mut self.wire.trailers);
                    return Ok(response);
                }
                Err(Fault::Cut) => return Ok(response),
                Err(bad) => return Err(bad),
            }
        }
    }

    /// Bytes outside any message, as they come; empty when the connection has ended.
    pub async fn some(&mut self) -> Vec<u8> {
        within("bytes", self.wire.some()).await.unwrap_or_default()
    }

    /// Waits until the other side has ended the connection; what came before.
    pub async fn ended(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.some().await {
                bytes if bytes.is_empty() => return all,
                bytes => all.extend(bytes),
            }
        }
    }

    /// Ends the connection at once (RST).
    pub fn reset(self) {
        self.wire.reset();
    }
}

fn parse_status(line: &str) -> Result<u16, Fault> {
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| Fault::Bad(format!("status line {line:?}")))
}
