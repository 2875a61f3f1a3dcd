//! What the kernel tells of processes: their CPU and memory, and what else the machine does.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the state and the times stand in a line of `stat`, counted behind the name: the process's own
/// times (user, system), then those of its children that have ended and were waited for.
const STATE: usize = 0;
const OWN_TIMES: usize = 11;
const CHILDREN_TIMES: usize = 13;

/// The first two cores that this process may use: one for servers, one for what asks and answers them.
pub(crate) fn two_cores() -> io::Result<[usize; 2]> {
    let ours = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| ours.is_set(*core));
    match (cores.next(), cores.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(io::Error::other("two cores are needed, and this process may use one only")),
    }
}

/// Leaves this process, and what it starts, one core.
pub(crate) fn stay_on_core(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Seconds of CPU, user and system, of a process and all below it; workers that have ended count.
pub(crate) fn cpu_of_tree(root: u32) -> f64 {
    tree(root)
        .into_iter()
        .map(|id| cpu_with_ended(&format!("/proc/{id}/stat")).unwrap_or(0.0))
        .sum()
}

/// Seconds of CPU of this process, and of its children that have ended.
pub(crate) fn own_cpu() -> io::Result<f64> {
    cpu_with_ended("/proc/self/stat")
}

/// Whether a process has not ended, waited for or not.
pub(crate) fn is_running(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    behind_name(&stat).nth(STATE).is_some_and(|state| !matches!(state, "Z" | "X"))
}

/// Seconds in which any core did anything, since the machine began; of a virtual machine also those
/// that its host kept for others.
pub(crate) fn busy() -> io::Result<f64> {
    const IDLE: [usize; 2] = [3, 4];
    const GUESTS: usize = 8;
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).take(GUESTS).enumerate();
    let busy = ticks.filter(|(place, _)| !IDLE.contains(place));
    Ok(seconds(busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()))
}

/// Bytes of memory that are a process's and those below it; what is shared counts in parts (PSS).
pub(crate) fn memory_of_tree(root: u32) -> u64 {
    let kib = |id: u32| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    tree(root).into_iter().filter_map(kib).sum::<u64>() * 1024
}

/// Bytes that the files below a folder take.
pub(crate) fn disk_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => disk_of(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn cpu_with_ended(file: &str) -> io::Result<f64> {
    let text = fs::read_to_string(file)?;
    let ticks = |place| behind_name(&text).skip(place).take(2);
    let all = ticks(OWN_TIMES).chain(ticks(CHILDREN_TIMES));
    Ok(seconds(all.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()))
}

/// What stands in a line of `stat` behind the name, which may have blanks and parentheses.
fn behind_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// A process, and all below it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&id) = found.get(next) {
        next += 1;
        for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;

    /// A shell that has a child, which counts, and one that it waits for.
    #[test]
    fn cpu_of_workers_that_have_ended_is_not_lost() {
        const WORK: &str =
            "(i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done); echo; exec sleep 60";
        let mut shell =
            Command::new("sh").args(["-c", WORK]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0];
        io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let used = cpu_of_tree(shell.id());
        assert!(is_running(shell.id()));
        shell.kill().unwrap();
        let id = WaitId::Pid(Pid::from_child(&shell));
        waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(!is_running(shell.id()), "although nobody has waited for it yet");
        shell.wait().unwrap();
        assert!(!is_running(shell.id()));
        assert!(used > 0.0, "{used}");
    }

    #[test]
    fn a_name_may_look_like_what_is_behind_it() {
        let mut fields = behind_name("7 (a) R 1 2) S 1 7");
        assert_eq!(fields.next(), Some("S"));
        assert_eq!(behind_name("").next(), None);
    }
}
