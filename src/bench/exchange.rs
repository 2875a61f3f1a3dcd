//! One request and its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use tokio::sync::Mutex;

use super::failure::Failure;
use super::origin::BENCH_ANSWER;
use super::record::Answer;
use super::target::{Sender, Target, Version};
use super::verdict;
use super::workload::Ask;

/// What all requests have in common.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// How it is asked for over TLS, or without.
    pub(super) scheme: Scheme,
    /// The host, where a workload names none.
    pub(super) authority: Authority,
    /// Fields of every request.
    pub(super) fields: HeaderMap,
    /// Whether the bench's own origin is told what to answer with.
    pub(super) tells_origin: bool,
    /// Bytes of body that are read.
    pub(super) max_body: u64,
}

impl Manner {
    /// The request for `ask`. HTTP/2 has the host in its target (RFC 9113 §8.3.1), HTTP/1.1 in a
    /// field (RFC 9112 §3.2).
    fn request(&self, ask: &Ask, version: Version) -> Option<Request<Empty<Bytes>>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = ask.method.clone();
        *request.headers_mut() = ask.fields.clone();
        // What the command line says goes before what a log says.
        for name in self.fields.keys() {
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(self.fields.clone());
        let authority = ask.host.as_ref().unwrap_or(&self.authority);
        *request.uri_mut() = match version {
            Version::Http1 => {
                let host = HeaderValue::from_str(authority.as_str()).ok()?;
                request.headers_mut().insert(HOST, host);
                Uri::from(ask.path.clone())
            }
            Version::Http2 => Uri::builder()
                .scheme(self.scheme.clone())
                .authority(authority.clone())
                .path_and_query(ask.path.clone())
                .build()
                .ok()?,
        };
        if let Some(wish) = ask.wish.as_ref().filter(|_| self.tells_origin) {
            request.headers_mut().insert(&BENCH_ANSWER, wish.value());
        }
        Some(request)
    }
}

/// A way to send requests that makes its connection when it needs one.
#[derive(Clone, Debug)]
pub(super) enum Line {
    /// A connection of one's own.
    Own,
    /// One that is shared with others.
    Shared(Arc<Mutex<Option<Sender>>>),
}

/// A worker's end of a line.
#[derive(Debug)]
pub(super) struct End {
    line: Line,
    kept: Option<Sender>,
    target: Arc<Target>,
}

impl End {
    /// Of `line`, to `target`.
    pub(super) fn new(line: Line, target: Arc<Target>) -> Self {
        Self { line, kept: None, target }
    }

    /// Makes the connection before it is needed.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        let sender = self.take().await?;
        self.give_back(sender);
        Ok(())
    }

    /// A connection that is open, as far as is known.
    async fn take(&mut self) -> Result<Sender, Failure> {
        if let Some(sender) = self.kept.take().filter(|sender| !sender.is_closed()) {
            return Ok(sender);
        }
        let connect = async { self.target.connect().await.map_err(|(failure, _)| failure) };
        let Line::Shared(shared) = &self.line else { return connect.await };
        let mut shared = shared.lock().await;
        if shared.as_ref().is_none_or(Sender::is_closed) {
            *shared = Some(connect.await?);
        }
        // Without a share it is HTTP/1.1 after all: one connection for each worker.
        match shared.as_ref().and_then(Sender::share) {
            Some(sender) => Ok(sender),
            None => shared.take().ok_or(Failure::Lost),
        }
    }

    fn give_back(&mut self, sender: Sender) {
        self.kept = Some(sender);
    }

    /// Sends the request for `ask` and reads its whole answer. Where a connection turns out to be
    /// closed before anything of the request went out, once more on another.
    pub(super) async fn exchange(&mut self, ask: &Ask, manner: &Manner) -> Result<Answer, Failure> {
        for _ in 0..2 {
            let mut sender = self.take().await?;
            let request = manner.request(ask, sender.version()).ok_or(Failure::Protocol)?;
            match sender.send(request).await {
                Ok(response) => {
                    let answer = read(response, manner.max_body).await?;
                    self.give_back(sender);
                    return Ok(answer);
                }
                Err(failed) if failed.is_unsent => {}
                Err(failed) => return Err(failed.failure),
            }
        }
        Err(Failure::Lost)
    }
}

/// Reads a body to its end and drops it; where that does not come, the connection goes too.
async fn read(response: Response<Incoming>, max_body: u64) -> Result<Answer, Failure> {
    let (head, mut body) = response.into_parts();
    let mut bytes = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::of_body(&error))?;
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > max_body {
            return Err(Failure::TooLarge);
        }
    }
    let (verdict, told) = verdict::read(&head.headers);
    Ok(Answer { status: head.status, verdict, told, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::origin::Wish;

    #[test]
    fn the_host_stands_where_the_version_has_it() {
        let manner = Manner {
            scheme: Scheme::HTTP,
            authority: "h.example:81".parse().unwrap(),
            fields: HeaderMap::from_iter([(http::header::ACCEPT, HeaderValue::from_static("*/*"))]),
            tells_origin: true,
            max_body: 1,
        };
        let mut ask = Ask {
            at: None,
            method: http::Method::GET,
            host: None,
            path: "/a?b".parse().unwrap(),
            fields: HeaderMap::from_iter([(http::header::ACCEPT, HeaderValue::from_static("a/b"))]),
            wish: Some(Wish { size: Some(7), ..Wish::default() }),
        };
        let request = manner.request(&ask, Version::Http1).unwrap();
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()[HOST]),
            ("/a?b", &HeaderValue::from_static("h.example:81"))
        );
        assert_eq!(request.headers()[&BENCH_ANSWER], "size=7");
        assert_eq!(request.headers()[http::header::ACCEPT], "*/*");
        let request = manner.request(&ask, Version::Http2).unwrap();
        assert_eq!(request.uri(), "http://h.example:81/a?b");
        assert!(!request.headers().contains_key(HOST) && request.headers().contains_key("accept"));
        ask.host = Some("other.example".parse().unwrap());
        let request = manner.request(&ask, Version::Http1).unwrap();
        assert_eq!(request.headers()[HOST], "other.example");
    }
}
