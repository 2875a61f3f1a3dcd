//! Finds frames in a stream of bytes (RFC 9113 §4.1), however it is cut into reads.

/// Octets of a frame's header.
const HEADER: usize = 9;

/// Octets of a frame's header and of the word that begins some payloads.
const HEADER_AND_WORD: usize = HEADER + 4;

/// Frame types (RFC 9113 §6, RFC 9218 §7.1).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0x0;
    pub(in super::super) const HEADERS: u8 = 0x1;
    pub(in super::super) const PRIORITY: u8 = 0x2;
    pub(in super::super) const RST_STREAM: u8 = 0x3;
    pub(in super::super) const SETTINGS: u8 = 0x4;
    pub(in super::super) const PUSH_PROMISE: u8 = 0x5;
    pub(in super::super) const PING: u8 = 0x6;
    pub(in super::super) const GOAWAY: u8 = 0x7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 0x8;
    pub(in super::super) const CONTINUATION: u8 = 0x9;
    pub(in super::super) const PRIORITY_UPDATE: u8 = 0x10;
}

/// `END_STREAM` of DATA and HEADERS; the same bit is `ACK` of SETTINGS and PING.
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What is read of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Octets of the payload.
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// The first word of the payload: the error code of `RST_STREAM`, the increment of
    /// `WINDOW_UPDATE`; 0 for all else.
    pub(super) word: u32,
}

impl Frame {
    pub(super) const fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & END_STREAM != 0
    }

    pub(super) const fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub(super) const fn ends_headers(&self) -> bool {
        self.flags & END_HEADERS != 0
    }
}

/// Reads frame headers and passes over payloads; it never holds more than a header.
#[derive(Debug)]
pub(super) struct Scanner {
    head: [u8; HEADER_AND_WORD],
    /// Octets of `head` that have come.
    have: usize,
    /// Octets to pass over before the next frame.
    skip: usize,
}

impl Scanner {
    /// A stream whose first frame comes after so many octets.
    pub(super) const fn after(preface: usize) -> Self {
        Self { head: [0; HEADER_AND_WORD], have: 0, skip: preface }
    }

    /// The next frame whose header is complete within `bytes`, of which what it took is cut off.
    #[inline]
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let passed = self.skip.min(bytes.len());
        self.skip -= passed;
        *bytes = &bytes[passed..];
        loop {
            let wanted = self.wanted();
            if self.have == wanted {
                return Some(self.take());
            }
            let taken = (wanted - self.have).min(bytes.len());
            if taken == 0 {
                return None;
            }
            let (come, rest) = bytes.split_at(taken);
            self.head[self.have..self.have + taken].copy_from_slice(come);
            self.have += taken;
            *bytes = rest;
        }
    }

    /// Whether the stream stands between two frames.
    pub(super) const fn is_between(&self) -> bool {
        self.have == 0 && self.skip == 0
    }

    /// Whether some of the last frame's payload is yet to come.
    pub(super) const fn is_within(&self) -> bool {
        self.skip > 0
    }

    /// How much of `head` is needed to tell what the frame is.
    const fn wanted(&self) -> usize {
        let has_word = self.have >= HEADER
            && matches!(self.head[3], kind::RST_STREAM | kind::WINDOW_UPDATE)
            && self.length() >= 4;
        if has_word { HEADER_AND_WORD } else { HEADER }
    }

    const fn length(&self) -> u32 {
        u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]])
    }

    fn take(&mut self) -> Frame {
        let word = |at: usize| {
            let bytes = [self.head[at], self.head[at + 1], self.head[at + 2], self.head[at + 3]];
            u32::from_be_bytes(bytes)
        };
        let frame = Frame {
            length: self.length(),
            kind: self.head[3],
            flags: self.head[4],
            // The first bit is reserved.
            stream: word(5) & 0x7fff_ffff,
            word: if self.have == HEADER_AND_WORD { word(HEADER) } else { 0 },
        };
        self.skip = frame.length as usize - (self.have - HEADER);
        self.have = 0;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(frame: &Frame, filler: u8) -> Vec<u8> {
        let mut bytes = frame.length.to_be_bytes()[1..].to_vec();
        bytes.extend([frame.kind, frame.flags]);
        bytes.extend(frame.stream.to_be_bytes());
        let mut payload = vec![filler; frame.length as usize];
        if payload.len() >= 4 && matches!(frame.kind, kind::RST_STREAM | kind::WINDOW_UPDATE) {
            payload[..4].copy_from_slice(&frame.word.to_be_bytes());
        }
        bytes.extend(payload);
        bytes
    }

    prop_compose! {
        fn frame()(
            length in prop_oneof![0..10_u32, 0..20_000_u32],
            kind in 0..12_u8,
            flags: u8,
            stream in 0..=0x7fff_ffff_u32,
            word: u32,
        ) -> Frame {
            let has_word = length >= 4 && matches!(kind, kind::RST_STREAM | kind::WINDOW_UPDATE);
            Frame { length, kind, flags, stream, word: if has_word { word } else { 0 } }
        }
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(
            frames in proptest::collection::vec(frame(), 0..20),
            cuts in proptest::collection::vec(1..5000_usize, 1..20),
            filler: u8,
        ) {
            let preface = 24;
            let mut stream = vec![0xff; preface];
            for frame in &frames {
                stream.extend(bytes(frame, filler));
            }
            let mut scanner = Scanner::after(preface);
            let (mut found, mut rest) = (Vec::new(), &*stream);
            for cut in cuts.iter().cycle() {
                let (mut read, after) = rest.split_at((*cut).min(rest.len()));
                while let Some(frame) = scanner.next(&mut read) {
                    found.push(frame);
                }
                prop_assert!(read.is_empty());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(scanner.is_between());
        }
    }

    #[test]
    fn the_place_in_the_stream_is_known() {
        let mut scanner = Scanner::after(0);
        let ping = bytes(&Frame { length: 8, kind: kind::PING, flags: 0, stream: 0, word: 0 }, 1);
        for (index, byte) in ping.iter().enumerate() {
            assert_eq!(scanner.is_between(), index == 0, "{index}");
            assert_eq!(scanner.is_within(), index >= HEADER, "{index}");
            let found = scanner.next(&mut &[*byte][..]);
            assert_eq!(found.is_some(), index == HEADER - 1, "{index}");
        }
        assert!(scanner.is_between());
    }
}
