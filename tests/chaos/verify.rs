//! Whether a response is right: byte by byte, and against all that has happened.

use super::World;
use super::answers::EXCESS;
use super::client::Came;
use super::ledger::{Emission, Standing};
use super::site::HONOURING;
use super::wish::{Patience, Sent};
use crate::support::Response;

/// Seconds for which stale is served while the origin gives no response at all; the default.
const DISCONNECTED: u64 = 60;

/// The origin's response that this one was made of.
pub fn emission(world: &World, response: &Response) -> Option<Emission> {
    world.ledger.emission(response.field("chaos-serial")?.parse().ok()?)
}

/// All that is wrong.
pub fn verify(world: &World, sent: &Sent, came: &Came) -> Vec<String> {
    let ledger = &world.ledger;
    let (response, left) = match came {
        Came::Left => {
            ledger.count("outcomes", "client left before the head");
            return Vec::new();
        }
        Came::Nothing => {
            ledger.count("outcomes", "no response");
            // Over HTTP/2, the reset for a body that was cut at once overtakes its head.
            let explained = ledger.explains(sent.place.resource, sent.moment);
            let fault = "the connection ended without a response and without a cause";
            return if explained { Vec::new() } else { vec![fault.to_owned()] };
        }
        Came::Response { response, left } => (response, *left),
    };
    ledger.count("statuses", response.status.to_string());
    ledger.count("outcomes", outcome(response, left));
    let mut check = Check { world, sent, response, left, faults: Vec::new() };
    if sent.request.method == "PURGE" {
        check.that("purges", response.status == 200, || "a purge failed".to_owned());
    } else if response.field("chaos-serial").is_none() {
        check.own_error();
    } else if let Some(emission) = emission(world, response) {
        check.all(&emission);
    } else {
        check.faults.push("a response that no origin gave".to_owned());
    }
    check.faults
}

fn outcome(response: &Response, left: bool) -> String {
    let mut words: Vec<_> = response
        .cache_status()
        .split("; ")
        .skip(1)
        .filter(|word| !word.starts_with("ttl=") && !word.starts_with("fwd-status="))
        .collect();
    if !response.complete {
        words.push(if left { "(client left)" } else { "(cut)" });
    }
    if words.is_empty() { "–".to_owned() } else { words.join("; ") }
}

struct Check<'a> {
    world: &'a World,
    sent: &'a Sent,
    response: &'a Response,
    left: bool,
    faults: Vec<String>,
}

impl Check<'_> {
    fn that(&mut self, what: &'static str, holds: bool, fault: impl FnOnce() -> String) {
        self.world.ledger.count("checks", what);
        if !holds {
            self.faults.push(fault());
        }
    }

    /// A response of the proxy's own.
    fn own_error(&mut self) {
        let (sent, status) = (self.sent, self.response.status);
        let only_if_cached = sent.only_if_cached && status == 504;
        let explained = self.world.ledger.explains(sent.place.resource, sent.moment);
        let holds = status >= 400 && (only_if_cached || (status >= 500 && explained));
        self.that("errors have a cause", holds, || format!("a {status} without a cause"));
        let complete = self.response.complete || self.left;
        self.that("errors are whole", complete, || "an error page was cut".to_owned());
    }

    fn all(&mut self, emission: &Emission) {
        self.identity(emission);
        self.reuse(emission);
        self.cookies();
        self.status(emission);
        self.ending(emission);
    }

    /// It is what was asked for, and nobody else's.
    fn identity(&mut self, emission: &Emission) {
        let (sent, of) = (self.sent, &emission.representation);
        self.that("key", of.place == sent.place, || {
            format!("a response for {} to a request for {}", of.place.url(), sent.place.url())
        });
        let same = of.flavour == sent.flavour;
        self.that("variant", same, || format!("flavour {:?} for {:?}", of.flavour, sent.flavour));
        let same = of.user == sent.user;
        self.that("user", same, || format!("user {:?}'s for user {:?}", of.user, sent.user));
        let own = emission.request == sent.id;
        self.that("sharing", own || emission.terms.shared, || {
            format!("a response that may not be shared: {emission:?}")
        });
        if let Some(token) = &sent.token {
            let echo = self.response.field("chaos-token");
            let same = own && echo == Some(token);
            self.that("unsafe requests", same, || format!("{echo:?} is not {token}'s answer"));
        }
    }

    /// What was there before the request may be used for it.
    fn reuse(&mut self, emission: &Emission) {
        let (sent, terms) = (self.sent, &emission.terms);
        if emission.sequence > sent.begun {
            return;
        }
        let stale = self.stale_window(emission);
        let age = sent.at.since(emission.at);
        let limit = std::time::Duration::from_secs(terms.lifetime + stale.unwrap_or(0));
        self.that("freshness", age < limit, || {
            format!("{age:?} old, at most {limit:?} may be: {emission:?}")
        });
        self.that("no-cache", !terms.no_cache, || format!("not validated: {emission:?}"));
        self.that("stale", !(terms.strict && stale.is_some()), || {
            format!("stale where that is forbidden: {emission:?}")
        });
        let failure = ["stale-if-error", "disconnected"];
        let failed = failure.iter().any(|word| self.response.says(&format!("detail={word}")));
        let explained = !failed || self.world.ledger.explains(sent.place.resource, sent.moment);
        self.that("stale has a cause", explained, || format!("no error, but stale: {emission:?}"));
        self.that("reloads", !sent.no_cache, || format!("a reload got {emission:?}"));
        let standing = self.world.ledger.standing(emission, sent.begun);
        let stands = match standing {
            Standing::Valid => true,
            Standing::Soft => stale.is_some(),
            Standing::Hard => false,
        };
        self.that("purges", stands, || format!("purged ({standing:?}): {emission:?}"));
        if self.response.status != 304 {
            let told = self.response.age();
            let least = age.as_secs();
            self.that("Age", told.is_some_and(|told| told >= least), || {
                format!("Age {told:?} of what is {age:?} old: {emission:?}")
            });
        }
    }

    /// Seconds past its lifetime that the response claims it may be used.
    fn stale_window(&self, emission: &Emission) -> Option<u64> {
        let says = |word: &str| self.response.says(&format!("detail={word}"));
        if says("stale-while-revalidate") {
            Some(emission.terms.revalidate)
        } else if says("stale-if-error") {
            Some(emission.terms.if_error)
        } else {
            says("disconnected").then_some(DISCONNECTED)
        }
    }

    fn cookies(&mut self) {
        let own = format!("request={}", self.sent.id);
        let cookies = self.response.all("set-cookie");
        let wrong = cookies.iter().find(|cookie| **cookie != own).map(|it| (*it).to_owned());
        self.that("cookies", wrong.is_none(), || format!("somebody's cookie: {wrong:?}"));
    }

    fn status(&mut self, emission: &Emission) {
        let length = emission.representation.content().length;
        match self.response.status {
            304 => self.not_modified(emission),
            206 => self.partial(emission, length),
            416 => {
                let none = self.sent.ranges.iter().all(|range| range.resolve(length).is_none());
                let told = self.response.field("content-range");
                let right = told == Some(&format!("bytes */{length}"));
                self.that("416", none && right, || format!("a 416 of {length} bytes: {told:?}"));
            }
            status => {
                let expected = match emission.status {
                    206 | 304 => 200,
                    other => other,
                };
                self.that("status", status == expected, || format!("{status} from {emission:?}"));
                self.whole(emission, length);
            }
        }
    }

    fn whole(&mut self, emission: &Emission, length: u64) {
        let content = emission.representation.content();
        let wrong = content.differs(0, &self.response.body);
        self.that("bytes", wrong.is_none(), || format!("wrong from {wrong:?} on: {emission:?}"));
        let announced = self.response.field("content-length").map(str::to_owned);
        let claimed = announced.as_ref().is_none_or(|it| *it == length.to_string());
        let claims_more = emission.cut;
        self.that("length", claimed || claims_more, || {
            format!("Content-Length {announced:?} for {emission:?}")
        });
        let head = self.sent.request.method == "HEAD";
        let whole = head || !self.response.complete || self.response.body.len() as u64 == length;
        let got = self.response.body.len();
        self.that("wholeness", whole, || format!("{got} bytes as a whole of {emission:?}"));
    }

    fn not_modified(&mut self, emission: &Emission) {
        let (sent, of) = (self.sent, &emission.representation);
        // A lie to the one who asked is the origin's own.
        let lied = emission.lie && emission.request == sent.id;
        let strong = |tag: &str| tag.trim_start_matches("W/").to_owned();
        let known = sent.tags.iter().any(|tag| strong(tag) == strong(&of.tag()));
        let versions = of.version..=self.world.ledger.version(of.place.resource);
        let since = sent.since.as_ref().is_some_and(|since| {
            versions.into_iter().any(|version| *since == super::answers::last_modified(version))
        });
        self.that("304", lied || known || since, || {
            format!("a 304 to {:?}: {emission:?}", sent.tags)
        });
    }

    fn partial(&mut self, emission: &Emission, mut length: u64) {
        let sent = self.sent;
        let place = self.response.field("content-range").unwrap_or_default().to_owned();
        if emission.cut && place.ends_with(&format!("/{}", length + EXCESS)) {
            // The origin announced so much and then sent less.
            length += EXCESS;
        }
        self.that("206", !sent.ranges.is_empty(), || "a 206 that nobody asked for".to_owned());
        if let Some(tag) = &sent.if_range {
            let same = *tag == emission.representation.tag() && !tag.starts_with("W/");
            let lied = emission.lie && emission.request == sent.id;
            self.that("If-Range", same || lied, || {
                format!("a part of something else: {emission:?}")
            });
        }
        let kind = self.response.field("content-type").unwrap_or_default();
        let parts = match kind.strip_prefix("multipart/byteranges; boundary=") {
            None => {
                vec![(place, self.response.body.clone(), self.response.complete)]
            }
            Some(_) if !self.response.complete => return,
            Some(boundary) => multipart(&self.response.body, boundary.trim_matches('"')),
        };
        let asked: Vec<_> = sent.ranges.iter().filter_map(|range| range.resolve(length)).collect();
        let mut held = Vec::new();
        for (place, body, complete) in parts {
            let Some((first, last)) = parse_place(&place, length) else {
                self.faults.push(format!("Content-Range {place:?} of {length} bytes"));
                continue;
            };
            held.push((first, last));
            let wrong = emission.representation.content().differs(first, &body);
            self.that("bytes of parts", wrong.is_none(), || {
                format!("a part wrong from {wrong:?} on: {emission:?}")
            });
            let got = body.len() as u64;
            let whole = !complete || got == last - first + 1;
            self.that("wholeness of parts", whole, || format!("{got} bytes as {place}"));
        }
        let covers =
            |wanted: &(u64, u64)| held.iter().any(|it| it.0 <= wanted.0 && wanted.1 <= it.1);
        let right = match asked[..] {
            [] => false,
            [one] => held == [one],
            _ => asked.iter().all(covers),
        };
        self.that("ranges", right, || format!("{held:?} for {asked:?} of {length}"));
    }

    /// What is not whole has a reason not to be.
    fn ending(&mut self, emission: &Emission) {
        let complete = self.response.complete || self.left;
        let excused = emission.cut || self.sent.patience == Patience::Slow;
        self.that("endings", complete || excused, || format!("cut without a cause: {emission:?}"));
        if emission.cut && self.response.complete && self.response.status == 200 {
            // Only a HEAD's answer, or a part that came before the cut, can be whole.
            let head = self.sent.request.method == "HEAD";
            self.that("cuts", head, || format!("a cut body looks whole: {emission:?}"));
        }
        let honoured = self.sent.place.resource.origin == HONOURING;
        self.world.ledger.count("routes", if honoured { "honouring" } else { "ignoring" });
    }
}

/// First and last byte of a `Content-Range` of `length` bytes.
fn parse_place(place: &str, length: u64) -> Option<(u64, u64)> {
    let (range, complete) = place.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let told = complete == "*" || complete.parse() == Ok(length);
    (told && first <= last && last < length).then_some((first, last))
}

/// The parts of a `multipart/byteranges` body: place, bytes, and that they are whole.
fn multipart(body: &[u8], boundary: &str) -> Vec<(String, Vec<u8>, bool)> {
    let find = |from: usize, what: &[u8]| {
        body[from..].windows(what.len()).position(|window| window == what).map(|at| from + at)
    };
    let mut parts = Vec::new();
    let delimiter = format!("--{boundary}\r\n");
    let mut at = 0;
    while let Some(start) = find(at, delimiter.as_bytes()) {
        let head = start + delimiter.len();
        let Some(end) = find(head, b"\r\n\r\n") else { break };
        let text = String::from_utf8_lossy(&body[head..end]).into_owned();
        let place = text.lines().find_map(|line| {
            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("content-range"))
        });
        let place = place.map(|(_, value)| value.to_owned()).unwrap_or_default();
        let next = find(end + 4, format!("\r\n--{boundary}").as_bytes()).unwrap_or(body.len());
        parts.push((place, body[end + 4..next].to_vec(), true));
        at = next;
    }
    parts
}
