//! Compression: copies are made once, in the background, and belong to what they were made of.

mod left_alone;
mod life;
mod ranges;
mod validators;

use std::io::Read;
use std::sync::Arc;

use seawall::key::Target;
use seawall::store::StoredResponse;

use crate::support::*;

const RULE: &str = "[[rule]]\ncache = { compress = [\"br\", \"zstd\", \"gzip\"] }\n";

/// What a browser sends, and what has only gzip.
const BROWSER: &str = "gzip, deflate, br, zstd";
const OLD: &str = "gzip, deflate";

/// Text that gets much smaller; another one for each number.
fn text(number: usize) -> String {
    let line = |line| format!("<p>{number}: the {line}th line of a page</p>\n");
    (0..200).map(line).collect::<Vec<_>>().concat()
}

/// The first text, as an origin gives it that does not compress.
fn page() -> Answer {
    ok(text(1)).fresh(600).with("Content-Type", "text/html").with("ETag", "\"a\"")
}

async fn stage(answer: Answer) -> (Origin, Proxy) {
    let origin = Origin::answering(answer).await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    (origin, proxy)
}

fn asking(codings: &str) -> Request {
    get("/").with("Accept-Encoding", codings)
}

/// What is stored of `/` for this `Accept-Encoding`.
fn stored(proxy: &Proxy, codings: &str) -> Option<Arc<StoredResponse>> {
    let mut request = http::HeaderMap::new();
    request.insert("accept-encoding", codings.parse().unwrap());
    let key = Target::parse("http://example.test/").unwrap().key();
    let variants = proxy.cache().memory().peek(key.as_str())?;
    let matches = |stored: &&Arc<StoredResponse>| {
        stored.head.vary().is_none_or(|vary| vary.matches(&request))
    };
    variants.as_slice().iter().find(matches).cloned()
}

fn copies(proxy: &Proxy, codings: &str) -> usize {
    stored(proxy, codings).map_or(0, |stored| stored.copies.made().len())
}

/// Waits until nothing is being compressed, and so many copies are there for a browser.
async fn made(proxy: &Proxy, count: usize) {
    eventually("the copy", || copies(proxy, BROWSER) == count).await;
    eventually("the compressor", || proxy.cache().compressing() == 0).await;
}

/// Waits until less than `length` bytes are charged.
async fn released(proxy: &Proxy, length: usize) {
    eventually("the release", || {
        // The map drops what was replaced some time later, when it is used.
        proxy.cache().memory().settle();
        proxy.budget().used() < length
    })
    .await;
}

/// A page that has been asked for by a browser, and its copy.
async fn compressed(answer: Answer) -> (Origin, Proxy) {
    let (origin, proxy) = stage(answer).await;
    assert_eq!(plain(&proxy.send(&asking(BROWSER)).await), text(1));
    made(&proxy, 1).await;
    (origin, proxy)
}

/// A response's content without its coding.
fn plain(response: &Response) -> String {
    let (coding, mut text) = (response.field("content-encoding"), String::new());
    decoder(coding, &response.body).read_to_string(&mut text).expect("what was announced");
    text
}

fn decoder<'a>(coding: Option<&str>, bytes: &'a [u8]) -> Box<dyn Read + 'a> {
    match coding {
        None => Box::new(bytes),
        Some("br") => Box::new(brotli::Decompressor::new(bytes, 4096)),
        Some("gzip") => Box::new(flate2::read::GzDecoder::new(bytes)),
        Some("zstd") => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        Some(other) => panic!("{other}"),
    }
}

/// Expects a hit on the first text in this coding.
#[track_caller]
fn assert_hit(response: &Response, coding: Option<&str>) {
    assert!(response.is_hit() && response.status == 200, "{:?}", response.fields);
    assert_eq!(response.field("content-encoding"), coding);
    assert_eq!(response.says("detail=compressed"), coding.is_some(), "{:?}", response.fields);
    assert_eq!(response.all("vary"), ["Accept-Encoding"]);
    assert_eq!(response.field("content-length"), Some(&*response.body.len().to_string()));
    assert_eq!(plain(response), text(1));
}

#[tokio::test]
async fn a_page_is_compressed_once_and_served_so_to_all_who_accept_it() {
    let (origin, proxy) = stage(page()).await;
    let first = proxy.send(&asking(BROWSER)).await;
    assert_eq!((first.text(), first.field("content-encoding")), (&*text(1), None));
    assert_eq!(first.all("vary"), ["Accept-Encoding"], "others get it otherwise");
    made(&proxy, 1).await;
    let before = stored(&proxy, BROWSER).unwrap();
    for codings in [BROWSER, "br", "gzip;q=1, br;q=0.1"] {
        let response = proxy.send(&asking(codings)).await;
        assert_hit(&response, Some("br"));
        assert_eq!(response.field("etag"), Some("\"a-sw-br5\""));
        assert!(response.body.len() < text(1).len() / 5);
    }
    assert!(Arc::ptr_eq(&before, &stored(&proxy, BROWSER).unwrap()), "nothing is done twice");
    let head = proxy.send(&head("/").with("Accept-Encoding", "br")).await;
    let length = before.copies.made()[0].blocks.len().to_string();
    assert_eq!(head.field("content-encoding"), Some("br"));
    assert_eq!(head.field("content-length"), Some(&*length));
    assert_eq!(origin.count(), 1);
}

// Nobody has to wait for a copy; who accepts only another coding gets the body as it came first.
#[tokio::test]
async fn each_coding_is_made_when_somebody_first_asks_for_it() {
    let (origin, proxy) = compressed(page()).await;
    for (count, (codings, coding)) in [(OLD, "gzip"), ("zstd", "zstd")].into_iter().enumerate() {
        assert_hit(&proxy.send(&asking(codings)).await, None);
        made(&proxy, count + 2).await;
        let response = proxy.send(&asking(codings)).await;
        assert_hit(&response, Some(coding));
        assert_ne!(response.field("etag"), Some("\"a\""));
    }
    assert_hit(&proxy.send(&asking(BROWSER)).await, Some("br"));
    assert_eq!(origin.count(), 1, "one fetch serves all codings");
}

#[tokio::test]
async fn what_nobody_asks_for_as_it_came_is_kept_in_copies_alone() {
    let (origin, proxy) = compressed(page()).await;
    let length = text(1).len();
    released(&proxy, length).await;
    let not_transformed = asking(BROWSER).with("Cache-Control", "no-transform");
    for request in [get("/"), asking("identity"), asking("br;q=0, deflate"), not_transformed] {
        let response = proxy.send(&request).await;
        assert_hit(&response, None);
        assert_eq!(response.field("etag"), Some("\"a\""));
    }
    assert!(proxy.budget().used() > length, "decoded once, it stays");
    assert_hit(&proxy.send(&asking(BROWSER)).await, Some("br"));
    // Another copy does not take away what is wanted.
    assert_hit(&proxy.send(&asking("zstd")).await, None);
    made(&proxy, 2).await;
    assert!(proxy.budget().used() > length);
    assert_eq!(origin.count(), 1);
    proxy.settled().await;
}

#[tokio::test]
async fn what_was_first_asked_for_as_it_is_stays_so() {
    let (_origin, proxy) = stage(page()).await;
    proxy.get("/").await;
    assert_hit(&proxy.send(&asking(BROWSER)).await, None);
    made(&proxy, 1).await;
    assert!(stored(&proxy, BROWSER).unwrap().content.is_whole());
    assert!(proxy.budget().used() > text(1).len());
    assert_hit(&proxy.get("/").await, None);
    assert_hit(&proxy.send(&asking(BROWSER)).await, Some("br"));
}

// Many who want it decoded at the same time, and many who want another coding.
#[tokio::test]
async fn a_crowd_gets_what_it_accepts_from_one_fetch() {
    let gate = Gate::new();
    let (origin, proxy) = stage(page().gate(&gate)).await;
    let first = [BROWSER, "identity", OLD, "zstd"].map(asking);
    let mut waiting = Vec::new();
    for request in &first {
        waiting.extend(proxy.start_all(3, request).await);
    }
    gate.open();
    for response in all(waiting).await {
        assert_eq!((plain(&response), response.complete), (text(1), true));
    }
    for _ in 0..3 {
        let mut waiting = Vec::new();
        for request in &first {
            waiting.extend(proxy.start_all(8, request).await);
        }
        for response in all(waiting).await {
            assert_eq!((plain(&response), response.is_hit()), (text(1), true));
        }
    }
    // Those at once did not share a class of `Accept-Encoding`, which is nothing to this origin.
    assert_eq!(origin.count(), 1);
    proxy.settled().await;
}

#[tokio::test]
async fn with_compression_off_nothing_is_changed() {
    let (origin, proxy) = crate::support::stage(page()).await;
    for _ in 0..3 {
        let response = proxy.send(&asking(BROWSER)).await;
        assert_eq!((response.text(), response.field("vary")), (&*text(1), None));
    }
    assert_eq!((origin.count(), copies(&proxy, BROWSER)), (1, 0));
}

// What the origin would encode by itself it is asked for plain, so that it is encoded once for all.
#[tokio::test]
async fn an_origin_that_is_asked_for_identity_sends_one_form_for_all() {
    let origin = Origin::start(|seen| match seen.field("accept-encoding") {
        Some("identity") => page().with("Vary", "Accept-Encoding"),
        other => page().body(other.unwrap_or("nothing said")).with("Vary", "Accept-Encoding"),
    })
    .await;
    let rules = "[[rule]]\ncache = { compress = [\"br\"], accept_encoding = \"identity\" }\n";
    let proxy = Proxy::ruled(&origin, rules).await;
    proxy.send(&asking(BROWSER)).await;
    made(&proxy, 1).await;
    assert_hit(&proxy.send(&asking(BROWSER)).await, Some("br"));
    for request in [asking(OLD), asking("identity"), get("/")] {
        assert_hit(&proxy.send(&request).await, None);
    }
    assert_eq!(origin.count(), 1);
    // Who refuses it is taken at their word; so is who gets an answer of their own.
    proxy.send(&asking("br, identity;q=0")).await;
    assert_eq!(origin.last().field("accept-encoding"), Some("br, identity;q=0"));
    proxy.send(&asking(BROWSER).with("Cache-Control", "no-store")).await;
    assert_eq!(origin.last().field("accept-encoding"), Some(BROWSER));
}
