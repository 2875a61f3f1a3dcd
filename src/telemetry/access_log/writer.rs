//! The thread that writes the access log.

use std::fs::File;
use std::io::{self, Stdout, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};

use super::{Waiting, append};

/// How long lines are gathered for one write.
const PAUSE: Duration = Duration::from_millis(10);

/// What the writer is told.
pub(super) enum Control {
    /// The file was moved: open it again.
    Reopen,
    /// Write what waits, tell, and end.
    Stop(Sender<()>),
    /// Nobody can log any more: write what waits, and end.
    End,
}

/// Where lines go.
pub(super) enum Sink {
    Stdout(Stdout),
    File(File),
    /// A sink that tells that it was entered and does not return before it is released.
    #[cfg(test)]
    Stuck {
        entered: Sender<()>,
        blocked: Receiver<()>,
    },
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => {
                let mut out = out.lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(file) => file.write_all(lines),
            #[cfg(test)]
            Self::Stuck { entered, blocked } => {
                let _ = entered.try_send(());
                let _ = blocked.recv();
                Ok(())
            }
        }
    }
}

pub(super) struct Writer {
    cores: Arc<[Mutex<Waiting>]>,
    sink: Sink,
    path: Option<PathBuf>,
    /// Whether the last write failed: only the first failure in a row is reported.
    failing: bool,
    /// What is written next; given to a core in exchange for its lines, so that none allocates.
    text: Vec<u8>,
}

impl Writer {
    pub(super) fn new(cores: Arc<[Mutex<Waiting>]>, sink: Sink, path: Option<PathBuf>) -> Self {
        Self { cores, sink, path, failing: false, text: Vec::new() }
    }

    /// Writes until told to stop, or until nobody can log any more.
    pub(super) fn run(mut self, woken: &Receiver<()>, control: &Receiver<Control>) {
        loop {
            let command = select! {
                recv(woken) -> line => match line {
                    Ok(()) => control.recv_timeout(PAUSE).ok(),
                    Err(_) => Some(Control::End),
                },
                recv(control) -> command => Some(command.unwrap_or(Control::End)),
            };
            // Before the file is opened again: these lines belong to the old one.
            self.write_waiting();
            match command {
                None => {}
                Some(Control::Reopen) => self.reopen(),
                Some(Control::End) => return,
                Some(Control::Stop(done)) => {
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    fn write_waiting(&mut self) {
        for core in 0..self.cores.len() {
            self.text.clear();
            let mut waiting = self.cores[core].lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.text, &mut self.text);
            drop(waiting);
            if !self.text.is_empty() {
                self.write();
            }
        }
    }

    fn write(&mut self) {
        let written = self.sink.write(&self.text);
        if let Err(error) = &written
            && !self.failing
        {
            tracing::error!(%error, "the access log cannot be written");
        }
        self.failing = written.is_err();
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append(path) {
            Ok(file) => self.sink = Sink::File(file),
            // The old file is better than none.
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "access log not reopened");
            }
        }
    }
}
