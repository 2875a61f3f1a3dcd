//! The program, as operators run it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};

use super::*;

/// It with these arguments, and none from the environment.
pub fn seawall(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEAWALL_")) {
        command.env_remove(name);
    }
    command
}

/// Where a file of a test may stand.
pub fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("seawall-cli-{}-{name}", std::process::id()))
}

/// A running `seawall serve`; killed when dropped.
pub struct Served {
    pub child: Child,
    pub log: PathBuf,
    pub address: SocketAddr,
}

impl Served {
    /// Starts it, and finds the port that it chose in the line that it says at the start.
    pub async fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(name, arguments, &[]).await
    }

    /// The same, with more in its environment.
    pub async fn start_with(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = temporary(name);
        let file = File::create(&log).unwrap();
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let child = seawall(&[&fixed[..], arguments].concat())
            .envs(environment.iter().copied())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut address = None;
        eventually("the line that tells the address", || {
            let said = std::fs::read_to_string(&log).unwrap();
            let words = said.split(|c: char| !c.is_ascii_digit() && !".:".contains(c));
            let mut addresses = words.filter_map(|word| word.parse::<SocketAddr>().ok());
            address = addresses.find(|address| address.port() != 0);
            said.contains('\n') && address.is_some()
        })
        .await;
        Self { child, log, address: address.unwrap() }
    }

    /// Bytes of its memory that the system has given it.
    pub fn resident(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
        let pages: usize = statm.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    /// How often it has been given memory that it had not touched before.
    pub fn faults(&self) -> usize {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name, which may be any: the eighth.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(7).unwrap().parse().unwrap()
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: slim images have no program of that name.
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub async fn code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("its end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
