//! A primary, a replica and three sentinels, as they are run for real.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::cmd;
use seawall::config::Settings;
use seawall::redis::{Address, Config, Place, Sentinel};

use super::Redis;
use super::redis::{free_port, listening, print_log};

/// What the sentinels call the primary.
const PRIMARY: &str = "shop";

/// A sentinel that notices first and two that agree with it: an election has one candidate, and is
/// not split. Milliseconds.
const DOWN_AFTER: [u32; 3] = [1000, 6000, 6000];

/// Servers that watch each other. All end when this is dropped.
pub struct Watched {
    /// The first is the primary to begin with.
    pub servers: [Redis; 2],
    sentinels: Vec<Guard>,
}

/// One sentinel.
pub struct Guard {
    process: Child,
    directory: PathBuf,
    /// To be asked like any Redis.
    pub server: Redis,
}

impl Watched {
    pub async fn start() -> Self {
        Self::with(&[], &[]).await
    }

    /// With options for the servers' command line, and lines for the sentinels' files. `PORT` stands
    /// for the port of each.
    pub async fn with(options: &[&str], lines: &[&str]) -> Self {
        // Else it waits for more replicas.
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let primary = Redis::with(&[options, &at_once].concat()).await;
        let port = primary.address.port().to_string();
        let replica = Redis::with(&[options, &["--replicaof", "127.0.0.1", &port]].concat()).await;
        let mut sentinels = Vec::new();
        for down_after in DOWN_AFTER {
            sentinels.push(Guard::start(&port, down_after, lines).await);
        }
        let watched = Self { servers: [primary, replica], sentinels };
        if options.is_empty() {
            watched.servers[1].until("INFO replication", |it| it.contains("status:up")).await;
            watched.is_known(1).await;
        }
        watched
    }

    /// Waits until every sentinel knows the others, and the server `replica` as a replica.
    pub async fn is_known(&self, replica: usize) {
        let port = self.servers[replica].address.port().to_string();
        for server in self.sentinels() {
            let others = |text: &str| text.matches("\"runid\"").count() == DOWN_AFTER.len() - 1;
            server.until(&format!("SENTINEL SENTINELS {PRIMARY}"), others).await;
            let is_up = |text: &str| {
                text.contains(&port) && text.contains("\"ok\"") && !text.contains("disconnected")
            };
            server.until(&format!("SENTINEL REPLICAS {PRIMARY}"), is_up).await;
        }
    }

    /// Has the replica become the primary, although nothing is wrong with the one there is. It has
    /// what was written before: what it has not is lost by such a change.
    pub async fn fail_over(&self) {
        self.servers[0].replicated().await;
        self.sentinels[0].server.run_line(&format!("SENTINEL FAILOVER {PRIMARY}")).await;
    }

    /// To be asked like any Redis.
    pub fn sentinels(&self) -> impl Iterator<Item = &Redis> {
        self.sentinels.iter().map(|guard| &guard.server)
    }

    /// A proxy's settings for these, with more patience than a busy machine needs.
    pub fn configure(&self, settings: &mut Settings) {
        let nodes = self.sentinels().map(Redis::place).collect();
        let sentinel = Sentinel { primary: PRIMARY.to_owned(), nodes, ..Sentinel::default() };
        settings.redis = Some(Config {
            place: Place::Sentinel(sentinel),
            answers_within: Duration::from_secs(5),
            ..Config::default()
        });
        settings.tier.lookup_budget = Duration::from_secs(5);
    }

    /// Whether the first sentinel names this server.
    pub async fn primary_is(&self, server: usize) -> bool {
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(PRIMARY);
        let (host, port): (String, u16) = self.sentinels[0].server.ask(&question).await;
        Address::new(&host, port) == self.servers[server].place()
    }
}

impl Guard {
    async fn start(primary: &str, down_after: u32, lines: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("seawall-sentinel-{}-{number}", std::process::id());
        // It writes its file and waits for the disk. While that takes two seconds, which a busy disk
        // does, it thinks its clock wrong, and does nothing for half a minute.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = folder.join(name);
        std::fs::create_dir_all(&directory).expect("a folder for temporary files");
        let mut address = free_port();
        let process = listening(&mut address, |command, port| {
            let file = directory.join("sentinel.conf");
            let mut text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nlogfile {}\n\
                 sentinel monitor {PRIMARY} 127.0.0.1 {primary} 1\n\
                 sentinel down-after-milliseconds {PRIMARY} {down_after}\n\
                 sentinel failover-timeout {PRIMARY} 4000\n",
                directory.display(),
                directory.join("log").display(),
            );
            for line in lines {
                text.push_str(&line.replace("PORT", port));
                text.push('\n');
            }
            std::fs::write(&file, text).expect("a file of its own");
            command.arg(file).arg("--sentinel");
        });
        let process = process.await;
        Self { process, directory, server: Redis::at(address) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        print_log(&self.directory);
        // It may have ended by itself, which is no concern any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
