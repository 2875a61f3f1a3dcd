//! What the kernel tells of processes: their CPU and memory, and what else the machine does.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Where `times` stand in a line of `stat`, counted behind the name: the process's own (user, system)
/// and those of its children that have ended.
const OWN_TIMES: usize = 11;
const CHILDREN_TIMES: usize = 13;

/// Leaves this process, and what it starts, one core.
pub(crate) fn stay_on_core(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Seconds of CPU, user and system, of a process and all below it.
pub(crate) fn cpu_of_tree(root: u32) -> f64 {
    let times = |id: u32| times(&format!("/proc/{id}/stat"), OWN_TIMES).unwrap_or(0.0);
    tree(root).into_iter().map(times).sum()
}

/// Seconds of CPU of this process's children that have ended, and of what those waited for.
pub(crate) fn cpu_of_ended_children() -> io::Result<f64> {
    times("/proc/self/stat", CHILDREN_TIMES)
}

/// Seconds of CPU of this process itself.
pub(crate) fn own_cpu() -> io::Result<f64> {
    times("/proc/self/stat", OWN_TIMES)
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

fn times(file: &str, place: usize) -> io::Result<f64> {
    let text = fs::read_to_string(file)?;
    // The name before it may have blanks and parentheses.
    let (_, behind_name) = text.rsplit_once(')').unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(place).take(2);
    Ok(seconds(ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn tree(root: u32) -> Vec<u32> {
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
