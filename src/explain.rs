//! `seawall explain`: from words to a question, and from its answer to words.

use std::fmt::{self, Display, Write};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use seawall::trial::{
    Ask, AskError, Content, Decision, Effective, Explanation, Freshness, Keyed, MatchedRule, Reply,
};

use crate::cli::Explain;

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
    Ask(#[from] AskError),
    #[error("`{0}` is not a field; write it like 'cookie: session=1'")]
    Field(String),
    #[error("the URL says the host: leave -H 'host: …' out")]
    Host,
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
            [method, url] => Ask::new(method, url)?,
            words => Ask::parse(&words.join(" "))?,
        };
        ask.client = explain.client.unwrap_or(ask.client);
        for line in &explain.header {
            let (name, value) = field(line).ok_or_else(|| QuestionError::Field(line.clone()))?;
            if name == http::header::HOST {
                return Err(QuestionError::Host);
            }
            ask.headers.append(name, value);
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
        headers.append(name, value);
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

/// The explanation as it is printed; `file` is where the rules stand.
pub(crate) fn render(explained: &Explanation, file: Option<&Path>, json: bool) -> String {
    if json {
        return serde_json::to_string_pretty(explained).unwrap_or_default();
    }
    let file = file.map_or_else(String::new, |file| file.display().to_string());
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = Human { explained, file: &file }.write(&mut text);
    text.trim_end().to_owned()
}

struct Human<'a> {
    explained: &'a Explanation,
    file: &'a str,
}

impl Human<'_> {
    fn write(&self, f: &mut String) -> fmt::Result {
        let all = self.explained;
        writeln!(f, "{} {}  from {}\n", all.method, all.url, all.client)?;
        match (&all.route, &all.upstream) {
            (Some(route), upstream) => {
                let upstream = upstream.as_deref().unwrap_or("?");
                line(f, "route", format_args!("{route}, to upstream {upstream}"))?;
            }
            (None, _) => line(f, "route", "none")?,
        }
        self.rules(f, &all.rules)?;
        self.settings(f, &all.settings)?;
        if let Some(key) = &all.key {
            keyed(f, key)?;
        }
        if let Some(origin) = &all.origin {
            line(f, "to the origin", &origin.start)?;
            fields(f, &origin.headers)?;
        }
        if let Some(response) = &all.response {
            line(f, "to the client", &response.start)?;
            fields(f, &response.headers)?;
        }
        if let Some(variant) = &all.variant {
            for varying in variant {
                let value = varying.value.as_deref().unwrap_or("(absent)");
                line(f, "variant", format_args!("{}: {value}", varying.field))?;
            }
        }
        if let Some(decision) = &all.decision {
            decided(f, decision)?;
        }
        if let Some(freshness) = &all.freshness {
            fresh(f, freshness)?;
        }
        if let Some(next) = &all.next {
            line(f, "next time", Next(next))?;
        }
        if !all.otherwise.is_empty() {
            line(f, "otherwise", &all.otherwise)?;
        }
        if all.response.is_none() {
            let more = "give the origin's answer with --response to see what becomes of it";
            line(f, "more", more)?;
        }
        Ok(())
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.file)
    }

    fn rules(&self, f: &mut String, rules: &[MatchedRule]) -> fmt::Result {
        if rules.is_empty() {
            return line(f, "rules", "none matches");
        }
        for rule in rules {
            let waits = if rule.counts { "" } else { " does not count: match_response" };
            line(f, "rule", format_args!("{}  {}{waits}", rule.name, self.place(rule.line)))?;
            for (key, value) in &rule.sets {
                line(f, "", format_args!("  {key} = {value}"))?;
            }
        }
        Ok(())
    }

    fn settings(&self, f: &mut String, settings: &[Effective]) -> fmt::Result {
        for Effective { key, value, by, line: at } in settings {
            line(f, "setting", format_args!("{key} = {value}  by {by}  {}", self.place(*at)))?;
        }
        line(f, "setting", "all others: the defaults")
    }
}

fn line(f: &mut String, what: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "{what:<14} {text}")
}

fn fields(f: &mut String, fields: &[(String, String)]) -> fmt::Result {
    for (name, value) in fields {
        line(f, "", format_args!("  {name}: {value}"))?;
    }
    Ok(())
}

fn keyed(f: &mut String, keyed: &Keyed) -> fmt::Result {
    line(f, "asked for", &keyed.asked)?;
    line(f, "key", &keyed.key)?;
    for (parameter, by) in &keyed.dropped {
        line(f, "", format_args!("  {parameter} does not count: {by}"))?;
    }
    Ok(())
}

fn decided(f: &mut String, decision: &Decision) -> fmt::Result {
    let stored = match decision.stored {
        Some(true) => "yes",
        Some(false) => "no",
        None => "that depends on the origin's answer",
    };
    line(f, "stored", stored)?;
    if let (Some(word), Some(meaning)) = (decision.reason, decision.meaning) {
        line(f, "reason", format_args!("{word}: {meaning}"))?;
    }
    Ok(())
}

fn fresh(f: &mut String, freshness: &Freshness) -> fmt::Result {
    let Freshness { source, given, lifetime, age, ttl, until, .. } = freshness;
    line(f, "lifetime", format_args!("{given} s from `{source}`"))?;
    if given != lifetime {
        line(f, "", format_args!("  made {lifetime} s by min_lifetime or max_lifetime"))?;
    }
    line(f, "age", format_args!("{age} s when it came"))?;
    line(f, "fresh", format_args!("for {lifetime} - {age} = {ttl} s, until {until}"))?;
    for (seconds, how) in [
        (freshness.stale_while_revalidate, "while it is refreshed (stale-while-revalidate)"),
        (freshness.stale_if_error, "in place of an error (stale-if-error)"),
        (freshness.stale_when_disconnected, "while the origin can't be reached"),
    ] {
        if seconds > 0 {
            line(f, "then stale", format_args!("{seconds} s more {how}"))?;
        }
    }
    if freshness.stale_forbidden {
        let which = "never: `must-revalidate`, `proxy-revalidate` or `s-maxage` forbids it";
        line(f, "then stale", which)?;
    }
    let validator = if freshness.validator {
        "it can be validated by its entity tag or date of change"
    } else {
        "it can't be validated: it has neither entity tag nor date of change"
    };
    line(f, "validator", validator)
}

struct Next<'a>(&'a Decision);

impl Display for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decision { hit, ttl, forwarded, reason, .. } = self.0;
        match (hit, forwarded) {
            (true, _) => f.write_str("a hit")?,
            (false, Some(forwarded)) => write!(f, "to the origin again (fwd={forwarded})")?,
            (false, None) => f.write_str("the same")?,
        }
        if let Some(ttl) = ttl {
            write!(f, ", ttl={ttl}")?;
        }
        if let Some(reason) = reason {
            write!(f, ", {reason}")?;
        }
        Ok(())
    }
}
