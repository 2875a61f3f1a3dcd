//! Whether the memory tier keeps to its budget, and what an object costs, both by the process's
//! resident memory.
//!
//! `make soak`; the arguments are the budget in MiB, how many objects are stored in it, from how many
//! threads, and how many the store without end has at last, whose cost for each is told as it grows.
//! Exits with 1 where more was charged than the budget, where the process grew by too much more, or
//! where objects cost more than they are charged.
#![expect(clippy::expect_used, reason = "what cannot be set up cannot be measured")]
#![expect(clippy::print_stdout, reason = "it is a program that tells")]
#![expect(clippy::cast_sign_loss, reason = "sizes are not negative")]

mod churn;
mod cost;
mod objects;

use std::process::{Command, ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: usize = 1024 * 1024;

/// What is looked at, each by a process of its own: what an allocator has kept of one store would
/// hide what the next one takes.
const PARTS: [&str; 7] = ["small", "mixed", "cost", "1", "4", "16", "64"];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let part = arguments.next_if(|argument| argument.starts_with("part="));
    let numbers: Vec<usize> = arguments.map(|it| it.parse().expect("a number")).collect();
    let number = |place: usize, default| numbers.get(place).copied().unwrap_or(default);
    let memory = number(0, 256) * MIB;
    let (objects, threads, most) = (number(1, 1_000_000), number(2, 4), number(3, 200_000));
    let kept = match part.as_deref().and_then(|part| part.strip_prefix("part=")) {
        None => PARTS.iter().filter(|part| !keeps(part)).count() == 0,
        Some("small") => churn::keeps_its_budget(&churn::SMALL, memory, objects, threads),
        Some("mixed") => churn::keeps_its_budget(&churn::MIXED, memory, objects, threads),
        Some("cost") => cost::is_charged(most),
        Some(variants) => cost::of_variants(variants.parse().expect("a number")),
    };
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a part exits well.
fn keeps(part: &str) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.arg(format!("part={part}")).args(std::env::args().skip(1));
    command.status().expect("it ran").success()
}
