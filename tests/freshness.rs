//! Freshness lifetime and age (RFC 9111 §4.2).

use crate::support::*;

/// One hour after the tests' time starts.
const IN_AN_HOUR: &str = "Tue, 01 Jan 2030 01:00:00 GMT";
const NOW: &str = "Tue, 01 Jan 2030 00:00:00 GMT";

#[tokio::test]
async fn a_response_is_reused_while_it_is_fresh_and_not_a_second_longer() {
    let (origin, proxy) = stage(ok("body").fresh(60)).await;
    let first = proxy.get("/").await;
    assert_eq!((first.text(), first.is_hit()), ("body", false));
    proxy.advance(secs(59));
    let hit = proxy.get("/").await;
    assert_eq!((hit.text(), hit.is_hit(), hit.age()), ("body", true, Some(59)));
    assert_eq!(origin.count(), 1);
    proxy.advance(secs(1));
    assert!(!proxy.get("/").await.is_hit(), "fresh means lifetime > age (§4.2)");
    assert_eq!(origin.count(), 2);
}

// RFC 9111 §4.2.1, §5.2.2.10.
#[tokio::test]
async fn s_maxage_beats_max_age_and_max_age_beats_expires() {
    let control = |value: &'static str| given(&[("Cache-Control", value)]);
    let reused = [
        control("s-maxage=60, max-age=1"),
        control("max-age=1, s-maxage=60"),
        control("max-age=60").with("Expires", "0"),
        control("max-age=1").with("Cache-Control", "s-maxage=60"),
        given(&[("Expires", IN_AN_HOUR)]),
    ];
    expect_reuse(30, true, reused).await;
    let gone = [
        control("s-maxage=1, max-age=60"),
        control("max-age=60, s-maxage=1"),
        control("max-age=0").with("Expires", IN_AN_HOUR),
        control("max-age=60").with("Cache-Control", "s-maxage=1"),
    ];
    expect_reuse(30, false, gone).await;
}

// RFC 9111 §4.2: recipients that can't tell must be conservative; §1.2.2: overflow is infinity.
#[tokio::test]
async fn lifetimes_beyond_any_integer_are_fresh_and_not_an_overflow() {
    let control = |value: &'static str| given(&[("Cache-Control", value)]);
    let cases = [
        control("max-age=2147483647"),
        control("max-age=2147483648"),
        control("max-age=4294967296"),
        control("max-age=99999999999"),
        control("max-age=99999999999999999999999999999999"),
    ];
    expect_reuse(3600, true, cases).await;
}

// RFC 9111 §5.1, §4.2.3.
#[tokio::test]
async fn the_origins_age_counts_against_the_lifetime() {
    let aged = |age: &'static str| given(&[("Cache-Control", "max-age=60"), ("Age", age)]);
    expect_reuse(29, true, [aged("0"), aged("30"), aged("030")]).await;
    expect_reuse(30, false, [aged("30"), aged("7200")]).await;
}

// RFC 9111 §5.1: the first member of a list; what is not a number is ignored.
#[tokio::test]
async fn an_age_that_is_no_number_is_ignored_and_of_several_the_first_counts() {
    let aged = |age: &'static str| given(&[("Cache-Control", "max-age=3600"), ("Age", age)]);
    let ignored = [
        aged("abc"),
        aged("-7200"),
        aged("7200.0"),
        aged("+7200"),
        aged("\"7200\""),
        aged("0x1000"),
    ];
    expect_reuse(2, true, ignored).await;
    expect_reuse(2, true, [aged("0, 7200"), aged("0").with("Age", "7200")]).await;
    let stale = [
        aged("7200, 0"),
        aged("7200").with("Age", "0"),
        aged("2147483648"),
        aged("99999999999999999999999"),
    ];
    expect_reuse(2, false, stale).await;
}

// RFC 9111 §4.2.3: apparent_age, from the origin's Date.
#[tokio::test]
async fn a_date_in_the_past_makes_a_response_as_old_as_it_says() {
    let dated = |date: &'static str| given(&[("Cache-Control", "max-age=7200"), ("Date", date)]);
    let (_origin, proxy) = stage(dated("Mon, 31 Dec 2029 23:00:00 GMT")).await;
    proxy.get("/").await;
    assert_eq!(proxy.get("/").await.age(), Some(3600));
    expect_reuse(3601, false, [dated("Mon, 31 Dec 2029 23:00:00 GMT")]).await;
    expect_reuse(3599, true, [dated("Mon, 31 Dec 2029 23:00:00 GMT")]).await;
}

#[tokio::test]
async fn a_date_in_the_future_makes_nothing_older_or_fresher() {
    let dated =
        given(&[("Cache-Control", "max-age=60"), ("Date", "Wed, 02 Jan 2030 00:00:00 GMT")]);
    expect_reuse(59, true, [dated.clone()]).await;
    expect_reuse(61, false, [dated]).await;
}

// RFC 9111 §4.2.1: Expires minus Date, both on the origin's clock.
#[tokio::test]
async fn expires_is_measured_against_the_origins_own_date() {
    let slow_clock =
        [("Date", "Tue, 01 Jan 2030 00:00:00 GMT"), ("Expires", "Tue, 01 Jan 2030 00:01:00 GMT")];
    expect_reuse(59, true, [given(&slow_clock)]).await;
    expect_reuse(60, false, [given(&slow_clock)]).await;
    // An origin whose clock is an hour ahead grants one minute, not sixty-one.
    let ahead =
        [("Date", "Tue, 01 Jan 2030 01:00:00 GMT"), ("Expires", "Tue, 01 Jan 2030 01:01:00 GMT")];
    expect_reuse(59, true, [given(&ahead)]).await;
    expect_reuse(60, false, [given(&ahead)]).await;
}

// RFC 9111 §5.3: an invalid date, the value 0 above all, is a time in the past.
#[tokio::test]
async fn an_invalid_expires_is_in_the_past() {
    let expires = |value: &'static str| given(&[("Expires", value)]);
    let cases = [
        expires("0"),
        expires("-1"),
        expires("never"),
        expires("Tue, 01 Jan 2030 01:00:00 UTC"),
        expires("Tue, 01 Jan 2030 01:00:00 +0100"),
        expires("Tue, 01 Jan 30 01:00:00 GMT"),
        expires("Tue 01 Jan 2030 01:00:00 GMT"),
        expires("Tue, 01  Jan 2030 01:00:00 GMT"),
        expires("Tue, 01-Jan-2030 01:00:00 GMT"),
        expires("Tue, 01 Jan 2030 01.00.00 GMT"),
        expires("Tue, 01 Jan 2030 1:00:00 GMT"),
        expires(IN_AN_HOUR).with("Expires", IN_AN_HOUR),
    ];
    expect_reuse(2, false, cases).await;
}

// RFC 9110 §5.6.7: three forms; names are compared in any case by a lenient recipient.
#[tokio::test]
async fn expires_is_read_in_all_three_date_forms_and_any_case() {
    let expires = |value: &'static str| given(&[("Expires", value)]);
    let cases = [
        expires(IN_AN_HOUR),
        expires("Tuesday, 01-Jan-30 01:00:00 GMT"),
        expires("Tue Jan  1 01:00:00 2030"),
        expires("tue, 01 jan 2030 01:00:00 gmt"),
        expires("TUE, 01 JAN 2030 01:00:00 GMT"),
        // The day of the week is redundant, and often wrong.
        expires("Sun Jan  1 01:00:00 2030"),
    ];
    expect_reuse(2, true, cases).await;
}

#[tokio::test]
async fn an_invalid_date_counts_as_the_time_of_receipt() {
    let broken = given(&[("Date", "yesterday"), ("Expires", IN_AN_HOUR)]);
    expect_reuse(3599, true, [broken.clone()]).await;
    expect_reuse(3600, false, [broken]).await;
    let undated = given(&[("Expires", IN_AN_HOUR)]).undated();
    expect_reuse(3599, true, [undated]).await;
}

// RFC 9111 §4.2.2: heuristics are off unless configured, so nothing said is nothing kept.
#[tokio::test]
async fn a_response_with_neither_lifetime_nor_validator_is_not_reused() {
    expect_reuse(0, false, [ok("body"), given(&[("Cache-Control", "public")])]).await;
}

// RFC 9111 §4: Age is generated for what is served from the store, and never rounded up.
#[tokio::test]
async fn age_counts_whole_seconds_in_store_and_is_left_alone_on_a_miss() {
    let (_origin, proxy) = stage(given(&[("Cache-Control", "max-age=600"), ("Age", "3")])).await;
    assert_eq!(proxy.get("/").await.age(), Some(3), "a miss tells what the origin told");
    proxy.advance(millis(999));
    assert_eq!(proxy.get("/").await.age(), Some(3));
    proxy.advance(millis(1));
    let hit = proxy.get("/").await;
    assert_eq!((hit.age(), hit.all("age").len()), (Some(4), 1));
}

// RFC 9110 §6.6.1: a cache keeps the Date that it received.
#[tokio::test]
async fn date_is_kept_as_received() {
    let (_origin, proxy) = stage(ok("body").fresh(600).with("Date", NOW)).await;
    proxy.get("/").await;
    proxy.advance(secs(100));
    assert_eq!(proxy.get("/").await.all("date"), [NOW]);
}

// RFC 9110 §6.6.1: a recipient with a clock records the time when it caches what has no Date.
#[tokio::test]
async fn a_response_without_date_gets_the_time_of_receipt() {
    let (_origin, proxy) = stage(ok("body").fresh(600).undated()).await;
    proxy.get("/").await;
    proxy.advance(secs(100));
    assert_eq!(proxy.get("/").await.all("date"), [NOW]);
}

#[tokio::test]
async fn the_ttl_in_cache_status_is_what_is_left() {
    let (_origin, proxy) = stage(ok("body").fresh(60)).await;
    proxy.get("/").await;
    proxy.advance(secs(10));
    assert!(proxy.get("/").await.says("ttl=50"));
}

#[tokio::test]
async fn configured_bounds_hold_a_lifetime_from_both_sides() {
    let bounded = |s: &mut seawall::config::Settings| {
        s.cache().policy.min_lifetime = secs(30);
        s.cache().policy.max_lifetime = secs(100);
    };
    expect_reuse_with(bounded, 29, true, [ok("body").fresh(1)]).await;
    expect_reuse_with(bounded, 100, false, [ok("body").fresh(1000)]).await;
}

#[tokio::test]
async fn a_configured_lifetime_serves_where_the_origin_says_nothing() {
    let defaults = |s: &mut seawall::config::Settings| s.cache().policy.default_lifetime = secs(60);
    expect_reuse_with(defaults, 59, true, [ok("body")]).await;
    expect_reuse_with(defaults, 60, false, [ok("body")]).await;
    let says_otherwise = [
        given(&[("Cache-Control", "no-store")]),
        given(&[("Cache-Control", "private")]),
        given(&[("Expires", "0")]),
        ok("body").fresh(1),
    ];
    expect_reuse_with(defaults, 2, false, says_otherwise).await;
}
