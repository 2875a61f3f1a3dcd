//! Ranges are over the bytes of one form, and two forms are never mixed (RFC 9110 §14.2).

use super::*;

fn part(codings: &str, range: &str) -> Request {
    asking(codings).with("Range", format!("bytes={range}"))
}

#[tokio::test]
async fn a_part_of_a_copy_is_a_part_of_its_bytes() {
    let (origin, proxy) = compressed(page()).await;
    let whole = proxy.send(&asking(BROWSER)).await;
    let rest = part(BROWSER, "40-").with("If-Range", "\"a-sw-br5\"");
    for request in [part(BROWSER, "40-"), rest] {
        let response = proxy.send(&request).await;
        assert_eq!((response.status, response.field("etag")), (206, Some("\"a-sw-br5\"")));
        assert_eq!(response.field("content-encoding"), Some("br"));
        let range = format!("bytes 40-{}/{}", whole.body.len() - 1, whole.body.len());
        assert_eq!(response.field("content-range"), Some(&*range));
        assert_eq!([&whole.body[..40], &response.body].concat(), whole.body);
    }
    let behind = proxy.send(&part(BROWSER, "9000-")).await;
    assert_eq!(behind.status, 416, "it is behind the copy's end");
    assert_eq!(origin.count(), 1);
}

// Who has begun before there was a copy gets the rest of that.
#[tokio::test]
async fn the_tag_says_of_which_form_the_rest_is_wanted() {
    let (origin, proxy) = compressed(page()).await;
    let rest = proxy.send(&part(BROWSER, "40-").with("If-Range", "\"a\"")).await;
    assert_eq!((rest.status, rest.field("content-encoding")), (206, None));
    assert_eq!((rest.text(), rest.field("etag")), (&text(1)[40..], Some("\"a\"")));
    for tag in ["\"a-sw-gzip6\"", "\"b\"", "W/\"a-sw-br5\""] {
        let response = proxy.send(&part(BROWSER, "40-").with("If-Range", tag)).await;
        assert_hit(&response, Some("br"));
    }
    let plain = proxy.send(&part("identity", "40-")).await;
    assert_eq!((plain.status, plain.text()), (206, &text(1)[40..]));
    assert_eq!(origin.count(), 1);
}

// All forms have the same date.
#[tokio::test]
async fn a_date_says_nothing_of_the_form() {
    let date = "Sat, 01 Jan 2000 00:00:00 GMT";
    let dated = ok(text(1)).fresh(600).with("Content-Type", "text/html");
    let (origin, proxy) = compressed(dated.with("Last-Modified", date)).await;
    let response = proxy.send(&part(BROWSER, "40-").with("If-Range", date)).await;
    assert_hit(&response, Some("br"));
    let other = get("/other").with("Accept-Encoding", BROWSER).with("Range", "bytes=40-");
    let response = proxy.send(&other.with("If-Range", date)).await;
    assert_eq!((response.status, response.text()), (200, &*text(1)));
    assert_eq!(origin.last().field("range"), None);
    // Who accepts no other form can only have begun with this one.
    let response = proxy.send(&part("identity", "40-").with("If-Range", date)).await;
    assert_eq!((response.status, response.text()), (206, &text(1)[40..]));
}

// A part from the origin is never compressed; the whole that it becomes may be.
#[tokio::test]
async fn parts_from_the_origin_stay_as_they_are() {
    let origin = Origin::start(|seen| match seen.field("range") {
        Some("bytes=0-99") => status(206)
            .body(&text(1)[..100])
            .with("Content-Range", format!("bytes 0-99/{}", text(1).len()))
            .with("Content-Type", "text/html")
            .with("ETag", "\"a\"")
            .fresh(600),
        _ => page(),
    })
    .await;
    let proxy = Proxy::ruled(&origin, RULE).await;
    for _ in 0..3 {
        let response = proxy.send(&part(BROWSER, "0-99")).await;
        assert_eq!((response.status, response.text()), (206, &text(1)[..100]));
        assert_eq!(response.field("content-encoding"), None);
    }
    assert_eq!((origin.count(), copies(&proxy, BROWSER)), (1, 0));
}
