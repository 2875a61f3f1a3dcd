//! A node that is killed while others wait for it, a Redis that is, and one that can't be reached.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use seawall::redis::Secret;
use seawall::store::remote::{Waited, Wrote};

use super::{first_held, held, node, nodes, patient, start_at_each, waiting, waits};
use crate::support::*;
use crate::tier::stalls::{Between, Way};

/// A node in a process of its own, which can be killed.
struct Process {
    child: Child,
    address: SocketAddr,
    config: std::path::PathBuf,
}

impl Process {
    async fn start(redis: &Redis, origin: &Origin) -> Self {
        let name = format!("seawall-leases-{}.toml", std::process::id());
        let config = std::env::temp_dir().join(name);
        let text = format!(
            "[upstream.origin]\nurl = \"http://{}\"\n\
             [redis]\nurl = \"redis://{}\"\nlookup_budget = \"1s\"\n",
            origin.address, redis.address
        );
        std::fs::write(&config, text).expect("a folder for temporary files");
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--config"]);
        command.arg(&config).stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("the program");
        let said = BufReader::new(child.stderr.take().expect("piped"));
        let address = tokio::task::spawn_blocking(move || {
            let mut lines = said.lines().map_while(Result::ok);
            let address = lines.find_map(|line| {
                let words = line.split(|c: char| !c.is_ascii_digit() && !".:".contains(c));
                let mut addresses = words.filter_map(|word| word.parse::<SocketAddr>().ok());
                addresses.find(|address| address.port() != 0)
            });
            // Nobody is to be stopped by a pipe that is full.
            std::thread::spawn(move || lines.for_each(drop));
            address
        });
        let address = within("the line that tells the address", address).await;
        Self { child, address: address.expect("no panic").expect("it listens"), config }
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_by_one() {
    let redis = Redis::start().await;
    let gate = Gate::new();
    let closed = gate.clone();
    let origin = Origin::start(move |_| ok("x").fresh(600).gate(&closed)).await;
    let mut first = Process::start(&redis, &origin).await;
    // It goes on without Redis until it has found it.
    let mut number = 0;
    let key = loop {
        let mut client = Client::connect(first.address).await;
        number += 1;
        let target = format!("/{number}");
        client.send(get(&target).bytes()).await;
        origin.arrived(number).await;
        if !held(&redis).await.is_empty() {
            break target;
        }
    };
    let fleet = nodes(&redis, &origin, 7).await;
    let mut tasks = Vec::new();
    for node in &fleet {
        tasks.extend(node.start_all(20, &get(&key)).await);
    }
    waiting(&fleet, 7).await;
    assert_eq!(origin.count(), number);
    first.kill();
    origin.arrived(number + 1).await;
    gate.open();
    assert!(all(tasks).await.iter().all(|it| it.text() == "x" && it.complete));
    assert_eq!(origin.count(), number + 1, "one other has taken its place");
    assert_eq!((waits(&fleet, Waited::Succeeded), waits(&fleet, Waited::Answered)), (1, 6));
}

#[tokio::test]
async fn redis_killed_midway_keeps_nobody_waiting() {
    let mut redis = Redis::start().await;
    let (origin, gate) = first_held("x", "x").await;
    let fleet = nodes(&redis, &origin, 4).await;
    let first = fleet[0].start_all(1, &get("/")).await;
    origin.arrived(1).await;
    let tasks = start_at_each(&fleet[1..], 20).await;
    waiting(&fleet, 3).await;
    redis.kill();
    assert!(all(tasks).await.iter().all(|it| it.text() == "x" && it.complete));
    assert_eq!(origin.count(), 4, "each node for itself");
    assert_eq!(waits(&fleet, Waited::Failed), 3);
    gate.open();
    assert_eq!(all(first).await[0].text(), "x");
}

async fn behind(between: &Between, origin: &Origin, budget: Duration) -> Proxy {
    let proxy = Proxy::with(origin, |settings| {
        let redis = seawall::redis::Config {
            place: between.place(),
            answers_within: secs(5),
            ..seawall::redis::Config::default()
        };
        settings.redis = Some(redis);
        patient(settings);
        settings.tier.lease = millis(900);
        settings.tier.lookup_budget = budget;
    });
    let proxy = proxy.await;
    proxy.joined().await;
    proxy
}

/// It lives, and can't say so: another takes its place, and what it writes later is refused.
#[tokio::test]
async fn a_leader_whose_heartbeat_is_lost_is_replaced_and_its_late_write_refused() {
    let redis = Redis::start().await;
    let between = Between::to(&redis).await;
    let (origin, gate) = first_held("old", "new").await;
    let first = behind(&between, &origin, secs(5)).await;
    let fleet = nodes(&redis, &origin, 3).await;
    let old = first.start_all(1, &get("/")).await;
    origin.arrived(1).await;
    let tasks = start_at_each(&fleet[1..], 5).await;
    waiting(&fleet, 2).await;
    between.set(Way::Stalled);
    assert!(all(tasks).await.iter().all(|it| it.text() == "new"));
    assert_eq!(origin.count(), 2);
    between.set(Way::Open);
    gate.open();
    assert_eq!(all(old).await[0].text(), "old");
    first.wrote(Wrote::Fenced, 1).await;
    assert_eq!(fleet[0].get("/").await.text(), "new");
}

#[tokio::test]
async fn a_node_that_waits_and_is_cut_off_goes_to_the_origin() {
    let redis = Redis::start().await;
    let between = Between::to(&redis).await;
    let (origin, gate) = first_held("x", "x").await;
    let fleet = nodes(&redis, &origin, 1).await;
    let first = fleet[0].start_all(1, &get("/")).await;
    origin.arrived(1).await;
    let other = behind(&between, &origin, secs(1)).await;
    let cut_off = other.start_all(5, &get("/")).await;
    eventually("the wait", || other.tier().waiting_for_others() == 1).await;
    between.set(Way::Stalled);
    assert!(all(cut_off).await.iter().all(|it| it.text() == "x"));
    assert_eq!(origin.count(), 2);
    gate.open();
    all(first).await;
}

/// A message is a hint: without any, who waits looks again before long.
#[tokio::test]
async fn without_messages_nodes_look_by_themselves() {
    let redis = Redis::start().await;
    redis.run_line("ACL SETUSER ann on >secret ~* &* +@all -subscribe").await;
    let gate = Gate::new();
    let closed = gate.clone();
    let origin = Origin::start(move |_| ok("x").fresh(600).gate(&closed)).await;
    let mut fleet = nodes(&redis, &origin, 1).await;
    let first = fleet[0].start_all(1, &get("/")).await;
    origin.arrived(1).await;
    let other = node(&redis, &origin, |settings| {
        patient(settings);
        settings.tier.lease = millis(900);
        let redis = settings.redis.as_mut().expect("configured");
        redis.login.username = Some("ann".to_owned());
        redis.login.password = Some(Secret("secret".to_owned()));
    });
    fleet.push(other.await);
    let tasks = fleet[1].start_all(5, &get("/")).await;
    waiting(&fleet, 1).await;
    gate.open();
    assert!(all(tasks).await.iter().all(|it| it.text() == "x"));
    all(first).await;
    assert_eq!((origin.count(), waits(&fleet, Waited::Answered)), (1, 1));
}
