//! A real proxy on a socket between a client that sends any bytes and an origin that reads with
//! the strict reader.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use seawall::app::{App, Running};
use seawall::clock::Clock;
use seawall::config::{CliOverrides, Toggled, origin, parse};

use super::strict::{self, Fault, Seen};

/// How long anything may take: far above what any input needs, below what a fuzzer calls a hang.
const BOUND: Duration = Duration::from_secs(5);

/// Targets that get the script's bytes for an answer, and not the usual one.
pub const SCRIPTED: &str = "/scripted";

/// A proxy and its origin. They live as long as the process.
pub struct Stage {
    address: SocketAddr,
    shared: Arc<Shared>,
    turn: Mutex<()>,
    _running: Running,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    faults: Mutex<Vec<String>>,
    script: Mutex<Script>,
}

/// What the origin answers to [`SCRIPTED`] targets.
#[derive(Clone, Default)]
pub struct Script {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the connection stays open behind them.
    pub keep: bool,
}

/// A stage that nobody else uses at the time.
pub struct Turn<'a> {
    stage: &'a Stage,
    _guard: MutexGuard<'a, ()>,
}

/// Whether a client ends its side once it has sent all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// It does.
    Finishes,
    /// It waits for the proxy to end the connection.
    Waits,
}

impl Stage {
    /// Starts both.
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let upstream = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(&stream));
            }
        });
        let overrides = CliOverrides {
            origin: origin(&format!("http://{upstream}")).ok(),
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            admin_listen: Some(Toggled::Off),
            access_log: Some(Toggled::Off),
            threads: Some(1),
            ..CliOverrides::default()
        };
        let settings = parse("", &overrides).expect("good settings");
        let running = App::start(settings, Clock::System).expect("a start");
        let address = running.addresses()[0];
        Self { address, shared, turn: Mutex::default(), _running: running }
    }

    /// Waits for others to be done with it.
    pub fn turn(&self) -> Turn<'_> {
        let guard = lock(&self.turn);
        lock(&self.shared.seen).clear();
        lock(&self.shared.faults).clear();
        Turn { stage: self, _guard: guard }
    }
}

impl Turn<'_> {
    /// Sets what [`SCRIPTED`] targets get.
    pub fn script(&self, script: Script) {
        *lock(&self.stage.shared.script) = script;
    }

    /// Sends `bytes` on a new connection and returns all that comes until it ends.
    pub fn send(&self, bytes: &[u8], client: Client) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.stage.address).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(BOUND)).expect("a TCP socket");
        // The proxy may have hung up already, which the answer tells.
        let _ = stream.write_all(bytes);
        if client == Client::Finishes {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut said = Vec::new();
        if let Err(error) = stream.read_to_end(&mut said) {
            let timed_out = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            let shown = String::from_utf8_lossy(&said);
            assert!(!timed_out, "the connection did not end; it said {shown:?}");
        }
        said
    }

    /// What the origin has seen of whole requests.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.stage.shared.seen))
    }

    /// What reached the origin and should not have.
    pub fn faults(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.stage.shared.faults))
    }
}

impl Shared {
    fn serve(&self, mut stream: &TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut reader = BufReader::new(stream);
        loop {
            let (mut seen, framing) = match strict::request_head(&mut reader) {
                Ok(Some(head)) => head,
                Ok(None) | Err(Fault::Cut) => return,
                Err(Fault::Bad(what)) => return lock(&self.faults).push(what),
            };
            if seen.fields.iter().any(|(name, _)| name == "expect") {
                let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            match strict::body(&mut reader, framing, &mut seen.body) {
                Ok(()) => {}
                Err(Fault::Cut) => return,
                Err(Fault::Bad(what)) => return lock(&self.faults).push(what),
            }
            let scripted = seen.target.starts_with(SCRIPTED);
            let echo = echo(&seen);
            lock(&self.seen).push(seen.clone());
            if scripted {
                let Script { bytes, keep } = lock(&self.script).clone();
                if stream.write_all(&bytes).is_err() || !keep {
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = reader.read_to_end(&mut Vec::new());
                    return;
                }
                continue;
            }
            let length = echo.len();
            let body = if seen.method == "HEAD" { "" } else { &echo };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// What the origin answers to a request that is not scripted.
pub fn echo(seen: &Seen) -> String {
    format!("{} {}\n", seen.method, seen.target)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
