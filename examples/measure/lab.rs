//! Where servers run: a folder in memory, an origin, free ports, and a core of their own.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client;
use crate::kernel;
use crate::origin::COUNT;

/// The core of generators, of the origin and of this program.
pub(crate) const OUR_CORE: usize = 1;

/// Which cores a server or a generator may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// The first: a server's.
    First,
    /// The second: what asks and answers it.
    Second,
    /// Both, for all.
    Both,
}

impl Cores {
    const fn list(self) -> &'static str {
        match self {
            Self::First => "0",
            Self::Second => "1",
            Self::Both => "0,1",
        }
    }

    /// A program that runs on these cores, and ends when this one does, however that ends.
    pub(crate) fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", self.list(), "setpriv", "--pdeathsig", "TERM"]).arg(program.as_ref());
        command
    }
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Of the same server, where it speaks TLS.
    pub(crate) tls: SocketAddr,
    pub(crate) folder: PathBuf,
    process: Child,
}

impl Server {
    /// Seconds of CPU so far.
    pub(crate) fn cpu(&self) -> f64 {
        kernel::cpu_of_tree(self.process.id())
    }

    /// Bytes that it has in memory, and in its cache's folder, which is in memory too.
    pub(crate) fn memory(&self) -> u64 {
        kernel::memory_of_tree(self.process.id()) + kernel::disk_of(&self.folder.join("cache"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        // A signal that masters pass on to their workers.
        let id = Pid::from_child(&self.process);
        let _ = kill_process(id, Signal::TERM);
        let asked = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A program, and its arguments.
pub(crate) type CommandLine = (PathBuf, Vec<String>);

/// What a server is started by: a command for an address and a folder.
pub(crate) struct Start<'a> {
    pub(crate) name: &'a str,
    pub(crate) cores: Cores,
    /// Texts of its configuration with `@WORD@`s in them, and their names in the server's folder.
    pub(crate) templates: &'a [(&'a str, &'a str)],
    /// What else those words stand for.
    pub(crate) words: &'a [(&'a str, &'a str)],
    pub(crate) command: &'a dyn Fn(&Path, SocketAddr) -> CommandLine,
}

/// A folder, an origin, and a certificate.
pub(crate) struct Lab {
    folder: PathBuf,
    /// The program that is measured beside others.
    pub(crate) seawall: PathBuf,
    pub(crate) origin: Server,
}

impl Lab {
    pub(crate) fn open(seawall: &Path) -> io::Result<Self> {
        let folder = PathBuf::from("/dev/shm/seawall-measure");
        // What a run that was killed has left.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        certify(&folder)?;
        let origin = Self::start_origin(&folder)?;
        Ok(Self { folder, seawall: fs::canonicalize(seawall)?, origin })
    }

    fn start_origin(folder: &Path) -> io::Result<Server> {
        let (address, tls) = (free_address()?, free_address()?);
        let mut command = Cores::Second.command(std::env::current_exe()?);
        command.args(["origin", &address.to_string()]);
        let folder = folder.join("origin");
        fs::create_dir_all(&folder)?;
        let process = spawn(command, &folder)?;
        started(Server { address, tls, folder, process })
    }

    /// Starts a server before the origin, and waits until it listens.
    pub(crate) fn start(&self, start: &Start<'_>) -> io::Result<Server> {
        let (address, tls) = (free_address()?, free_address()?);
        let folder = self.folder.join(format!("{}-{}", start.name, address.port()));
        fs::create_dir_all(folder.join("cache"))?;
        for file in ["cert.pem", "key.pem", "both.pem"] {
            fs::copy(self.folder.join(file), folder.join(file))?;
        }
        let threads = if start.cores == Cores::Both { "2" } else { "1" };
        let origin = self.origin.address;
        let own = [
            ("ADDRESS", address.to_string()),
            ("TLS_ADDRESS", tls.to_string()),
            ("FOLDER", folder.display().to_string()),
            ("THREADS", threads.to_owned()),
            ("ORIGIN", origin.to_string()),
            ("ORIGIN_HOST", origin.ip().to_string()),
            ("ORIGIN_PORT", origin.port().to_string()),
        ];
        let words = own.iter().map(|(word, value)| (*word, value.as_str()));
        let words: Vec<_> = words.chain(start.words.iter().copied()).collect();
        for (text, file) in start.templates {
            let fill = |text: String, (word, value): &(&str, &str)| {
                text.replace(&format!("@{word}@"), value)
            };
            fs::write(folder.join(file), words.iter().fold((*text).to_owned(), fill))?;
        }
        let (program, arguments) = (start.command)(&folder, address);
        let mut command = start.cores.command(program);
        command.args(arguments);
        let process = spawn(command, &folder)?;
        started(Server { address, tls, folder, process })
    }

    /// How many requests have reached the origin.
    pub(crate) fn reached_origin(&self) -> io::Result<u64> {
        let (_, text) = client::get(self.origin.address, COUNT)?;
        String::from_utf8_lossy(&text).parse().map_err(io::Error::other)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(mut command: Command, folder: &Path) -> io::Result<Child> {
    let log = File::create(folder.join("output"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// Waits until a server listens; with what it said where it does not.
fn started(mut server: Server) -> io::Result<Server> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let began = Instant::now();
    while TcpStream::connect(server.address).is_err() {
        let ended = server.process.try_wait()?.is_some();
        if ended || began.elapsed() > PATIENCE {
            let said = fs::read_to_string(server.folder.join("output")).unwrap_or_default();
            let folder = server.folder.display();
            return Err(io::Error::other(format!("{folder}: does not listen: {said}")));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(server)
}

/// One that nobody listens on; the servers want to be told.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A certificate (ECDSA, P-256) and its key, as all of the servers want them.
fn certify(folder: &Path) -> io::Result<()> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(folder.join("cert.pem"), &certificate)?;
    fs::write(folder.join("key.pem"), &key)?;
    fs::write(folder.join("both.pem"), certificate + &key)
}
