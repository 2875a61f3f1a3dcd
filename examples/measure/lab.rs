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
use crate::interrupt;
use crate::kernel;
use crate::origin::COUNT;
use crate::peer::needed;

/// Which cores of two a server or a generator may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// The first: a server's.
    First,
    /// The second: what asks and answers it.
    Second,
    /// Both, for all.
    Both,
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Of the same server, where it speaks TLS.
    pub(crate) tls: SocketAddr,
    folder: PathBuf,
    process: Child,
}

impl Server {
    /// # Errors
    /// If it has ended, with what it said last.
    pub(crate) fn check(&self) -> io::Result<()> {
        if kernel::is_running(self.process.id()) {
            return Ok(());
        }
        Err(io::Error::other(format!("the server has ended: {}", self.said())))
    }

    /// The end of what it has written.
    fn said(&self) -> String {
        const MOST_LINES: usize = 8;
        let said = fs::read_to_string(self.folder.join("output")).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(MOST_LINES)..].join("\n    ")
    }

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
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let asked = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if asked.elapsed() > PATIENCE {
                // Which nobody can pass on.
                let all = kernel::tree(self.process.id()).into_iter();
                for id in all.filter_map(|id| Pid::from_raw(id.cast_signed())) {
                    let _ = kill_process(id, Signal::KILL);
                }
                let _ = self.process.wait();
                break;
            }
            sleep(Duration::from_millis(20));
        }
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

/// Where everything is that servers write: in memory.
const FOLDER: &str = "/dev/shm/seawall-measure";

/// A folder, an origin, a certificate, and two cores.
pub(crate) struct Lab {
    cores: [usize; 2],
    /// The program that is measured beside others.
    pub(crate) seawall: PathBuf,
    pub(crate) origin: Server,
    // The last to go: the origin's own is in it.
    folder: Folder,
}

impl Lab {
    /// Generators, the origin and this program are on the second core from then on.
    pub(crate) fn open(seawall: &Path) -> io::Result<Self> {
        let cores = kernel::two_cores()?;
        kernel::stay_on_core(cores[1])?;
        // What all programs are started by.
        needed("taskset").and(needed("setpriv"))?;
        let folder = Folder::emptied(FOLDER.into())?;
        certify(&folder.path)?;
        let origin = start_origin(cores, &folder.path)?;
        Ok(Self { cores, seawall: fs::canonicalize(seawall)?, origin, folder })
    }

    /// A program that runs on these cores, and ends when this one does, however that ends.
    pub(crate) fn command(&self, cores: Cores, program: &Path) -> Command {
        pinned(self.cores, cores, program)
    }

    /// Starts a server before the origin, and waits until it listens.
    pub(crate) fn start(&self, start: &Start<'_>) -> io::Result<Server> {
        interrupt::check()?;
        let [address, tls] = free_addresses()?;
        let folder = self.folder.path.join(format!("{}-{}", start.name, address.port()));
        fs::create_dir_all(folder.join("cache"))?;
        for file in ["cert.pem", "key.pem", "both.pem"] {
            fs::copy(self.folder.path.join(file), folder.join(file))?;
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
        let mut command = self.command(start.cores, &program);
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

/// A folder that belongs to one run, and goes with it.
struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// With nothing in it.
    fn emptied(path: PathBuf) -> io::Result<Self> {
        let because = |why: String| io::Error::other(format!("{}: {why}", path.display()));
        let failed =
            |error: io::Error| because(format!("caches are kept in memory there: {error}"));
        fs::create_dir_all(&path).map_err(failed)?;
        let lock = File::open(&path).map_err(failed)?;
        lock.try_lock()
            .map_err(|_| because("another run is under way; wait for its end".into()))?;
        // What a run that was killed has left.
        for entry in fs::read_dir(&path)? {
            let left = entry?.path();
            if left.is_dir() { fs::remove_dir_all(left) } else { fs::remove_file(left) }?;
        }
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn pinned([first, second]: [usize; 2], cores: Cores, program: &Path) -> Command {
    let list = match cores {
        Cores::First => first.to_string(),
        Cores::Second => second.to_string(),
        Cores::Both => format!("{first},{second}"),
    };
    let mut command = Command::new("taskset");
    command.args(["-c", &list, "setpriv", "--pdeathsig", "TERM"]).arg(program);
    command
}

fn start_origin(cores: [usize; 2], folder: &Path) -> io::Result<Server> {
    let [address, tls] = free_addresses()?;
    let mut command = pinned(cores, Cores::Second, &std::env::current_exe()?);
    command.args(["origin", &address.to_string()]);
    let folder = folder.join("origin");
    fs::create_dir_all(&folder)?;
    let process = spawn(command, &folder)?;
    started(Server { address, tls, folder, process })
}

fn spawn(mut command: Command, folder: &Path) -> io::Result<Child> {
    let log = File::create(folder.join("output"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// Waits until a server listens; with what it said where it does not.
fn started(server: Server) -> io::Result<Server> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let began = Instant::now();
    while TcpStream::connect(server.address).is_err() {
        interrupt::check()?;
        server.check()?;
        if began.elapsed() > PATIENCE {
            let (seconds, said) = (PATIENCE.as_secs(), server.said());
            let why = format!("the server did not listen within {seconds} s: {said}");
            return Err(io::Error::other(why));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(server)
}

/// Two that nobody listens on; the servers want to be told.
fn free_addresses() -> io::Result<[SocketAddr; 2]> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([one.local_addr()?, other.local_addr()?])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_emptied_and_belongs_to_one_run() {
        let folder = std::env::temp_dir().join(format!("seawall-lab-{}", std::process::id()));
        fs::create_dir_all(folder.join("left/over")).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        let ours = Folder::emptied(folder.clone()).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let refused = |folder: &Path| Folder::emptied(folder.into()).err().unwrap().to_string();
        fs::write(folder.join("ours"), "").unwrap();
        assert!(refused(&folder).contains("another run is under way"));
        assert!(folder.join("ours").exists());
        drop(ours);
        assert!(!folder.exists());
        drop(Folder::emptied(folder.clone()).unwrap());
        fs::write(&folder, "a file").unwrap();
        assert!(refused(&folder.join("below")).contains("caches are kept in memory there"));
        fs::remove_file(folder).unwrap();
    }

    /// A program that ends instead of listening, and one that runs until it is dropped.
    #[test]
    fn a_server_that_has_ended_is_told_with_what_it_said() {
        let folder = std::env::temp_dir().join(format!("seawall-server-{}", std::process::id()));
        let start = |script: &str| {
            fs::create_dir_all(&folder).unwrap();
            let [address, tls] = free_addresses().unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let process = spawn(command, &folder).unwrap();
            Server { address, tls, folder: folder.clone(), process }
        };
        let refused = started(start("echo no such setting; exit 3")).unwrap_err().to_string();
        assert!(refused.contains("has ended: no such setting"), "{refused}");
        assert!(!folder.exists());
        let server = start("exec sleep 60");
        let id = server.process.id();
        server.check().unwrap();
        drop(server);
        assert!(!kernel::is_running(id) && !folder.exists());
    }
}
