//! `seawall explain`: from words to a question, and from its answer to words.

mod render;

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use seawall::trial::{Ask, AskError, Content, Explanation, Reply};
use serde::{Deserialize, Serialize};

pub(crate) use render::render;

use crate::ask;
use crate::cli::{AdminAccess, Explain};

/// Bound on what is read of an answer, in bytes.
const MAX_RESPONSE: u64 = 64 << 20;

/// What is to be explained.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) ask: Ask,
    pub(crate) reply: Option<Reply>,
}

/// Why a question can't be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuestionError {
    #[error("{0}; write it like: seawall explain GET https://shop.example/a?b=1")]
    Ask(AskError),
    #[error(transparent)]
    Field(AskError),
    #[error("`{0}` is not a field; write it like -H 'cookie: session=1'")]
    NoField(String),
    #[error("`{0}` is neither a status nor a field; write 200, or 'cache-control: max-age=60'")]
    Response(String),
    #[error("`{0}` is not a status from 200 to 599")]
    Status(String),
    #[error("cannot read {}: {cause}", .file.display())]
    File { file: PathBuf, cause: io::Error },
}

impl Question {
    pub(crate) fn read(explain: &Explain) -> Result<Self, QuestionError> {
        let mut ask = match explain.request.as_slice() {
            [method, url] => Ask::new(method, url),
            words => Ask::parse(&words.join(" ")),
        }
        .map_err(QuestionError::Ask)?;
        ask.client = explain.client.unwrap_or(ask.client);
        for line in &explain.header {
            let (name, value) =
                line.split_once(':').ok_or_else(|| QuestionError::NoField(line.clone()))?;
            ask.add_field(name, value).map_err(QuestionError::Field)?;
        }
        let reply = match &explain.response_file {
            Some(file) => Some(reply(&read(file)?)?),
            None if explain.response.is_empty() => None,
            None => Some(reply(&explain.response.join("\n"))?),
        };
        Ok(Self { ask, reply })
    }
}

fn read(file: &Path) -> Result<String, QuestionError> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(MAX_RESPONSE).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(MAX_RESPONSE).read_to_end(&mut bytes))
    };
    read.map_err(|cause| QuestionError::File { file: file.to_owned(), cause })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(value.trim()).ok()?))
}

/// A head as `curl -i` shows it, or as several `--response` say it; behind an empty line its body.
fn reply(text: &str) -> Result<Reply, QuestionError> {
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        if let Some(code) = status_line(line) {
            status = code
                .parse()
                .ok()
                .filter(|status: &StatusCode| status.as_u16() >= 200)
                .filter(|status| status.as_u16() < 600)
                .ok_or_else(|| QuestionError::Status(code.to_owned()))?;
            continue;
        }
        let (name, value) = field(line).ok_or_else(|| QuestionError::Response(line.to_owned()))?;
        let appended = headers.try_append(name, value);
        appended.map_err(|_| QuestionError::Response(line.to_owned()))?;
    }
    let content = content(rest, &headers);
    Ok(Reply::Response { status, headers, content })
}

/// What stands for the status in `200`, `status: 200` and `HTTP/1.1 200 OK`.
fn status_line(line: &str) -> Option<&str> {
    if line.starts_with("HTTP/") {
        return line.split_whitespace().nth(1);
    }
    if line.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(line);
    }
    let (name, value) = line.split_once(':')?;
    name.trim().eq_ignore_ascii_case("status").then(|| value.trim())
}

/// Where only a length is told, as many zeros.
fn content(body: &str, headers: &HeaderMap) -> Content {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) if body.is_empty() => {
            Content::Zeros(usize::min(length, MAX_RESPONSE as usize))
        }
        _ => Content::Text(body.to_owned().into()),
    }
}

/// What `POST /explain` is sent.
#[derive(Debug, Serialize)]
struct Order {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    client: IpAddr,
}

/// What it says of a question that it can't answer.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
}

/// Asks a running node, which does nothing of it.
pub(crate) fn live(access: &AdminAccess, ask: &Ask) -> Result<Explanation, ask::AskError> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let scheme = if ask.secure { "https" } else { "http" };
    let headers = ask.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let order = Order {
        method: ask.method.to_string(),
        url: format!("{scheme}://{}{}", text(&ask.host), ask.path),
        headers: headers.collect(),
        client: ask.client,
    };
    let body = serde_json::to_vec(&order).map_err(|_| ask::AskError::Strange)?;
    let (status, answer) = ask::post(access, "/explain", body)?;
    understood(status, &answer)
}

fn understood(status: StatusCode, answer: &[u8]) -> Result<Explanation, ask::AskError> {
    match status {
        StatusCode::OK => {
            let explained: Explanation =
                serde_json::from_slice(answer).map_err(|_| ask::AskError::Strange)?;
            // Any server can answer some JSON.
            explained.live.is_some().then_some(explained).ok_or(ask::AskError::Strange)
        }
        status => {
            let refusal = serde_json::from_slice::<Refusal>(answer);
            let why = refusal.map_or_else(|_| answer.to_vec(), |refusal| refusal.error.into());
            Err(ask::AskError::Refused { status, why: ask::printable(&why) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_explanation_of_a_node_is_one() {
        let explained = understood(StatusCode::OK, br#"{"method":"GET","live":{"would":"hit"}}"#);
        assert_eq!(explained.unwrap().live.unwrap().would, "hit");
        for strange in [&b"{}"[..], b"<html>", b"[]"] {
            let answer = understood(StatusCode::OK, strange);
            assert!(matches!(answer, Err(ask::AskError::Strange)));
        }
        let refused = understood(StatusCode::BAD_REQUEST, br#"{"error":"no\u001b URL"}"#);
        let said = refused.unwrap_err().to_string();
        assert!(said.ends_with("(400 Bad Request): no URL"), "{said}");
    }
}
