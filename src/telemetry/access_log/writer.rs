//! The thread that writes the access log.

use std::fs::File;
use std::io::{self, Stdout, Write};
use std::path::PathBuf;

use crossbeam_channel::{Receiver, Sender, select};

use super::{CAPACITY, Record, append, line};
use crate::telemetry::Format;

/// Lines that are gathered for one write.
const BATCH: usize = 256;

/// What the writer is told.
pub(super) enum Control {
    /// The file was moved: open it again.
    Reopen,
    /// Write what waits, tell, and end.
    Stop(Sender<()>),
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
    format: Format,
    sink: Sink,
    path: Option<PathBuf>,
    /// Whether the last write failed: only the first failure in a row is reported.
    failing: bool,
    lines: Vec<u8>,
}

impl Writer {
    pub(super) fn new(format: Format, sink: Sink, path: Option<PathBuf>) -> Self {
        Self { format, sink, path, failing: false, lines: Vec::with_capacity(BATCH * 256) }
    }

    /// Writes until told to stop, or until nobody can log any more.
    pub(super) fn run(mut self, records: &Receiver<Record>, control: &Receiver<Control>) {
        loop {
            select! {
                recv(records) -> record => {
                    let Ok(record) = record else { return };
                    self.write([record].into_iter().chain(records.try_iter().take(BATCH - 1)));
                }
                recv(control) -> command => match command {
                    Ok(Control::Reopen) => self.reopen(),
                    Ok(Control::Stop(done)) => {
                        self.write(records.try_iter().take(CAPACITY));
                        let _ = done.send(());
                        return;
                    }
                    Err(_) => {
                        // Nobody logs any more; what they did may still wait.
                        return self.write(records.try_iter().take(CAPACITY));
                    }
                },
            }
        }
    }

    fn write(&mut self, records: impl Iterator<Item = Record>) {
        self.lines.clear();
        for record in records {
            line::write(self.format, &record, &mut self.lines);
        }
        let written = self.sink.write(&self.lines);
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
