//! What a client does with HTTP/2 beyond requests, and how much of it is borne.
//!
//! hyper obeys every frame: a stream that is opened and reset costs it next to nothing, and the
//! origin a request. Here frames are counted on their way, in both directions, each kind against a
//! [`Budget`] that time and honest work refill. A client that overdraws one loses its connection
//! (RFC 9113 §10.5). Counting reads frame headers and allocates nothing.

mod budget;
mod scan;

use std::time::Duration;

use h2::Reason;

use budget::{Allowance, Budget};
use scan::{Frame, Scanner, kind};

/// Octets of the client's preface before its first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// Streams that a client resets (CVE-2023-44487). A browser that leaves a page resets all it has
/// open; one that is searched in as the user types, some every second. Two units a reset, so that
/// an answered stream earns half of one: cancelling every third request is the most that lasts.
const RESETS: Allowance = Allowance { burst: 2 * 200, per_second: 2 * 20 };
const RESET: u32 = 2;
const ANSWERED: u32 = 1;

/// Streams that the client makes us reset by its faults (CVE-2025-8671).
const FAULTS: Allowance = Allowance { burst: 50, per_second: 1 };

/// Streams refused because too many are open. A client may not know the limit yet with its first
/// requests.
const REFUSED: Allowance = Allowance { burst: 500, per_second: 50 };

/// SETTINGS, each of which has to be acknowledged (CVE-2019-9515); a client has one or two in all
/// its life. GOAWAY, likewise.
const SETTINGS: Allowance = Allowance { burst: 50, per_second: 1 };

/// PING, each of which has to be answered (CVE-2019-9512). Who measures bandwidth sends one a round
/// trip while frames come; a frame of a response earns one.
const PINGS: Allowance = Allowance { burst: 200, per_second: 20 };

/// PRIORITY and `PRIORITY_UPDATE` (CVE-2019-9513). Browsers send some with each request.
const PRIORITIES: Allowance = Allowance { burst: 400, per_second: 20 };
const PRIORITIES_A_STREAM: u32 = 4;

/// `WINDOW_UPDATE`. A client that reads little at a time sends two with each read; what it is sent
/// earns them.
const WINDOW_UPDATES: Allowance = Allowance { burst: 1000, per_second: 200 };
const UPDATES_A_FRAME: u32 = 2;
const BYTES_AN_UPDATE: u32 = 512;

/// `WINDOW_UPDATE` of next to nothing, which makes us send next to nothing in a frame each
/// (CVE-2019-9511).
const TINY_UPDATES: Allowance = Allowance { burst: 10_000, per_second: 1000 };
const TINY: u32 = 64;

/// DATA with nothing in it and more to come (CVE-2019-9518).
const EMPTY_DATA: Allowance = Allowance { burst: 50, per_second: 5 };

/// Frames of types that we don't know, which are ignored (RFC 9113 §5.5).
const UNKNOWN: Allowance = Allowance { burst: 100, per_second: 10 };

/// Why a client loses its connection: what it did too much of, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// Streams that it reset.
    Resets,
    /// Faults that made us reset a stream.
    Faults,
    /// Streams beyond the limit.
    Refused,
    /// SETTINGS and GOAWAY.
    Settings,
    /// PING.
    Pings,
    /// PRIORITY and `PRIORITY_UPDATE`.
    Priorities,
    /// `WINDOW_UPDATE`.
    WindowUpdates,
    /// DATA without data.
    EmptyData,
    /// Frames of unknown types.
    Unknown,
    /// Its first frame is not SETTINGS.
    Preface,
}

impl Offence {
    /// The word in metrics and the log.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Resets => "resets",
            Self::Faults => "stream-faults",
            Self::Refused => "refused-streams",
            Self::Settings => "settings",
            Self::Pings => "pings",
            Self::Priorities => "priorities",
            Self::WindowUpdates => "window-updates",
            Self::EmptyData => "empty-data",
            Self::Unknown => "unknown-frames",
            Self::Preface => "preface",
        }
    }

    /// The frame that ends the connection (RFC 9113 §6.8).
    pub(super) fn goaway(self, last_stream: u32) -> [u8; 17] {
        let reason = match self {
            Self::Preface => Reason::PROTOCOL_ERROR,
            _ => Reason::ENHANCE_YOUR_CALM,
        };
        let mut goaway = [0, 0, 8, kind::GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        goaway[9..13].copy_from_slice(&last_stream.to_be_bytes());
        goaway[13..].copy_from_slice(&u32::from(reason).to_be_bytes());
        goaway
    }
}

/// Watches the frames of one connection. Times count from any fixed one and never go back.
#[derive(Debug)]
pub(super) struct Watch {
    received: Scanner,
    sent: Scanner,
    /// Whether a first frame has come.
    begun: bool,
    /// The highest stream that the client has opened.
    last_stream: u32,
    /// When the header block began that is being read.
    head_since: Option<Duration>,
    /// Whether that block's last frame has begun.
    head_ends: bool,
    resets: Budget,
    faults: Budget,
    refused: Budget,
    settings: Budget,
    pings: Budget,
    priorities: Budget,
    updates: Budget,
    tiny_updates: Budget,
    empty_data: Budget,
    unknown: Budget,
}

impl Watch {
    /// A connection whose client has not sent its preface.
    pub(super) fn new() -> Self {
        Self {
            received: Scanner::after(PREFACE),
            sent: Scanner::after(0),
            begun: false,
            last_stream: 0,
            head_since: None,
            head_ends: false,
            resets: Budget::default(),
            faults: Budget::default(),
            refused: Budget::default(),
            settings: Budget::default(),
            pings: Budget::default(),
            priorities: Budget::default(),
            updates: Budget::default(),
            tiny_updates: Budget::default(),
            empty_data: Budget::default(),
            unknown: Budget::default(),
        }
    }

    /// The client sent these bytes.
    ///
    /// # Errors
    /// If the connection has to end.
    pub(super) fn receive(&mut self, mut bytes: &[u8], now: Duration) -> Result<(), Offence> {
        while let Some(frame) = self.received.next(&mut bytes) {
            if !self.begun {
                self.begin(&frame)?;
            }
            self.follow_head(&frame, now);
            self.received(&frame, now)?;
        }
        if self.head_ends && !self.received.is_within() {
            self.head_since = None;
        }
        Ok(())
    }

    /// We sent these bytes, which are followed to their end whatever becomes of the connection.
    ///
    /// # Errors
    /// If the connection has to end.
    pub(super) fn send(&mut self, mut bytes: &[u8], now: Duration) -> Result<(), Offence> {
        let mut verdict = Ok(());
        while let Some(frame) = self.sent.next(&mut bytes) {
            verdict = verdict.and_then(|()| self.sent(&frame, now));
        }
        verdict
    }

    /// When the header block began that is being read, if one is: until it is complete, nothing
    /// else can be read from the client (RFC 9113 §4.3).
    pub(super) fn head_since(&self) -> Option<Duration> {
        self.head_since
    }

    /// The highest stream that the client has opened.
    pub(super) fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// Whether what we sent ends with a whole frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.sent.is_between()
    }

    /// The client's preface ends with SETTINGS (RFC 9113 §3.4), which hyper does not insist on.
    fn begin(&mut self, first: &Frame) -> Result<(), Offence> {
        self.begun = first.kind == kind::SETTINGS && !first.is_ack();
        if self.begun { Ok(()) } else { Err(Offence::Preface) }
    }

    fn follow_head(&mut self, frame: &Frame, now: Duration) {
        match frame.kind {
            kind::HEADERS => self.head_since = Some(now),
            // Out of place anywhere else, which hyper tells the client.
            kind::CONTINUATION => {}
            _ => return self.head_since = None,
        }
        self.head_ends = frame.ends_headers();
    }

    fn received(&mut self, frame: &Frame, now: Duration) -> Result<(), Offence> {
        let (budget, cost, allowance, offence) = match frame.kind {
            kind::HEADERS => {
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.priorities.earn(PRIORITIES_A_STREAM);
                    self.updates.earn(UPDATES_A_FRAME);
                }
                return Ok(());
            }
            // hyper bounds the frames of a block, and `head_since` its time; PUSH_PROMISE it takes
            // for the error that it is.
            kind::CONTINUATION | kind::PUSH_PROMISE => return Ok(()),
            kind::DATA if frame.length > 0 || frame.ends_stream() => return Ok(()),
            kind::SETTINGS if frame.is_ack() => return Ok(()),
            kind::DATA => (&mut self.empty_data, 1, EMPTY_DATA, Offence::EmptyData),
            kind::RST_STREAM => (&mut self.resets, RESET, RESETS, Offence::Resets),
            kind::SETTINGS | kind::GOAWAY => (&mut self.settings, 1, SETTINGS, Offence::Settings),
            kind::PING => (&mut self.pings, 1, PINGS, Offence::Pings),
            kind::PRIORITY | kind::PRIORITY_UPDATE => {
                (&mut self.priorities, 1, PRIORITIES, Offence::Priorities)
            }
            kind::WINDOW_UPDATE => {
                if frame.word < TINY && !self.tiny_updates.spend(1, TINY_UPDATES, now) {
                    return Err(Offence::WindowUpdates);
                }
                (&mut self.updates, 1, WINDOW_UPDATES, Offence::WindowUpdates)
            }
            _ => (&mut self.unknown, 1, UNKNOWN, Offence::Unknown),
        };
        if budget.spend(cost, allowance, now) { Ok(()) } else { Err(offence) }
    }

    fn sent(&mut self, frame: &Frame, now: Duration) -> Result<(), Offence> {
        match frame.kind {
            kind::DATA | kind::HEADERS => {
                self.pings.earn(1);
                self.updates.earn(UPDATES_A_FRAME + frame.length / BYTES_AN_UPDATE);
                if frame.ends_stream() {
                    self.resets.earn(ANSWERED);
                }
                Ok(())
            }
            kind::RST_STREAM => self.reset(frame.word, now),
            _ => Ok(()),
        }
    }

    /// We reset a stream, for this reason (RFC 9113 §7).
    fn reset(&mut self, reason: u32, now: Duration) -> Result<(), Offence> {
        let (budget, allowance, offence) = match Reason::from(reason) {
            Reason::PROTOCOL_ERROR
            | Reason::FLOW_CONTROL_ERROR
            | Reason::STREAM_CLOSED
            | Reason::FRAME_SIZE_ERROR => (&mut self.faults, FAULTS, Offence::Faults),
            Reason::REFUSED_STREAM => (&mut self.refused, REFUSED, Offence::Refused),
            // An answer that was cut, or that came before the whole request.
            _ => return Ok(()),
        };
        if budget.spend(1, allowance, now) { Ok(()) } else { Err(offence) }
    }
}

#[cfg(test)]
mod tests;
