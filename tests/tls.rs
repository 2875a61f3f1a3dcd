//! TLS to clients and to origins.

use seawall::server::Tls;
use seawall::upstream::Identity;

use crate::support::*;

fn tls(certificates: Vec<seawall::server::Certificate>) -> Tls {
    Tls { certificates, allow_tls12: true, reload_interval: millis(20) }
}

/// Of the proxy: the certificate's names are what the client asked for.
async fn secure(authority: &Authority, names: &[&str]) -> (Origin, Proxy) {
    let certificates = names.iter().map(|name| authority.certificate(name, name)).collect();
    let origin = Origin::answering(ok("body").fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| s.server.listeners[0].tls = Some(tls(certificates))).await;
    (origin, proxy)
}

#[tokio::test]
async fn alpn_chooses_between_h2_and_http1() {
    let authority = Authority::new("alpn");
    let (_origin, proxy) = secure(&authority, &["example.test"]).await;
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = authority.connect(proxy.address, "example.test", offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        let response = if chosen == Some(b"h2") {
            H2Client::over(stream, "https").await.exchange(&get("/")).await
        } else {
            Client::over(stream).exchange(&get("/")).await
        };
        assert_eq!(response.text(), "body");
    }
}

// The client verifies the name, so a handshake that succeeds was given the right certificate.
#[tokio::test]
async fn sni_chooses_the_certificate_and_the_first_is_the_default() {
    let authority = Authority::new("sni");
    let (_origin, proxy) = secure(&authority, &["one.test", "two.test"]).await;
    for name in ["one.test", "two.test"] {
        let stream = authority.connect(proxy.address, name, &[]).await.unwrap();
        assert_eq!(Client::over(stream).exchange(&get("/").with("Host", name)).await.status, 200);
    }
    let error = authority.connect(proxy.address, "three.test", &[]).await.unwrap_err();
    assert!(error.to_string().contains("one.test"), "the default was offered: {error}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let authority = Authority::new("reload");
    let (_origin, proxy) = secure(&authority, &["old.test"]).await;
    let kept = authority.connect(proxy.address, "old.test", &[]).await.unwrap();
    authority.certificate("old.test", "new.test");
    within("the new certificate", async {
        while authority.connect(proxy.address, "new.test", &[]).await.is_err() {}
    })
    .await;
    assert_eq!(Client::over(kept).exchange(&get("/")).await.status, 200, "old connections go on");
}

#[tokio::test]
async fn a_broken_renewal_leaves_the_old_certificate_in_use() {
    let authority = Authority::new("broken");
    let files = authority.certificate("it", "example.test");
    let origin = Origin::answering(ok("body")).await;
    let proxy =
        Proxy::with(&origin, |s| s.server.listeners[0].tls = Some(tls(vec![files.clone()]))).await;
    std::fs::write(&files.certificate, "nonsense").unwrap();
    for _ in 0..20 {
        authority.connect(proxy.address, "example.test", &[]).await.unwrap();
    }
}

#[tokio::test]
async fn http_and_https_do_not_share_objects() {
    let authority = Authority::new("scheme");
    let certificates = vec![authority.certificate("it", "example.test")];
    let origin = Origin::answering(ok("body").fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| {
        let listener = s.server.listeners[0].clone();
        s.server.listeners[0].tls = Some(tls(certificates));
        s.server.listeners.push(listener);
    })
    .await;
    let stream = authority.connect(proxy.address, "example.test", &[]).await.unwrap();
    Client::over(stream).exchange(&get("/")).await;
    let mut client = Client::connect(proxy.addresses()[1]).await;
    assert!(!client.exchange(&get("/")).await.is_hit());
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn cleartext_on_a_tls_port_is_refused_and_harms_nobody() {
    let authority = Authority::new("cleartext");
    let (origin, proxy) = secure(&authority, &["example.test"]).await;
    let mut client = proxy.client().await;
    client.send(get("/").bytes()).await;
    client.ended().await;
    let stream = authority.connect(proxy.address, "example.test", &[]).await.unwrap();
    assert_eq!(Client::over(stream).exchange(&get("/")).await.status, 200);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn an_https_origin_is_verified_and_told_the_name() {
    let authority = Authority::new("origin");
    let origin = Origin::tls(authority.acceptor("origin.test"), |_| ok("secret")).await;
    let ca = authority.file();
    let proxy = Proxy::with(&origin, |s| {
        s.upstream().tls = true;
        s.upstream().ca = Some(ca);
        s.upstream().identity = Identity::Name("origin.test".to_owned());
    })
    .await;
    assert_eq!(proxy.get("/").await.text(), "secret");
    let seen = origin.last();
    assert_eq!(
        (seen.sni.as_deref(), seen.field("host")),
        (Some("origin.test"), Some("origin.test"))
    );
}

#[tokio::test]
async fn an_origin_with_the_wrong_certificate_is_never_asked() {
    let authority = Authority::new("wrong");
    let ca = authority.file();
    let cases = [("other.test", Some(ca)), ("origin.test", None)];
    for (certified, ca) in cases {
        let origin = Origin::tls(authority.acceptor(certified), |_| ok("secret")).await;
        let proxy = Proxy::with(&origin, |s| {
            s.upstream().tls = true;
            s.upstream().ca = ca;
            s.upstream().sni = Some("origin.test".to_owned());
        })
        .await;
        let response = proxy.get("/").await;
        assert_eq!(response.status, 502);
        assert!(response.says("detail=tls-failed"), "{}", response.cache_status());
        assert_eq!(origin.count(), 0);
    }
}
