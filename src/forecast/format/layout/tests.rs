//! Format strings and the lines that programs write by them.

use super::*;
use crate::clock::Timestamp;

#[track_caller]
fn entry<'a>(layout: &str, line: &'a str) -> Entry<'a> {
    let layout = Layout::parse(layout).unwrap();
    layout.read(line.as_bytes()).unwrap_or_else(|broken| panic!("{broken:?}: {line}"))
}

#[test]
fn the_formats_with_a_name() {
    let common = r#"192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /a?b=c HTTP/1.1" 200 512"#;
    let combined = format!(r#"{common} "http://r.test/" "curl/8""#);
    let vhost = format!("a.test:443 {combined}");
    let seawall = format!(
        "{combined} host=\"a.test\" cache=miss detail=- duration=0.001500 first_byte=0.000900 \
         id=00000000000000ff upstream=\"origin\""
    );
    for (text, line) in
        [(COMMON, common), (COMBINED, &combined), (VHOST, &vhost), (SEAWALL, &seawall)]
    {
        let entry = entry(text, line);
        assert_eq!(entry.at, Timestamp::from_secs(1_700_000_000));
        assert_eq!((&*entry.method, &*entry.target), (&b"GET"[..], &b"/a?b=c"[..]));
        assert_eq!((entry.status, entry.bytes), (200, Some(512)));
        assert_eq!(entry.client, Some("192.0.2.7".parse().unwrap()));
    }
    assert_eq!(entry(VHOST, &vhost).host.as_deref(), Some(&b"a.test:443"[..]));
    assert_eq!(entry(SEAWALL, &seawall).host.as_deref(), Some(&b"a.test"[..]));
    assert_eq!(entry(SEAWALL, &seawall).millis, Some(1));
    let read = entry(COMBINED, &combined);
    assert_eq!(read.request.len(), 2);
    let user = combined.replace("- - [", "- some one [");
    assert_eq!(entry(COMBINED, &user).request[0].0, "authorization");
    for text in [COMMON, COMBINED, VHOST, SEAWALL] {
        assert!(!Layout::parse(text).unwrap().0.is_empty());
    }
}

#[test]
fn format_strings_of_nginx() {
    let line = r#"2023-11-14T22:13:20+00:00|192.0.2.7|GET|https://a.test/a?b|200|7|"-"|0.012, 0.100|max-age=60|HIT"#;
    let layout = "'$time_iso8601|$remote_addr|$request_method|$scheme://$host$request_uri|$status|\
                  $body_bytes_sent|\"$http_cookie\"|$upstream_response_time|\
                  ${sent_http_cache_control}|$upstream_cache_status'";
    let read = entry(layout, line);
    assert_eq!((read.secure, read.host.as_deref()), (Some(true), Some(&b"a.test"[..])));
    assert_eq!((&*read.target, read.millis), (&b"/a?b"[..], Some(100)));
    assert!(read.request.is_empty(), "a dash is no cookie");
    assert_eq!(read.response[0].1, "max-age=60");
    assert!(Layout::parse(layout).unwrap().tells_lifetimes());
    let split = entry("$msec $uri$is_args$args $status", "1700000000.000 /a?b=c 200");
    assert_eq!(&*split.target, b"/a?b=c");
}

#[test]
fn format_strings_of_apache_and_varnish() {
    let apache =
        r#""%{%Y-%m-%dT%H:%M:%S%z}t %a \"%m %U%q %H\" %>s %O %{us}T \"%{Cache-Control}o\"""#;
    let read = entry(
        apache,
        r#"2023-11-14T22:13:20+0000 192.0.2.7 "GET /a?b HTTP/1.1" 200 700 1500 "no-store""#,
    );
    assert_eq!((&*read.target, read.bytes, read.millis), (&b"/a?b"[..], Some(700), Some(1)));
    assert_eq!(read.response[0].1, "no-store");
    let varnish = r#"%h %l %u %t "%r" %s %b "%{Referer}i" "%{User-agent}i" %{Varnish:hitmiss}x"#;
    let read = entry(
        varnish,
        r#"192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET http://a.test/a HTTP/1.1" 304 - "-" "x" hit"#,
    );
    assert_eq!((&*read.target, read.status, read.bytes), (&b"http://a.test/a"[..], 304, Some(0)));
}

#[test]
fn escapes_and_spaces_stay_in_their_field() {
    let line = r#"192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /a b\"c\x22 HTTP/1.1" 200 5 "a \"quoted\" one" "\\""#;
    let read = entry(COMBINED, line);
    assert_eq!(&*read.target, br#"/a b"c""#);
    assert_eq!(read.request[0].1, r#"a "quoted" one"#);
    assert_eq!(read.request[1].1, r"\");
}

#[test]
fn lines_that_are_broken_say_how() {
    let layout = Layout::combined();
    for (line, broken) in [
        ("hello", Broken::Form),
        (r#"h - - [x] "GET / HTTP/1.1" 200 5 "-" "-""#, Broken::Time),
        (r#"h - - [14/Nov/2023:22:13:20 +0000] "\x16\x03\x01" 400 5 "-" "-""#, Broken::Request),
        (r#"h - - [14/Nov/2023:22:13:20 +0000] "-" 408 5 "-" "-""#, Broken::Request),
        (r#"h - - [14/Nov/2023:22:13:20 +0000] "GET / HTTP/1.1" 000 5 "-" "-""#, Broken::Status),
        (r#"h - - [14/Nov/2023:22:13:20 +0000] "GET / HTTP/1.1" 200 x "-" "-""#, Broken::Size),
        (r#"h - - [14/Nov/2023:22:13:20 +0000] "GET / HTTP/1.1" 200 5 "-" "a"#, Broken::Form),
    ] {
        assert_eq!(layout.read(line.as_bytes()).unwrap_err(), broken, "{line}");
    }
}

#[test]
fn format_strings_that_say_too_little() {
    for (text, why) in [
        ("combinde", "neither a format"),
        ("$remote_addr $status", "the time"),
        ("%t %>s", "the URL"),
        ("%t %r", "the status"),
        ("%{%c}t %r %s", "ISO"),
        ("%t %r %s %", "not a directive"),
        ("$time_local $request$status", "side by side"),
    ] {
        let error = Layout::parse(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}
