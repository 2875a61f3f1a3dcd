//! HTTP/2 frames through the whole proxy: no panic, an end, and nothing at the origin that is not
//! a request in normal form.

use std::sync::OnceLock;

use super::stage::{Client, Stage};

/// The preface, and an empty SETTINGS frame (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Frames, each as four bytes (type, flags, stream, length) and a payload: so most inputs are
/// frames, and mutations get past their headers.
pub fn run(data: &[u8]) {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    let turn = STAGE.get_or_init(Stage::new).turn();
    turn.send(&frames(data), Client::Finishes);
    let faults = turn.faults();
    assert!(faults.is_empty(), "the origin was sent {faults:#?}");
}

fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    while let [kind, flags, stream, length, rest @ ..] = data {
        let payload = &rest[..rest.len().min(usize::from(*length))];
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        bytes.extend_from_slice(&[0, 0, length, *kind, *flags, 0, 0, 0, *stream]);
        bytes.extend_from_slice(payload);
        data = &rest[payload.len()..];
    }
    bytes
}
