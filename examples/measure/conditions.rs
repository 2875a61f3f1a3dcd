//! On what a measurement was made.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::lab::Lab;
use crate::peer::{Peer, find, version_of};
use crate::rounds::Turns;

/// The machine and the programs of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Conditions {
    date: String,
    processor: String,
    cores: usize,
    is_virtual: bool,
    system: String,
    programs: Vec<String>,
    #[serde(flatten)]
    pub(crate) turns: Turns,
}

/// What they are kept as, for a group of things that are measured.
pub(crate) fn file(group: &str) -> String {
    format!("{group}-conditions")
}

impl Conditions {
    pub(crate) fn of(lab: &Lab, turns: Turns) -> io::Result<Self> {
        let processor = fs::read_to_string("/proc/cpuinfo")?;
        let line = |name: &str| {
            let found = processor.lines().find(|line| line.starts_with(name));
            found.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let release = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let release = release.unwrap_or("Linux").trim_matches('"');
        let peers = Peer::ALL.into_iter().filter(|peer| *peer != Peer::NginxCopying);
        let versions = peers.filter_map(|peer| Some((peer.name(), peer.version(lab)?)));
        let generators = [("wrk", "-v"), ("h2load", "--version")].into_iter();
        let generators =
            generators.filter_map(|(name, flag)| Some((name, version_of(&find(name)?, flag)?)));
        Ok(Self {
            date: OffsetDateTime::now_utc().date().to_string(),
            processor: line("model name").to_owned(),
            cores: processor.lines().filter(|line| line.starts_with("processor")).count(),
            is_virtual: line("flags").split(' ').any(|flag| flag == "hypervisor"),
            system: format!("{release}, kernel {}", kernel.trim()),
            programs: versions
                .chain(generators)
                .map(|(name, version)| format!("{name} {version}"))
                .collect(),
            turns,
        })
    }

    /// When, on what, and `how`: how often and how long.
    pub(crate) fn told(&self, how: &str) -> String {
        let Self { date, processor, cores, system, .. } = self;
        let machine = if self.is_virtual { "a virtual machine" } else { "a machine" };
        let programs = self.programs.join(", ");
        format!(
            "Measured on {date} on {machine} with {cores} cores ({processor}), {system}, over loopback: \
             {programs}. Servers have a thread on the first core, generator and origin the second; \
             {how}.\n\n"
        )
    }
}
