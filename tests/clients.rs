//! Clients that people have: what our own client forgives or does not do, they may not.

use std::process::Command;

use seawall::server::Tls;

use crate::support::*;

/// What a command prints; `make test` installs it where it is missing.
async fn run(program: &'static str, arguments: &[&str]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let running =
        tokio::task::spawn_blocking(move || Command::new(program).args(arguments).output());
    let output = within(program, running).await.expect("no panic");
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs it"));
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    assert!(output.status.success(), "{program}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

async fn curl(arguments: &[&str]) -> String {
    run("curl", &[&["--silent", "--show-error", "--max-time", "15"], arguments].concat()).await
}

#[tokio::test]
async fn curl_gets_misses_hits_ranges_and_conditions() {
    let (origin, proxy) = stage(ok("0123456789").fresh(600).with("ETag", "\"1\"")).await;
    let url = format!("http://{}/", proxy.address);
    for version in ["--http1.1", "--http2-prior-knowledge", "--http1.0"] {
        assert_eq!(curl(&[version, &url]).await, "0123456789", "{version}");
    }
    assert_eq!(curl(&["--range", "2-4", &url]).await, "234");
    let code = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let conditional = [&code[..], &["--header", "If-None-Match: \"1\"", &url]].concat();
    assert_eq!(curl(&conditional).await, "304");
    assert!(curl(&["--head", &url]).await.to_ascii_lowercase().contains("content-length: 10"));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn curl_uploads_with_and_without_a_length_and_with_expect() {
    let (origin, proxy) = stage(ok("done")).await;
    let file = std::env::temp_dir().join(format!("seawall-upload-{}", std::process::id()));
    let body: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    std::fs::write(&file, &body).unwrap();
    let (url, file) = (format!("http://{}/", proxy.address), file.to_str().unwrap());
    for options in [
        &["--http1.1"][..],
        &["--http2-prior-knowledge"],
        &["--header", "Transfer-Encoding: chunked"],
    ] {
        assert_eq!(curl(&[options, &["--upload-file", file, &url]].concat()).await, "done");
        let seen = origin.last();
        assert!(
            seen.method == "PUT" && seen.body == body,
            "{options:?}: {} bytes",
            seen.body.len()
        );
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn curl_speaks_tls_in_both_versions_of_http() {
    let authority = Authority::new("curl");
    let certificates = vec![authority.certificate("it", "example.test")];
    let origin = Origin::answering(ok("body").fresh(600)).await;
    let tls = Tls { certificates, allow_tls12: true, reload_interval: secs(60) };
    let proxy = Proxy::with(&origin, |s| s.server.listeners[0].tls = Some(tls)).await;
    let (ca, port) = (authority.file(), proxy.address.port());
    let resolve = format!("example.test:{port}:127.0.0.1");
    let url = format!("https://example.test:{port}/");
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let arguments = [version, "--cacert", ca.to_str().unwrap(), "--resolve", &resolve];
        let arguments = [&arguments[..], &["--write-out", " %{http_version}", &url]].concat();
        assert_eq!(curl(&arguments).await, format!("body {number}"));
    }
}

#[tokio::test]
async fn nghttp_and_h2load_are_served() {
    let (origin, proxy) = stage(ok("body").fresh(600)).await;
    let url = format!("http://{}/", proxy.address);
    assert_eq!(run("nghttp", &[&url]).await, "body");
    for version in [&[][..], &["--h1"]] {
        let arguments = [version, &["-n", "500", "-c", "5", "-m", "10", &url]].concat();
        let report = run("h2load", &arguments).await;
        assert!(report.contains("500 succeeded, 0 failed"), "{report}");
    }
    assert_eq!(origin.count(), 1);
}
