//! Never shared between clients but as RFC 9111 allows: two clients each time.

use crate::support::*;

/// Who is asking, as the origin tells it.
fn who(seen: &Seen) -> String {
    seen.field("cookie").or(seen.field("authorization")).unwrap_or("nobody").to_owned()
}

/// Whether an answer with these fields to one visitor is given to others, who ask with another
/// cookie, with other credentials and without.
async fn is_shared(credential: &str, fields: &'static [(&'static str, &'static str)]) -> bool {
    let origin = Origin::start(|seen| {
        fields.iter().fold(ok(who(seen)), |answer, (name, value)| answer.with(name, *value))
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    proxy.send(&get("/").with(credential, "victim")).await;
    let mut shared = false;
    for other in [get("/"), get("/").with("Cookie", "other"), get("/").with("Authorization", "o")] {
        shared |= proxy.send(&other).await.text() == "victim";
    }
    shared
}

// RFC 9111 §3, §3.5, §4.1, §5.2.2.
#[tokio::test]
async fn what_the_origin_keeps_for_one_is_given_to_one() {
    for fields in [
        &[("Cache-Control", "private")][..],
        &[("Cache-Control", "private, max-age=600")],
        &[("Cache-Control", "max-age=600"), ("Cache-Control", "PRIVATE")],
        &[("Cache-Control", "max-age=600, x=\"y, private")],
        &[("Cache-Control", "public, private, s-maxage=600")],
        &[("Cache-Control", "no-store, max-age=600")],
        &[("Cache-Control", "no-store=\"x\", max-age=600")],
        &[("Cache-Control", "private=\"\", max-age=600")],
        &[("Cache-Control", "private=x y, max-age=600")],
        &[("Cache-Control", "max-age=600"), ("Set-Cookie", "a=b")],
        &[("Cache-Control", "max-age=600"), ("Vary", "Cookie")],
        &[("Cache-Control", "max-age=600"), ("Vary", "Accept, cookie")],
        &[("Cache-Control", "max-age=600"), ("Vary", "Accept"), ("Vary", "*")],
        &[("Cache-Control", "max-age=600"), ("Vary", "a b")],
        &[("Expires", "Tue, 01 Jan 2030 01:00:00 GMT"), ("Cache-Control", "private")],
        &[("CDN-Cache-Control", "private, max-age=600"), ("Cache-Control", "public")],
        &[("Connection", "Cache-Control"), ("Cache-Control", "private, max-age=600")],
        &[("Connection", "Set-Cookie"), ("Set-Cookie", "a=b"), ("Cache-Control", "max-age=600")],
        &[("Connection", "Vary"), ("Vary", "*"), ("Cache-Control", "max-age=600")],
    ] {
        for credential in ["Cookie", "Authorization"] {
            assert!(!is_shared(credential, fields).await, "{credential} {fields:?}");
        }
    }
    assert!(!is_shared("Authorization", &[("Cache-Control", "max-age=600")]).await);
    assert!(is_shared("Cookie", &[("Cache-Control", "max-age=600")]).await, "the origin's word");
}

// RFC 9111 §4.1: what is kept apart by name stays apart.
#[tokio::test]
async fn what_varies_by_credentials_is_given_to_those_who_hold_them() {
    let origin = Origin::start(|seen| {
        ok(who(seen)).with("Cache-Control", "public, max-age=600").with("Vary", "Authorization")
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    for _ in 0..2 {
        for user in ["Basic a", "Basic b", "basic a"] {
            let own = proxy.send(&get("/").with("Authorization", user)).await;
            assert_eq!(own.text(), user);
        }
        assert_eq!(proxy.get("/").await.text(), "nobody");
    }
}

// RFC 9111 §5.2.1.5.
#[tokio::test]
async fn a_client_that_wants_nothing_stored_has_nothing_stored_and_shares_with_nobody() {
    for control in ["no-store", "No-Store", "max-age=1, no-store", "x=\"y, no-store"] {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = ok(who(seen)).fresh(600);
            if seen.number == 0 { answer.gate(&held) } else { answer }
        })
        .await;
        let proxy = Proxy::start(&origin).await;
        let discreet = get("/").with("Cookie", "victim").with("Cache-Control", control);
        let first = proxy.start_all(1, &discreet).await;
        origin.arrived(1).await;
        let second = proxy.start_all(1, &get("/")).await;
        origin.arrived(2).await;
        gate.open();
        assert_eq!(all(first).await[0].text(), "victim", "{control}");
        assert_eq!(all(second).await[0].text(), "nobody", "{control}");
        assert_eq!(proxy.get("/").await.text(), "nobody", "{control}");
    }
}

// RFC 9111 §5.2.2.7, §5.2.2.4.
#[tokio::test]
async fn fields_that_are_one_clients_reach_neither_the_next_nor_those_who_wait() {
    for kind in ["private", "no-cache"] {
        let gate = Gate::new();
        let answer = ok("first")
            .with("Cache-Control", format!("max-age=600, {kind}=\"X-User, set-cookie\""))
            .with("X-User", "victim")
            .with("Set-Cookie", "session=secret")
            .with("X-Other", "1");
        let (origin, proxy) = stage(answer.then(&gate).body("second")).await;
        let leader = proxy.start_all(1, &get("/")).await;
        origin.arrived(1).await;
        let followers = proxy.start_all(3, &get("/")).await;
        gate.open();
        assert_eq!(all(leader).await[0].field("x-user"), Some("victim"));
        let mut others = all(followers).await;
        others.push(proxy.get("/").await);
        for other in others {
            assert_eq!((other.field("x-user"), other.field("set-cookie")), (None, None), "{kind}");
            assert_eq!((other.text(), other.field("x-other")), ("firstsecond", Some("1")));
        }
        assert_eq!(origin.count(), 1);
    }
}

// One waits behind another who is known; the answer is the other's alone.
#[tokio::test]
async fn those_who_wait_get_their_own_page_and_their_own_cookie() {
    for (name, value) in [
        ("Set-Cookie", "session=leader"),
        ("Cache-Control", "private"),
        ("Vary", "Cookie"),
        ("X-Nothing", "x"),
    ] {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let page = ok(who(seen));
            match (seen.number, name) {
                (0, "X-Nothing") => page.gate(&held),
                (0, _) => page.fresh(600).with(name, value).gate(&held),
                _ => page.fresh(0),
            }
        })
        .await;
        let proxy = Proxy::start(&origin).await;
        let mut tasks = Vec::new();
        for user in ["leader", "b", "c"] {
            tasks.extend(proxy.start_all(1, &get("/").with("Cookie", user)).await);
            origin.arrived(1).await;
        }
        gate.open();
        let pages = all(tasks).await;
        for (page, user) in pages.iter().zip(["leader", "b", "c"]) {
            assert_eq!(page.text(), user, "{name}");
            assert!(user == "leader" || page.field("set-cookie").is_none());
        }
    }
}

// RFC 9111 §3.2, §4.3.4: a 304 may take back what was allowed, and adds nothing of one client's.
#[tokio::test]
async fn a_304_takes_back_what_others_were_allowed_and_gives_them_nothing_of_one() {
    for (name, value) in [
        ("Cache-Control", "private"),
        ("Cache-Control", "no-store"),
        ("Vary", "Cookie"),
        ("Vary", "*"),
        ("Set-Cookie", "session=secret"),
    ] {
        let answers = [
            ok("page").fresh(1).with("ETag", "\"1\""),
            status(304).with("ETag", "\"1\"").with(name, value),
            ok("other").fresh(1).with("ETag", "\"2\""),
        ];
        let (origin, proxy) = stages(answers).await;
        proxy.get("/").await;
        proxy.advance(secs(2));
        let own = proxy.send(&get("/").with("Cookie", "a")).await;
        assert_eq!((own.text(), own.field(name)), ("page", Some(value)), "{name}: {value}");
        let next = proxy.get("/").await;
        if name == "Set-Cookie" {
            assert_eq!((next.text(), next.field("set-cookie")), ("page", None));
        } else {
            assert_eq!((next.text(), origin.count()), ("other", 3), "{name}: {value}");
        }
    }
}

// RFC 9111 §3.2: nor does it lie about the bytes that are stored.
#[tokio::test]
async fn a_304_says_nothing_about_the_stored_bytes() {
    let answers = [
        ok("page").fresh(1).with("ETag", "\"1\"").with("Content-Encoding", "x-one"),
        status(304)
            .fresh(600)
            .with("ETag", "\"1\"")
            .with("Content-Encoding", "gzip")
            .with("Content-Length", "1")
            .with("Content-Range", "bytes 0-0/9"),
    ];
    let (_origin, proxy) = stages(answers).await;
    proxy.get("/").await;
    proxy.advance(secs(2));
    for _ in 0..2 {
        let page = proxy.get("/").await;
        assert_eq!((page.status, page.text(), page.complete), (200, "page", true));
        assert_eq!(page.all("content-encoding"), ["x-one"]);
        assert_eq!((page.all("content-length"), page.field("content-range")), (vec!["4"], None));
    }
}

// RFC 9111 §3.3, §4.3.3; RFC 9110 §9.3.2: what one asks for in part or by its head is not the whole.
#[tokio::test]
async fn a_part_a_head_or_a_304_for_one_is_not_the_object_for_another() {
    let origin = Origin::start(|seen| {
        let answer = match (&*seen.method, seen.field("range"), seen.field("if-none-match")) {
            ("HEAD", ..) => status(200),
            (_, Some(_), _) => status(206).body("pa").with("Content-Range", "bytes 0-1/4"),
            (.., Some(_)) => status(304),
            _ => ok("page"),
        };
        answer.fresh(600).with("ETag", "\"1\"")
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    for (target, first) in [
        ("/head", head("/head")),
        ("/range", get("/range").with("Range", "bytes=0-1")),
        ("/odd", get("/odd").with("Range", "bytes=0-1").with("If-Range", "\"1\"")),
        ("/known", get("/known").with("If-None-Match", "\"1\"")),
        (
            "/bypass",
            get("/bypass").with("If-None-Match", "\"1\"").with("Cache-Control", "no-store"),
        ),
        ("/stranger", get("/stranger").with("If-None-Match", "\"2\"")),
    ] {
        proxy.send(&first).await;
        let page = proxy.get(target).await;
        assert_eq!((page.status, page.text()), (200, "page"), "{target}");
        assert!(proxy.get(target).await.is_hit(), "{target}");
    }
}

// RFC 9110 §6.5.1: a trailer is no way round what a header may not do.
#[tokio::test]
async fn a_cookie_in_a_trailer_is_nobodys() {
    let gate = Gate::new();
    let answer = ok("first").fresh(600).then(&gate).body("second");
    let answer = answer.trailer("Set-Cookie", "session=secret").trailer("X-Sum", "1");
    let answer = answer.with("Trailer", "Set-Cookie, X-Sum");
    let (origin, proxy) = stage(answer).await;
    let request = get("/").with("TE", "trailers").with("Connection", "TE");
    let mut leader = H2Client::connect(proxy.address).await;
    let first = get("/");
    let leader = tokio::spawn(async move { leader.exchange(&first).await });
    origin.arrived(1).await;
    let mut tasks = proxy.start_all(2, &request).await;
    let mut follower = H2Client::connect(proxy.address).await;
    tasks.push(tokio::spawn(async move { follower.exchange(&get("/")).await }));
    tasks.push(leader);
    gate.open();
    for response in all(tasks).await {
        assert_eq!(response.text(), "firstsecond");
        assert_eq!(find(&response.trailers, "set-cookie"), None);
        // Who came after the end is answered from what is stored, without trailers.
        let all = response.says("detail=collapsed") || response.says("stored");
        assert_eq!(find(&response.trailers, "x-sum"), all.then_some("1"), "{response:?}");
    }
    assert_eq!(proxy.send(&request).await.field("set-cookie"), None);
}
