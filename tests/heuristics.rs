//! Heuristic freshness (RFC 9111 §4.2.2) and configured negative caching.

use seawall::config::Settings;
use seawall::policy::Heuristic;

use crate::support::*;

/// Ten hours before the tests' time starts: a tenth of it is an hour.
const TEN_HOURS_AGO: &str = "Mon, 31 Dec 2029 14:00:00 GMT";

fn on(settings: &mut Settings) {
    settings.cache().policy.heuristic =
        Some(Heuristic { error_statuses: true, ..Heuristic::default() });
}

fn modified(code: u16) -> Answer {
    status(code).body("body").with("Last-Modified", TEN_HOURS_AGO)
}

#[tokio::test]
async fn heuristics_are_off_by_default() {
    expect_reuse(1, false, [modified(200), modified(404)]).await;
}

// RFC 9110 §15.1 lists the statuses.
#[tokio::test]
async fn a_tenth_of_the_time_since_the_last_change_is_fresh_for_heuristically_cacheable_statuses() {
    let cacheable = || [200, 203, 300, 301, 308, 404, 405, 410, 414, 501].map(modified);
    expect_reuse_with(on, 3599, true, cacheable()).await;
    expect_reuse_with(on, 3600, false, cacheable()).await;
    let others = [201, 202, 302, 303, 307, 403, 500, 502, 503, 504, 599].map(modified);
    expect_reuse_with(on, 1, false, others).await;
}

// Whoever can make the origin answer with an error must not be able to shut others out.
#[tokio::test]
async fn errors_that_a_request_can_provoke_get_no_heuristic_unless_configured() {
    let without = |s: &mut Settings| s.cache().policy.heuristic = Some(Heuristic::default());
    expect_reuse_with(without, 1, false, [414, 501].map(modified)).await;
}

// RFC 9111 §4.2.2: public marks any status as cacheable.
#[tokio::test]
async fn public_makes_any_status_heuristically_cacheable() {
    let public = [201, 403, 599].map(|code| modified(code).with("Cache-Control", "public"));
    expect_reuse_with(on, 3599, true, public).await;
}

#[tokio::test]
async fn an_explicit_lifetime_leaves_no_room_for_heuristics() {
    let cases = [modified(200).fresh(1), modified(200).with("Expires", "0")];
    expect_reuse_with(on, 2, false, cases).await;
}

#[tokio::test]
async fn a_heuristic_lifetime_is_capped() {
    let capped = |s: &mut Settings| {
        s.cache().policy.heuristic = Some(Heuristic { max: secs(60), ..Heuristic::default() });
    };
    expect_reuse_with(capped, 59, true, [modified(200)]).await;
    expect_reuse_with(capped, 60, false, [modified(200)]).await;
}

#[tokio::test]
async fn negative_answers_are_kept_as_long_as_configured() {
    let negative =
        |s: &mut Settings| s.cache().policy.negative = vec![(404, secs(10)), (503, secs(2))];
    let plain = |code| status(code).body("no");
    expect_reuse_with(negative, 9, true, [plain(404)]).await;
    expect_reuse_with(negative, 10, false, [plain(404), plain(503), plain(403), plain(200)]).await;
    expect_reuse_with(negative, 1, true, [plain(503)]).await;
    let refused = [plain(404).with("Cache-Control", "no-store"), plain(404).fresh(0)];
    expect_reuse_with(negative, 1, false, refused).await;
}
