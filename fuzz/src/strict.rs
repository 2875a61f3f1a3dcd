//! A reader that takes nothing but the normal form of HTTP/1.1: what the proxy sends, to either
//! side, has to pass it.

use std::io::{self, BufRead, Read};

use super::reading::{Fields, is_token, text, values};

/// Most bytes of a line, and most fields: far above what a small input can become.
const LONG: u64 = 1 << 20;
const MANY: usize = 1000;

/// A request as the origin saw it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The target, in origin-form or `*`.
    pub target: String,
    /// All fields.
    pub fields: Fields,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// A response as the client got it.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The status, not an interim one.
    pub status: u16,
    /// All fields.
    pub fields: Fields,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether it came to its end; `false` if the connection was cut before.
    pub complete: bool,
    /// Whether its end was the end of the connection.
    pub until_close: bool,
}

/// Why a message could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ended within it.
    Cut,
    /// It is not in normal form.
    Bad(String),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, or its end is the connection's.
    None,
    /// After this many bytes.
    Length(u64),
    /// By the last chunk.
    Chunked,
}

/// The head of the next request; `None` if the connection ended before its first byte.
pub fn request_head(io: &mut impl BufRead) -> Result<Option<(Seen, Framing)>, Fault> {
    if io.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let line = line(io)?;
    let words: Vec<_> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return bad(format!("request line {line:?}"));
    };
    let form = target.starts_with('/') || target == "*" && method == "OPTIONS";
    let visible = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if method.is_empty() || !method.bytes().all(is_token) || !form || !visible {
        return bad(format!("request line {line:?}"));
    }
    let fields = fields(io)?;
    if values(&fields, "host").len() != 1 {
        return bad(format!("not one Host in {fields:?}"));
    }
    let framing = framing(&fields)?;
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Some((Seen { method, target, fields, body: Vec::new() }, framing)))
}

/// Reads a body to its end into `body`.
pub fn body(io: &mut impl BufRead, framing: Framing, body: &mut Vec<u8>) -> Result<(), Fault> {
    match framing {
        Framing::None => Ok(()),
        Framing::Length(length) => {
            let read = io.take(length).read_to_end(body)?;
            if read as u64 == length { Ok(()) } else { Err(Fault::Cut) }
        }
        Framing::Chunked => chunks(io, body),
    }
}

/// All responses in what a client got until the end of the connection; `heads` says which of its
/// requests were `HEAD`.
pub fn responses(mut bytes: &[u8], heads: &[bool]) -> Result<Vec<Said>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let is_head = heads.get(all.len()).copied().unwrap_or(false);
        match response(&mut bytes, is_head) {
            Ok(Some(said)) => all.push(said),
            Ok(None) => {}
            Err(Fault::Cut) => {
                all.push(Said::default());
                break;
            }
            Err(Fault::Bad(what)) => return Err(what),
        }
    }
    Ok(all)
}

/// One response; `None` if it is an interim one.
fn response(bytes: &mut &[u8], is_head: bool) -> Result<Option<Said>, Fault> {
    let line = line(bytes)?;
    let code = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let code = code.filter(|code| code.len() == 3 || code[3..].starts_with(' '));
    let status = code.and_then(|code| code.get(..3)?.parse::<u16>().ok());
    let Some(status) = status.filter(|status| (100..1000).contains(status)) else {
        return bad(format!("status line {line:?}"));
    };
    let fields = fields(bytes)?;
    if status < 200 {
        return Ok(None);
    }
    let framing = framing(&fields)?;
    let mut said = Said { status, fields, ..Said::default() };
    let read = match framing {
        _ if is_head || matches!(status, 204 | 304) => Ok(()),
        Framing::None => {
            said.body = std::mem::take(bytes).to_vec();
            said.until_close = true;
            Ok(())
        }
        framing => body(bytes, framing, &mut said.body),
    };
    match read {
        Err(Fault::Bad(what)) => return Err(Fault::Bad(what)),
        Err(Fault::Cut) => *bytes = &[],
        Ok(()) => said.complete = true,
    }
    Ok(Some(said))
}

fn chunks(io: &mut impl BufRead, body: &mut Vec<u8>) -> Result<(), Fault> {
    loop {
        let size = line(io)?;
        let hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(length) = u64::from_str_radix(&size, 16).ok().filter(|_| hex) else {
            return bad(format!("chunk size {size:?}"));
        };
        if length == 0 {
            let trailers = fields(io)?;
            let forbidden = ["host", "content-length", "transfer-encoding", "connection"];
            let found = trailers.iter().find(|(name, _)| forbidden.contains(&&**name));
            return found.map_or(Ok(()), |found| bad(format!("trailer {found:?}")));
        }
        if io.take(length).read_to_end(body)? as u64 != length {
            return Err(Fault::Cut);
        }
        let end = line(io)?;
        if !end.is_empty() {
            return bad(format!("a chunk longer than its size: {end:?}"));
        }
    }
}

fn fields(io: &mut impl BufRead) -> Result<Fields, Fault> {
    let mut fields = Vec::new();
    loop {
        let line = line_bytes(io)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return bad(format!("field {:?}", text(&line)));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let control = |byte: &u8| matches!(byte, 0..=8 | 10..=31 | 127);
        if name.is_empty() || !name.iter().copied().all(is_token) || value.iter().any(control) {
            return bad(format!("field {:?}", text(&line)));
        }
        if fields.len() == MANY {
            return bad("fields without end".to_owned());
        }
        fields.push((text(name).to_ascii_lowercase(), text(value)));
    }
}

fn framing(fields: &Fields) -> Result<Framing, Fault> {
    match (&*values(fields, "transfer-encoding"), &*values(fields, "content-length")) {
        ([], []) => Ok(Framing::None),
        (["chunked"], []) => Ok(Framing::Chunked),
        ([], [length]) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = length.parse().map(Framing::Length);
            length.map_err(|_| Fault::Bad(format!("a length of {fields:?}")))
        }
        _ => bad(format!("framing in {fields:?}")),
    }
}

fn line(io: &mut impl BufRead) -> Result<String, Fault> {
    let line = line_bytes(io)?;
    String::from_utf8(line).map_err(|error| Fault::Bad(format!("{error}")))
}

fn line_bytes(io: &mut impl BufRead) -> Result<Vec<u8>, Fault> {
    let mut line = Vec::new();
    io.take(LONG).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(Fault::Cut);
    }
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.contains(&b'\r') => Ok(text.to_vec()),
        _ => bad(format!("a line with a bare CR or LF: {:?}", text(&line))),
    }
}

fn bad<T>(what: String) -> Result<T, Fault> {
    Err(Fault::Bad(what))
}
