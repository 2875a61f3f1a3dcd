//! Where a request begins and ends (RFC 9112 §2 to §7): a faulty one is refused and the connection
//! closed, a good one reaches the origin in one form that can be read in one way only, and never is
//! a byte of the one read as the other.
//!
//! In the tables `⏎` is CRLF, `◊` is `Host: example.test` with its CRLF, and every other character
//! up to U+00FF the byte of that number.

mod cached;
mod chunked;
mod fields;
mod http2;
mod lengths;
mod raw;
mod start_line;
mod upgrade;

use raw::{Forwarded, Outcome, Wire};

/// What is wrong with a case, if something is.
type Check = fn(&Outcome) -> Result<(), &'static str>;

/// Refused for its head: the origin has not seen a byte.
fn refused(outcome: &Outcome) -> Result<(), &'static str> {
    match outcome.statuses[..] {
        [400..=499 | 501 | 505] if outcome.partial.is_empty() && outcome.forwarded.is_empty() => {
            Ok(())
        }
        [400..=499 | 501 | 505] => Err("refused, but the origin has seen some of it"),
        _ => Err("not refused with one answer"),
    }
}

/// Refused for its content, which is passed on while it arrives: the origin may have seen some of
/// it, and can't take it for a whole request.
fn cut(outcome: &Outcome) -> Result<(), &'static str> {
    match outcome.statuses[..] {
        [400..=499] if outcome.forwarded.is_empty() => Ok(()),
        [400..=499] => Err("refused, but the origin has a whole request"),
        _ => Err("not refused with one answer"),
    }
}

/// Sends each case with a request behind it, which must not be read, whole and byte by byte.
async fn expect_refusals(check: Check, cases: &[(&str, &str)]) {
    let wire = Wire::start().await;
    let mut faults = Vec::new();
    for (name, case) in cases {
        for in_bytes in [false, true] {
            let outcome = wire.send(case, in_bytes).await;
            if let Err(fault) = check(&outcome).and(outcome.ended.then_some(()).ok_or("hangs")) {
                faults.push(format!("{name} (in bytes: {in_bytes}): {fault}: {outcome:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Sends each case with a request behind it, which must be answered, whole and byte by byte; what
/// the origin gets is written as `METHOD target framing body`.
async fn expect_forwarded(cases: &[(&str, &str, &str)]) {
    let wire = Wire::start().await;
    let mut faults = Vec::new();
    for (name, case, expected) in cases {
        for in_bytes in [false, true] {
            let outcome = wire.send(case, in_bytes).await;
            let got: Vec<_> = outcome.forwarded.iter().map(Forwarded::to_string).collect();
            if got != [*expected, "GET /after - "]
                || outcome.statuses != [200, 200]
                || !outcome.ended
            {
                faults.push(format!("{name} (in bytes: {in_bytes}): {got:?} {outcome:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Likewise where the connection ends with the answer.
async fn expect_last(cases: &[(&str, &str, &str)]) {
    let wire = Wire::start().await;
    let mut faults = Vec::new();
    for (name, case, expected) in cases {
        let outcome = wire.send(case, false).await;
        let got: Vec<_> = outcome.forwarded.iter().map(Forwarded::to_string).collect();
        if got != [*expected] || outcome.statuses != [200] || !outcome.ended {
            faults.push(format!("{name}: {got:?} {outcome:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
