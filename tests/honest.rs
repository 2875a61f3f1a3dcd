//! `seawall replay` is honest: what it foretells of a log is what `seawall bench` measures when it
//! sends the same requests through the running proxy to an origin that answers as the log says.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use seawall::app::{App, Running};
use seawall::clock::Clock;
use seawall::config::{self, CliOverrides, Sources, Toggled};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::support::*;

/// Much less than what the log touches, so that it matters who stays.
const MEMORY: &str = "4MiB";

/// What the origin says of every response, so that time plays no part.
const CONTROL: &str = "max-age=31536000";

/// Those who ask while the log is written: some objects often and most seldom, old ones fading.
const VISITORS: [&str; 6] = [
    "--objects=1500",
    "--zipf=0.8",
    "--churn=0.1",
    "--size=1KiB..32KiB",
    "--requests=4000",
    "--seed=7",
];

fn seawall(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.args(arguments).arg("--json");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEAWALL_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The proxy with this file, on the system's clock: the bench's origin has no other. It ends when
/// this is dropped.
struct Node(Option<Running>);

impl Node {
    fn start(file: &Path) -> Self {
        let overrides = CliOverrides {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            admin_listen: Some(Toggled::Off),
            threads: Some(2),
            ..CliOverrides::default()
        };
        let settings = config::load(&Sources { file: Some(file.to_owned()), overrides }).unwrap();
        Self(Some(App::start(settings, Clock::System).unwrap()))
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.as_ref().unwrap().addresses()[0])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.take().map(Running::kill);
    }
}

/// Leads to an origin of which it is not known yet where it will be: the proxy needs its address
/// before the bench that has it can ask the proxy.
async fn detour() -> (SocketAddr, watch::Sender<Option<SocketAddr>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (leads, target) = watch::channel(None);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut target = target.clone();
            tokio::spawn(async move {
                let to = target.wait_for(Option::is_some).await.unwrap().unwrap();
                let mut to = TcpStream::connect(to).await.unwrap();
                // Else a small write waits for the other end to say that it has the one before.
                from.set_nodelay(true).unwrap();
                to.set_nodelay(true).unwrap();
                // Either end may leave when it likes.
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, leads)
}

/// What the bench measures at `url` when it asks for this.
async fn measured(url: &str, leads: &watch::Sender<Option<SocketAddr>>, asks: &[&str]) -> Value {
    // One connection, so that the order is the log's.
    let flags = ["bench", url, "--with-origin=127.0.0.1:0", "--connections=1"];
    let control = ["--origin-cache-control", CONTROL];
    let mut bench = seawall(&[&flags[..], &control, asks].concat()).spawn().unwrap();
    let complaints = BufReader::new(bench.stderr.take().unwrap());
    let first = spawn_blocking(move || complaints.lines().next());
    let listens = within("the origin", first).await.unwrap().unwrap().unwrap();
    leads.send(Some(listens.rsplit(' ').next().unwrap().parse().unwrap())).unwrap();
    // Far more requests than other tests send.
    let output = tokio::time::timeout(secs(300), ended(bench)).await;
    said(&output.expect("an end of the bench"))
}

async fn ended(child: Child) -> Output {
    spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap()
}

#[track_caller]
fn said(output: &Output) -> Value {
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn foretold(url: &str, file: &Path, log: &str) -> Value {
    let assumed = format!("*={CONTROL}");
    let file = file.to_str().unwrap();
    let flags = ["replay", "--log", log, "--config", file, "--base", url];
    let if_larger = ["--assume", &assumed, "--what-if", "cache.memory=1GiB"];
    let replay = seawall(&[&flags[..], &if_larger].concat()).spawn().unwrap();
    said(&within("the replay", ended(replay)).await)
}

#[track_caller]
fn assert_agree(what: &str, foretold: &Value, measured: &Value, points: f64) {
    let percent = |value: &Value| value.as_f64().unwrap() * 100.0;
    let (foretold, measured) = (percent(foretold), percent(measured));
    let difference = (foretold - measured).abs();
    assert!(difference <= points, "{what}: {foretold} % foretold, {measured} % measured");
}

/// A configuration of a node in front of `origin`, which logs to this file.
fn configure(file: &Path, origin: SocketAddr, log: &str) {
    let upstream = format!("[upstream.origin]\nurl = \"http://{origin}\"\n");
    let cache = format!("[cache]\nmemory = \"{MEMORY}\"\n");
    let log = format!("[access_log]\npath = \"{log}\"\n");
    std::fs::write(file, [upstream, cache, log].concat()).unwrap();
}

/// The log in `HONEST_LOG`, or one that a node writes of its visitors.
async fn log_of_a_day(folder: &Path) -> String {
    if let Ok(log) = std::env::var("HONEST_LOG") {
        return log;
    }
    let log = folder.join("access.log").to_str().unwrap().to_owned();
    let (address, leads) = detour().await;
    let file = folder.join("day.toml");
    configure(&file, address, &log);
    let mut node = Node::start(&file);
    let visited = measured(&node.url(), &leads, &VISITORS).await;
    assert_eq!(visited["failed"], 0);
    // What is logged is written by then.
    node.0.take().unwrap().shutdown().unwrap();
    log
}

#[tokio::test]
async fn what_is_foretold_of_a_log_is_what_is_measured() {
    let folder = std::env::temp_dir().join(format!("seawall-honest-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let log = log_of_a_day(&folder).await;
    let (address, leads) = detour().await;
    let file = folder.join("node.toml");
    configure(&file, address, "/dev/null");
    let node = Node::start(&file);
    let measured = measured(&node.url(), &leads, &["--log", &log]).await;
    let foretold = foretold(&node.url(), &file, &log).await;
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(foretold["requests"], measured["requests"]);
    assert_eq!((&measured["failed"], &measured["left_out"]), (&0.into(), &0.into()));
    let (objects, bytes) = ("hit_ratio", "byte_hit_ratio");
    assert_agree("objects", &foretold[objects], &measured[objects], 0.5);
    assert_agree("bytes", &foretold[bytes], &measured[bytes], 1.0);
    // What the origin had to do, as a share of what clients asked for: what a HEAD or a client that
    // had it already costs the origin is no client's.
    let origin = |report: &Value, of: &Value, what: &str| {
        Value::from(report["origin"][what].as_f64().unwrap() / of.as_f64().unwrap())
    };
    for (what, points) in [("requests", 0.5), ("bytes", 1.0)] {
        let all = &measured[what];
        let (foretold, measured) = (origin(&foretold, all, what), origin(&measured, all, what));
        assert_agree(&format!("{what} of the origin"), &foretold, &measured, points);
    }
    // With room for all it would be another figure.
    let unbounded = foretold["what_if"][0][objects].as_f64().unwrap();
    assert!(unbounded - foretold[objects].as_f64().unwrap() > 0.03, "{unbounded}");
}
