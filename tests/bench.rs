//! `seawall bench` as people run it: exit codes, reports, TLS, and a signal.

use std::process::{Command, Output, Stdio};

use seawall::server::Tls;

use crate::support::*;

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("bench").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Its exit code, and what it says on standard output and error.
async fn ended(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = bench(arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let Output { status, stdout, stderr } = within("the bench", output).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_budget_decides_the_exit_code_and_reports_agree_with_the_origin() {
    let (origin, proxy) = stage(ok("0123456789").fresh(600)).await;
    let url = format!("http://{}/shop", proxy.address);
    let html = std::env::temp_dir().join(format!("seawall-bench-{}.html", std::process::id()));
    let run = [
        url.as_str(),
        "--objects=4",
        "--zipf=0",
        "--requests=200",
        "--connections=3",
        "--json",
        "--html",
        html.to_str().unwrap(),
    ];
    let (code, said, complaint) = ended(&[&run[..], &["--budget", "saved>=98%"]].concat()).await;
    assert_eq!(code, Some(0), "{said}{complaint}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["answered"], 200);
    assert_eq!(json["bytes"], 2_000);
    assert_eq!(json["saved_ratio"], 1.0 - 4.0 / 200.0, "each of four objects was fetched once");
    assert_eq!(json["told_by"]["Cache-Status"], 200);
    assert_eq!(origin.count(), 4);
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"), "{page}");
    std::fs::remove_file(html).unwrap();

    let (code, said, _) =
        ended(&[url.as_str(), "-n", "50", "--objects=4", "--budget", "hit_ratio<=1%"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("BUDGET MISSED hit_ratio is 100.00 %, over 1.00 %"), "{said}");
    assert!(said.contains("the cache says   100.00 % of requests"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_run_has_its_exit_code_and_says_why() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    for (arguments, code, why) in [
        (&[url.as_str()][..], 70, "refused"),
        (&[url.as_str(), "--with-origin", "192.0.2.1:1"], 70, "cannot listen on 192.0.2.1:1"),
        (&["no-url"], 64, "http://no-url"),
        (&[url.as_str(), "--rate", "0"], 64, "above 0"),
        (&[url.as_str(), "--urls", "/nowhere/list"], 64, "/nowhere/list"),
        (&[url.as_str(), "--size", "5"], 64, "--size"),
        (&[url.as_str(), "--budget", "p99<=1"], 64, "\"1ms\""),
    ] {
        let (found, _, complaint) = ended(arguments).await;
        assert_eq!(found, Some(code), "{arguments:?}: {complaint}");
        assert!(complaint.contains(why), "{arguments:?}: {complaint}");
    }
}

#[tokio::test]
async fn tls_is_trusted_as_told_and_its_version_is_what_alpn_comes_to() {
    let authority = Authority::new("bench");
    let certificates = vec![authority.certificate("localhost", "localhost")];
    let tls = Tls { certificates, allow_tls12: true, reload_interval: secs(60) };
    let origin = Origin::answering(ok("body").fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| s.server.listeners[0].tls = Some(tls)).await;
    let url = format!("https://localhost:{}", proxy.address.port());
    let ca = authority.file();
    let ca = ca.to_str().unwrap();
    for (flags, version) in [
        (&["--ca", ca][..], "HTTP/2 over TLS"),
        (&["--insecure", "--http", "1.1"], "HTTP/1.1 over TLS"),
    ] {
        let run = [url.as_str(), "-n", "40", "-c", "2", "--objects", "5"];
        let (code, said, complaint) = ended(&[&run[..], flags].concat()).await;
        assert_eq!(code, Some(0), "{said}{complaint}");
        assert!(said.contains(version) && said.contains("40 answered, 0 failed"), "{said}");
    }
    assert_eq!(origin.count(), 5, "both asked for the same");
    let other = Authority::new("bench-other");
    let (code, _, complaint) = ended(&[&url, "--ca", other.file().to_str().unwrap()]).await;
    assert_eq!(code, Some(70), "another authority's certificate");
    assert!(complaint.contains("TLS"), "{complaint}");
}

#[tokio::test]
async fn an_interrupt_shows_what_was_measured() {
    let (origin, proxy) = stage(ok("body").with("Cache-Control", "no-store")).await;
    let url = format!("http://{}", proxy.address);
    let child = bench(&[&url, "--rate", "200", "--duration", "1h"]).spawn().unwrap();
    eventually("some requests", || origin.count() > 3).await;
    // The shell's own `kill`: slim images have no program of that name.
    let kill = format!("kill -s INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = within("its end", output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("(interrupted)") && said.contains("0 failed"), "{said}");
}
