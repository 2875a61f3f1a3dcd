//! `seawall warm` as people run it: what it asks for, what it says became of it, exit codes.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::*;

/// A list in a file of its own, gone with this.
struct List(PathBuf);

impl List {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("seawall-warm-{}-{name}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, text).expect("a temporary file");
        Self(file)
    }

    fn name(&self) -> &str {
        self.0.to_str().expect("a plain name")
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Its exit code, and what it says on standard output and error.
async fn warm(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("warm").args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("it starts");
        // One that ends at once reads nothing.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output().expect("an end")
    });
    let Output { status, stdout, stderr } =
        within("the command's end", run).await.expect("no panic");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

async fn site() -> Origin {
    Origin::start(|request| match request.target.as_str() {
        "/private" => ok("mine").with("Cache-Control", "private"),
        "/gone" => status(404).fresh(600),
        "/broken" => ok("012").fresh(600).claiming(10).cut(),
        _ => ok("page").fresh(600),
    })
    .await
}

#[tokio::test]
async fn what_is_warmed_is_a_hit_and_the_rest_has_its_reason() {
    let origin = site().await;
    let proxy = Proxy::start(&origin).await;
    proxy.get("/there").await;
    let lines = "# pages\nhttp://example.test/a\nhttp://example.test/b?c\n\nhttp://example.test/there\n\
                 http://example.test/private\nhttp://example.test/gone\nno url\x1b[2J\n";
    let list = List::new("pages", lines);
    let to = format!("http://{}", proxy.address);
    let (code, said, complaint) =
        warm(&["--from", list.name(), "--to", &to, "--each", "-c", "1"], "").await;
    assert_eq!(code, Some(1), "{said}{complaint}");
    let all: Vec<_> = said.lines().collect();
    assert_eq!(
        all[..5],
        [
            "stored      http://example.test/a",
            "stored      http://example.test/b?c",
            "hit         http://example.test/there",
            "uncacheable http://example.test/private (private)",
            "error       http://example.test/gone (404)",
        ]
    );
    assert!(said.contains("no URL              1  first 8: no url\u{fffd}[2J"), "{said}");
    let before = origin.count();
    for path in ["/a", "/b?c"] {
        let browser = get(path).with("Accept-Encoding", "gzip, deflate, br, zstd");
        assert!(proxy.send(&browser).await.is_hit(), "{path}");
    }
    assert_eq!(origin.count(), before);
}

#[tokio::test]
async fn a_summary_for_programs_counts_all() {
    let origin = site().await;
    let proxy = Proxy::start(&origin).await;
    let to = format!("http://{}", proxy.address);
    let lines: Vec<_> = (0..300).map(|number| format!("/{}", number % 100)).collect();
    let lines = lines.join("\n");
    let (code, said, complaint) = warm(&["--from", "-", "--to", &to, "--json"], &lines).await;
    assert_eq!(code, Some(0), "{said}{complaint}");
    let json: serde_json::Value = serde_json::from_str(&said).expect("one object");
    let (hit, stored) = (json["hit"].as_u64(), json["stored"].as_u64());
    assert_eq!(
        (hit.zip(stored).map(|(hit, stored)| hit + stored), json["asked"].as_u64()),
        (Some(300), Some(300))
    );
    assert_eq!((json["bytes"].as_u64(), json["broken_lines"].as_u64()), (Some(1200), Some(0)));
    assert_eq!(origin.count(), 100);
}

#[tokio::test]
async fn a_sitemap_does_as_well_and_hosts_are_looked_up() {
    let origin = site().await;
    let proxy = Proxy::start(&origin).await;
    let url = |path: &str| format!("<url><loc>http://{}{path}</loc></url>", proxy.address);
    let text =
        format!("<?xml version=\"1.0\"?><urlset>{}{}</urlset>", url("/?a=1&amp;b=2"), url("/x"));
    let list = List::new("sitemap", &text);
    let (code, said, complaint) = warm(&["--from", list.name()], "").await;
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(said.starts_with("2 URLs in "), "{said}");
    let here = proxy.address.to_string();
    assert!(proxy.send(&get("/?a=1&b=2").with("Host", &here)).await.is_hit());
}

#[tokio::test]
async fn a_rate_is_kept() {
    let origin = site().await;
    let proxy = Proxy::start(&origin).await;
    let to = format!("http://{}", proxy.address);
    let began = std::time::Instant::now();
    let (code, _, _) =
        warm(&["--from", "-", "--to", &to, "--rate", "20"], "/a\n/b\n/c\n/d\n/e\n").await;
    assert_eq!((code, origin.count()), (Some(0), 5));
    assert!(began.elapsed() >= millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_cannot_be_warmed_has_its_exit_code_and_says_why() {
    let origin = site().await;
    let proxy = Proxy::start(&origin).await;
    let to = format!("http://{}", proxy.address);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", closed.local_addr().expect("bound"));
    drop(closed);
    for (arguments, input, code, why) in [
        (&["--from", "-", "--to", &nobody][..], "/a\n", 1, "1 refused"),
        (&["--from", "-", "--to", &to], "/broken\n", 1, "1 cut"),
        (&["--from", "-", "--to", &to, "--max-body", "3B"], "/a\n", 1, "1 too-large"),
        (&["--from", "-"], "/a\n", 1, "first 1: /a"),
        (&["--from", "-"], "# nothing\n", 70, "nothing to ask for"),
        (&["--from", "/nowhere/list"], "", 70, "/nowhere/list"),
        (&["--from", "-"], "<sitemapindex><a/></sitemapindex>", 70, "index of other sitemaps"),
        (&[], "", 64, "--from"),
    ] {
        let (found, said, complaint) = warm(arguments, input).await;
        assert_eq!(found, Some(code), "{arguments:?}: {said}{complaint}");
        assert!(said.contains(why) || complaint.contains(why), "{arguments:?}: {said}{complaint}");
    }
}
