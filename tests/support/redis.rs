//! A real Redis on a port of its own, and what can be done to it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, cmd};
use seawall::config::Settings;
use seawall::redis::{Address, Config, Health, Place};
use seawall::store::remote::fleet::{Doubted, Read};
use seawall::store::remote::{Looked, Tier, Wrote};

use super::{Proxy, eventually, within};

/// A running redis-server with an empty database in memory; killed when this is dropped.
pub struct Redis {
    process: Option<Child>,
    pub address: SocketAddr,
    directory: PathBuf,
    options: Vec<String>,
}

impl Redis {
    /// With default settings.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With options of its command line: `["--maxmemory", "2mb"]`. `PORT` stands for its port,
    /// `ANOTHER` for a free one.
    pub async fn with(options: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("seawall-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a folder for temporary files");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let address = free_port();
        let mut redis = Self { process: None, address, directory, options };
        redis.run().await;
        redis
    }

    /// A place where there is none: nobody listens there until [`Redis::resume`].
    pub fn absent() -> Self {
        Self::at(free_port())
    }

    /// One that somebody else has started, or nobody.
    pub fn at(address: SocketAddr) -> Self {
        Self { process: None, address, directory: std::env::temp_dir(), options: Vec::new() }
    }

    /// Starts it (again), empty, on the same port.
    pub async fn resume(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.run().await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it ran");
            process.wait().expect("it has ended");
        }
    }

    async fn run(&mut self) {
        let (directory, options) = (&self.directory, &self.options);
        let process = listening(&mut self.address, |command, port| {
            command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
            command.arg("--dir").arg(directory).args(["--port", port]);
            command.arg("--logfile").arg(directory.join("log"));
            for option in options {
                // Each time another one: the last may have been taken meanwhile.
                let another = || free_port().port().to_string();
                match option.as_str() {
                    "ANOTHER" => command.arg(another()),
                    option => command.arg(option.replace("PORT", port)),
                };
            }
        });
        self.process = Some(process.await);
    }

    /// Where it is, as a proxy's settings name it.
    pub fn place(&self) -> Address {
        Address::new("127.0.0.1", self.address.port())
    }

    /// A proxy's settings for this server, with more patience than a busy machine needs.
    pub fn configure(&self, settings: &mut Settings) {
        settings.redis = Some(Config {
            place: Place::Server(self.place()),
            answers_within: Duration::from_secs(5),
            ..Config::default()
        });
        settings.tier.lookup_budget = Duration::from_secs(5);
    }

    /// Waits until `fits` holds of what it answers to a line.
    pub async fn until(&self, line: &str, fits: impl Fn(&str) -> bool) {
        let what = format!("{line} to be answered as expected");
        let mut connection = self.connection().await;
        within(&what, async {
            loop {
                let answer: ::redis::Value =
                    command(line).query_async(&mut connection).await.expect("an answer");
                if fits(&format!("{answer:?}")) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// What it answers to a command.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let mut connection = self.connection().await;
        let answer = command.query_async(&mut connection);
        within("redis' answer", answer).await.expect("an answer")
    }

    /// Does all of this, one after the other, before anybody else is served.
    pub async fn ask_all(&self, commands: &::redis::Pipeline) {
        let mut connection = self.connection().await;
        let answers = commands.query_async::<Vec<::redis::Value>>(&mut connection);
        within("redis' answers", answers).await.expect("answers");
    }

    /// Waits until a replica has all that was written so far.
    pub async fn replicated(&self) {
        let mut connection = self.connection().await;
        within("the replica to have everything", async {
            // Only what the same connection has written is waited for.
            let mut ask = ::redis::pipe();
            ask.cmd("SET").arg("last").arg(1).ignore().cmd("WAIT").arg(1).arg(0);
            let [replicas]: [u32; 1] = ask.query_async(&mut connection).await.expect("an answer");
            assert_eq!(replicas, 1);
        })
        .await;
    }

    /// What it answers to a command, for people.
    pub async fn text(&self, command: &Cmd) -> String {
        format!("{:?}", self.ask::<::redis::Value>(command).await)
    }

    /// Does what a line says: `"CONFIG SET maxmemory 1"`.
    pub async fn run_line(&self, line: &str) {
        let _: ::redis::Value = self.ask(&command(line)).await;
    }

    /// The names of all keys that hold responses.
    pub async fn keys(&self) -> Vec<String> {
        let keys: Vec<String> = self.ask(cmd("KEYS").arg("*")).await;
        let is_response =
            |key: &String| key.contains('{') && !key.contains("}:l") && !key.contains(":nodes:");
        keys.into_iter().filter(is_response).collect()
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = Client::open(format!("redis://{}", self.address)).expect("a URL");
        // `within` is what bounds an answer, however large.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        within("a connection to redis", connection).await.expect("it listens")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        if self.directory != std::env::temp_dir() {
            print_log(&self.directory);
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Shows what a server in this folder has logged, where the test that it is for fails.
#[expect(clippy::print_stderr, reason = "for whoever looks at the failure")]
pub(super) fn print_log(directory: &Path) {
    if std::thread::panicking() {
        let log = std::fs::read(directory.join("log")).unwrap_or_default();
        eprintln!("{}:\n{}", directory.display(), String::from_utf8_lossy(&log));
    }
}

fn command(line: &str) -> Cmd {
    let mut words = line.split(' ');
    let mut command = cmd(words.next().expect("a command"));
    words.for_each(|word| {
        command.arg(word);
    });
    command
}

/// Names the program that the tests start in the place of `redis-server`: any of its forks.
const PROGRAM: &str = "SEAWALL_REDIS_SERVER";

/// Starts the program with the arguments that `tune` gives for a port, and waits until it listens
/// there: at `address`, or at another port where somebody else has that one.
pub(super) async fn listening(
    address: &mut SocketAddr,
    tune: impl Fn(&mut Command, &str),
) -> Child {
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into());
    for _ in 0..5 {
        let mut command = Command::new(&program);
        tune(&mut command, &address.port().to_string());
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut process = process.unwrap_or_else(|error| {
            panic!("these tests need redis-server, which `make prerequisites` installs: {error}")
        });
        let (mut ended, there) = (false, *address);
        eventually("redis-server", || {
            ended = process.try_wait().expect("a child").is_some();
            ended || std::net::TcpStream::connect(there).is_ok()
        })
        .await;
        if !ended {
            return process;
        }
        // Between finding a port and using it, somebody else may take it.
        *address = free_port();
    }
    panic!("{} does not start", program.display());
}

pub(super) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address")
}

impl Proxy {
    /// The tier behind memory.
    pub fn tier(&self) -> &Tier {
        self.cache().tier().expect("the settings ask for it")
    }

    /// Waits until Redis is asked and written to, and other nodes' purges are heard.
    pub async fn joined(&self) {
        eventually("redis to be there", || self.tier().health() == Health::Good).await;
        self.hearing().await;
    }

    /// Waits until other nodes' purges are heard.
    pub async fn hearing(&self) {
        eventually("the stream to be read", || self.tier().fleet().deaf().is_none()).await;
    }

    /// Waits until so many entries of the stream came to this.
    pub async fn read(&self, outcome: Read, count: u64) {
        let what = format!("{count} entries that are {}", outcome.word());
        eventually(&what, || self.tier().fleet().counters().entries(outcome) >= count).await;
    }

    /// Waits until everything was doubted for this reason.
    pub async fn doubted(&self, why: Doubted) {
        let what = format!("a doubt: {}", why.word());
        eventually(&what, || self.tier().fleet().counters().doubts(why) > 0).await;
    }

    /// Waits until Redis is left alone.
    pub async fn parted(&self) {
        let down = || matches!(self.tier().health(), Health::Down(_));
        eventually("redis to be left alone", down).await;
    }

    /// Waits until so many responses came to this.
    pub async fn wrote(&self, outcome: Wrote, count: u64) {
        let what = format!("{count} writes to be {}", outcome.word());
        eventually(&what, || self.tier().counters().writes(outcome) >= count).await;
    }

    /// Lookups that came to this.
    pub fn looked(&self, outcome: Looked) -> u64 {
        self.tier().counters().lookups(outcome)
    }
}
