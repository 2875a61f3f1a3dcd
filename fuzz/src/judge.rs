//! Whether what came out of the proxy is what went in: no request more, none changed, none split.

use super::reading::{Asked, Requests, Stop, values};
use super::reference;
use super::stage::echo;
use super::strict::{self, Said, Seen};

/// Fields that the proxy sets itself on the way to the origin.
const OWN: [&str; 13] = [
    "host",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "cookie",
];

/// Compares a careful reading of what a client sent with what the origin saw and with what the
/// client got until the connection ended.
///
/// # Errors
/// What is wrong.
pub fn requests(reading: &Requests, seen: &[Seen], said: &[u8]) -> Result<(), String> {
    let mut asked = reading.whole.iter();
    for seen in seen {
        if !asked.any(|asked| is_image(asked, seen)) {
            return Err(format!("nobody asked for {seen:?}"));
        }
    }
    answers(reading, seen, said)
}

fn answers(reading: &Requests, seen: &[Seen], said: &[u8]) -> Result<(), String> {
    let mut heads: Vec<_> = reading.whole.iter().map(|asked| asked.method == "HEAD").collect();
    heads.extend(reading.begun.iter().map(|asked| asked.method == "HEAD"));
    let said = strict::responses(said, &heads)?;
    if said.len() > reading.whole.len() + 1 {
        return Err(format!("{} answers to {} requests", said.len(), reading.whole.len()));
    }
    if let Some(stop) = said.iter().rev().skip(1).find(|said| !said.complete || said.until_close) {
        return Err(format!("something follows {stop:?}"));
    }
    // The origin says nothing but 200, and tells what it was asked.
    let (mut from_origin, mut sent) = (said.iter().filter(|said| said.status == 200), seen.iter());
    if let Some(astray) = from_origin.find(|said| !sent.any(|seen| answers_to(said, seen))) {
        return Err(format!("an answer to nobody's request: {astray:?}"));
    }
    let refused = |said: &Said| said.status >= 400 || !said.complete;
    match (reading.stop, said.last()) {
        (Stop::Doubt(why), Some(last)) if !refused(last) => {
            Err(format!("{why}, and the last answer is {last:?}"))
        }
        _ => Ok(()),
    }
}

fn answers_to(said: &Said, seen: &Seen) -> bool {
    let echo = echo(seen);
    let length = echo.len().to_string();
    seen.method == "HEAD" && values(&said.fields, "content-length") == [length.as_str()]
        || said.body == echo.as_bytes()
        || !said.complete && echo.as_bytes().starts_with(&said.body)
}

/// Whether the origin saw just what was asked for, in normal form.
fn is_image(asked: &Asked, seen: &Seen) -> bool {
    let Some((host, path)) = target(asked) else { return false };
    let same_host = host.is_none_or(|host| values(&seen.fields, "host") == [host.as_str()]);
    // A body of a request that has no use for one may be left out.
    let may_drop = matches!(&*asked.method, "GET" | "HEAD") && seen.body.is_empty();
    seen.method == asked.method
        && same_host
        && (seen.target == path || asked.method == "OPTIONS" && seen.target == "*")
        && (seen.body == asked.body || may_drop)
        && seen.fields.iter().all(|field| OWN.contains(&&*field.0) || asked.fields.contains(field))
}

/// The host, where the request names one, and the path that the origin has to see.
fn target(asked: &Asked) -> Option<(Option<String>, String)> {
    let target = &*asked.target;
    if target == b"*" {
        return (asked.method == "OPTIONS").then(|| (own_host(asked), "*".to_owned()));
    }
    if target.starts_with(b"/") {
        return Some((own_host(asked), reference::path(target)?));
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })?;
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    Some((Some(reference::host(&rest[..end])?), reference::path(&rest[end..])?))
}

fn own_host(asked: &Asked) -> Option<String> {
    reference::host(values(&asked.fields, "host").first()?.as_bytes())
}
