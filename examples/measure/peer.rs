//! The servers that are compared, and how each is started.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::lab::{CommandLine, Cores, Lab, Server, Start};

/// A server, or a way to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Peer {
    Nginx,
    /// Bodies are copied into one write, which suits small ones.
    NginxCopying,
    /// One fetch for a missing key; stale while it is under way.
    NginxLocking,
    Haproxy,
    Varnish,
    TrafficServer,
    Squid,
    Seawall,
}

/// How much a server may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// More than it is asked for.
    Plenty,
    /// [`SMALL_ROOM`], which it can be filled with.
    Small,
    /// Plenty, and those that can have taken it from the system before they are asked for anything.
    Taken,
}

/// MiB of plenty, where nothing else bounds it.
const PLENTY: u64 = 4 * 1024;

/// MiB of a small room.
pub(crate) const SMALL_ROOM: u64 = 256;

impl Room {
    /// The word for it where there are `plenty` MiB otherwise.
    fn mib(self, plenty: u64) -> String {
        match self {
            Self::Plenty | Self::Taken => plenty,
            Self::Small => SMALL_ROOM,
        }
        .to_string()
    }
}

impl Peer {
    /// Those whose requests are counted in CPU, in the order of the tables.
    pub(crate) const ALL: [Self; 7] = [
        Self::Nginx,
        Self::NginxCopying,
        Self::Haproxy,
        Self::Varnish,
        Self::TrafficServer,
        Self::Squid,
        Self::Seawall,
    ];

    /// Those that crowds are sent to.
    pub(crate) const IN_STAMPEDES: [Self; 7] = [
        Self::Nginx,
        Self::NginxLocking,
        Self::Haproxy,
        Self::Varnish,
        Self::TrafficServer,
        Self::Squid,
        Self::Seawall,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxCopying => "nginx, sendfile off",
            Self::NginxLocking => "nginx, lock and stale",
            Self::Haproxy => "HAProxy",
            Self::Varnish => "Varnish",
            Self::TrafficServer => "Traffic Server",
            Self::Squid => "Squid",
            Self::Seawall => "Seawall",
        }
    }

    pub(crate) const fn speaks_tls(self) -> bool {
        !matches!(self, Self::Varnish | Self::Squid)
    }

    /// Whether what it takes can be seen to grow with what it stores.
    pub(crate) const fn takes_memory_as_it_goes(self) -> bool {
        !matches!(self, Self::Haproxy)
    }

    /// The Debian package, its program, and what makes that tell its version.
    const fn package(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Nginx | Self::NginxCopying | Self::NginxLocking => Some(("nginx", "nginx", "-v")),
            Self::Haproxy => Some(("haproxy", "haproxy", "-v")),
            Self::Varnish => Some(("varnish", "varnishd", "-V")),
            Self::TrafficServer => Some(("trafficserver", "traffic_server", "-V")),
            Self::Squid => Some(("squid", "squid", "-v")),
            Self::Seawall => None,
        }
    }

    /// Of the given ones those that are installed; of the others the package is told.
    pub(crate) fn installed(all: &[Self]) -> Vec<Self> {
        let is_there = |peer: &&Self| match peer.package() {
            Some((package, program, _)) if find(program).is_none() => {
                eprintln!("{} is left out: apt install {package}", peer.name());
                false
            }
            _ => true,
        };
        all.iter().filter(is_there).copied().collect()
    }

    /// What it says its version is.
    pub(crate) fn version(self, lab: &Lab) -> Option<String> {
        match self.package() {
            Some((_, program, flag)) => version_of(&find(program)?, flag),
            None => version_of(&lab.seawall, "--version"),
        }
    }

    /// Starts it, and has it do what it will be measured at; tells why where that does not work.
    pub(crate) fn try_start(
        self,
        lab: &Lab,
        cores: Cores,
        room: Room,
        warm: impl FnOnce(&Server) -> io::Result<()>,
    ) -> Option<Server> {
        let started =
            self.start(lab, cores, room).and_then(|server| warm(&server).map(|()| server));
        started.inspect_err(|error| eprintln!("  {} is left out: {error}", self.name())).ok()
    }

    /// Starts it on `cores`, with a thread for each.
    pub(crate) fn start(self, lab: &Lab, cores: Cores, room: Room) -> io::Result<Server> {
        const NGINX: &str = include_str!("../../benches/peers/conf/nginx.conf");
        const HAPROXY: &str = include_str!("../../benches/peers/conf/haproxy.cfg");
        const VARNISH: &str = include_str!("../../benches/peers/conf/varnish.vcl");
        const SQUID: &str = include_str!("../../benches/peers/conf/squid.conf");
        const SENDFILE: &str = "sendfile on; tcp_nopush on;";
        const COPY: &str = "sendfile off; output_buffers 2 64k;";
        const LOCK: &str = "proxy_cache_lock on; proxy_cache_use_stale updating; proxy_cache_background_update on;";
        let nginx = |sending: &str, locking: &str| {
            let memory = room.mib(6 * 1024);
            let words = [("SENDING", sending), ("LOCKING", locking), ("MEMORY", &memory)];
            lab.start(&Start {
                name: "nginx",
                cores,
                templates: &[(NGINX, "nginx.conf")],
                words: &words,
                command: &|folder, _| command("nginx", &["-p", &path(folder), "-c", "nginx.conf"]),
            })
        };
        match self {
            Self::Nginx => nginx(SENDFILE, ""),
            Self::NginxCopying => nginx(COPY, ""),
            Self::NginxLocking => nginx(SENDFILE, LOCK),
            Self::Haproxy => lab.start(&Start {
                name: "haproxy",
                cores,
                templates: &[(HAPROXY, "haproxy.cfg")],
                // The most that it takes.
                words: &[("MEMORY", &room.mib(2047))],
                command: &|folder, _| {
                    command("haproxy", &["-db", "-f", &path(&folder.join("haproxy.cfg"))])
                },
            }),
            Self::Varnish => lab.start(&Start {
                name: "varnish",
                cores,
                templates: &[(VARNISH, "default.vcl")],
                words: &[],
                command: &|folder, address| varnish(folder, address, &room.mib(PLENTY)),
            }),
            Self::TrafficServer => traffic_server(lab, cores, room),
            Self::Squid => lab.start(&Start {
                name: "squid",
                cores,
                templates: &[(SQUID, "squid.conf")],
                words: &[("MEMORY", &room.mib(PLENTY))],
                command: &|folder, _| {
                    command("squid", &["-N", "-f", &path(&folder.join("squid.conf"))])
                },
            }),
            Self::Seawall => {
                let more = if room == Room::Taken { "preallocate = true" } else { "" };
                seawall_with(lab, cores, room, "off", more)
            }
        }
    }
}

/// Starts Seawall with an access log of a form, and with more in its file: keys of `[cache]`, then
/// tables.
pub(crate) fn seawall(lab: &Lab, cores: Cores, log: &str, more: &str) -> io::Result<Server> {
    seawall_with(lab, cores, Room::Plenty, log, more)
}

fn seawall_with(lab: &Lab, cores: Cores, room: Room, log: &str, more: &str) -> io::Result<Server> {
    const TEMPLATE: &str = include_str!("../../benches/peers/conf/seawall.toml");
    lab.start(&Start {
        name: "seawall",
        cores,
        templates: &[(TEMPLATE, "seawall.toml")],
        words: &[("ACCESS_LOG", log), ("MEMORY", &room.mib(PLENTY)), ("MORE", more)],
        command: &|folder, _| {
            let file = path(&folder.join("seawall.toml"));
            let arguments = ["serve", "--config", &file].map(str::to_owned);
            (lab.seawall.clone(), arguments.into())
        },
    })
}

/// Its files have to be where it is told that all of them are; what is not there has defaults.
fn traffic_server(lab: &Lab, cores: Cores, room: Room) -> io::Result<Server> {
    const RECORDS: &str = include_str!("../../benches/peers/conf/trafficserver/records.config");
    const RUNROOT: &str = include_str!("../../benches/peers/conf/trafficserver/runroot.yaml");
    const ALLOW: &str =
        "ip_allow:\n  - { apply: in, ip_addrs: 127.0.0.0/8, action: allow, methods: ALL }\n";
    lab.start(&Start {
        name: "trafficserver",
        cores,
        templates: &[
            (RECORDS, "records.config"),
            (RUNROOT, "runroot.yaml"),
            (ALLOW, "ip_allow.yaml"),
            ("map / http://@ORIGIN@/\n", "remap.config"),
            ("@FOLDER@/cache @DISK@M\n", "storage.config"),
            ("dest_ip=* ssl_cert_name=cert.pem ssl_key_name=key.pem\n", "ssl_multicert.config"),
        ],
        words: &[("MEMORY", &room.mib(PLENTY)), ("DISK", &room.mib(3 * 1024))],
        command: &|folder, _| {
            let runroot = format!("TS_RUNROOT={}", path(&folder.join("runroot.yaml")));
            let program = find("traffic_server").unwrap_or_default();
            command("env", &[&runroot, &path(&program)])
        },
    })
}

/// With a thread for each of a thousand connections.
fn varnish(folder: &Path, address: SocketAddr, mib: &str) -> CommandLine {
    let address = address.to_string();
    let vcl = path(&folder.join("default.vcl"));
    let storage = format!("malloc,{mib}M");
    let mut arguments = vec!["-F", "-j", "none", "-T", "none", "-s", &storage];
    let folder = path(folder);
    arguments.extend(["-n", &folder, "-a", &address, "-f", &vcl]);
    for parameter in [
        "thread_pools=1",
        "thread_pool_min=200",
        "thread_pool_max=5000",
        "listen_depth=4096",
        "timeout_idle=300",
    ] {
        arguments.extend(["-p", parameter]);
    }
    command("varnishd", &arguments)
}

/// A program of the path, and its arguments.
pub(crate) fn command(program: &str, arguments: &[&str]) -> CommandLine {
    let program = find(program).unwrap_or_else(|| program.into());
    (program, arguments.iter().map(|argument| (*argument).to_owned()).collect())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Where a program is; Debian's servers are where only root's path leads.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    // As it is called: some programs do what their name says.
    let mut paths = folders.map(|folder| folder.join(program));
    paths.find(|path| path.is_file())
}

/// Where a program is that nothing can be measured without.
///
/// # Errors
/// If it is not installed, with the Debian package that has it.
pub(crate) fn needed(program: &str) -> io::Result<PathBuf> {
    let package = match program {
        "h2load" => "nghttp2-client",
        "taskset" | "setpriv" => "util-linux",
        same => same,
    };
    let missing = || io::Error::other(format!("{program} is missing: apt install {package}"));
    find(program).ok_or_else(missing)
}

/// The first number with a dot in what a program says.
pub(crate) fn version_of(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let mut numbers = said.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    numbers.find(|number| number.trim_matches('.').contains('.')).map(str::to_owned)
}
