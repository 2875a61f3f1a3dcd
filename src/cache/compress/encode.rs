//! Bodies into other codings and back: nothing but work. For threads that may be busy for a while.

use std::io::{self, BufRead, BufReader, Read};

use brotli::enc::BrotliEncoderParams;
use brotli::{CompressorReader, Decompressor};
use bytes::Bytes;
use flate2::bufread::{GzDecoder, GzEncoder};
use zstd::stream::read::{Decoder as ZstdDecoder, Encoder as ZstdEncoder};

use super::work::Source;
use crate::body::Blocks;
use crate::budget::Charge;
use crate::policy::Coding;
use crate::store::CodedCopy;

/// Bytes that are made at a time; also what a block of the result has.
const BLOCK: usize = 64 * 1024;

/// brotli's window is no larger than a body needs, and never above 4 MiB. Below the least of these
/// the encoder takes other ways, which cost ten times the memory.
const BR_WINDOW: std::ops::RangeInclusive<u32> = 17..=22;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It would be larger than it may be.
    TooLarge,
    /// There is no memory for it.
    NoMemory,
    /// The library failed.
    Failed,
}

const MIB: usize = 1024 * 1024;

/// Bytes that encoding a body of `length` takes beside its result, at most: measured as the
/// process's growth, and rounded up.
pub(super) fn encoding_space((coding, level): (Coding, u8), length: u64) -> usize {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // What it takes for any body, for each byte of one, and for these at most, in MiB.
    let (always, each, most) = match (coding, level) {
        (Coding::Gzip, _) => (1, 0, 0),
        (Coding::Br, 0..=6) => (4, 8, 16),
        (Coding::Br, 7..=9) => (32, 8, 16),
        (Coding::Br, _) => (4, 24, 96),
        (Coding::Zstd, 0..=9) => (2, 12, 24),
        (Coding::Zstd, 10..=12) => (2, 24, 48),
        (Coding::Zstd, _) => (2, 24, 96),
    };
    always * MIB + length.saturating_mul(each).min(most * MIB)
}

/// The same for decoding it: little more than the window, of 8 MiB at most (RFC 9659 §3).
pub(super) fn decoding_space(length: u64) -> usize {
    MIB + usize::try_from(length).unwrap_or(usize::MAX).min(8 * MIB)
}

/// The body in a coding of some level, as long as it has no more than `most` bytes. `charge` grows
/// with it, and covers just the result in the end.
pub(super) fn encode(
    body: &Source,
    coding: (Coding, u8),
    most: u64,
    charge: &mut Charge,
) -> Result<Vec<Bytes>, Refusal> {
    match body {
        Source::Plain(blocks) => {
            encode_from(Full(Pieces::of(blocks)), blocks.len(), coding, most, charge)
        }
        Source::Copy(copy) => encode_from(Full(decoder(copy)?), copy.plain, coding, most, charge),
    }
}

/// What a copy was made of. `charge` as in [`encode`].
pub(super) fn decode(copy: &CodedCopy, charge: &mut Charge) -> Result<Vec<Bytes>, Refusal> {
    let blocks = collect(decoder(copy)?, copy.plain, charge)?;
    // It would look whole.
    if charge.bytes() as u64 == copy.plain { Ok(blocks) } else { Err(Refusal::Failed) }
}

fn decoder(copy: &CodedCopy) -> Result<Box<dyn Read + '_>, Refusal> {
    let pieces = Pieces::of(&copy.blocks);
    Ok(match copy.coding {
        Coding::Gzip => Box::new(GzDecoder::new(pieces)),
        Coding::Br => Box::new(Decompressor::new(pieces, BLOCK)),
        Coding::Zstd => Box::new(ZstdDecoder::with_buffer(pieces).map_err(|_| Refusal::Failed)?),
    })
}

fn encode_from(
    plain: Full<impl Read>,
    length: u64,
    (coding, level): (Coding, u8),
    most: u64,
    charge: &mut Charge,
) -> Result<Vec<Bytes>, Refusal> {
    match coding {
        Coding::Gzip => {
            let level = flate2::Compression::new(u32::from(level));
            collect(GzEncoder::new(plain.in_blocks(), level), most, charge)
        }
        Coding::Br => {
            let window = length.next_power_of_two().trailing_zeros();
            let params = BrotliEncoderParams {
                quality: i32::from(level),
                lgwin: window.clamp(*BR_WINDOW.start(), *BR_WINDOW.end()).cast_signed(),
                size_hint: usize::try_from(length).unwrap_or(0),
                ..BrotliEncoderParams::default()
            };
            collect(CompressorReader::with_params(plain, BLOCK, &params), most, charge)
        }
        Coding::Zstd => {
            let encoder =
                ZstdEncoder::with_buffer(plain.in_blocks(), i32::from(level)).and_then(|mut it| {
                    // With the length it takes no larger window than it needs.
                    it.set_pledged_src_size(Some(length))?;
                    it.include_checksum(true)?;
                    Ok(it)
                });
            collect(encoder.map_err(|_| Refusal::Failed)?, most, charge)
        }
    }
}

/// Reads to the end, in blocks of exact size.
fn collect(mut from: impl Read, most: u64, charge: &mut Charge) -> Result<Vec<Bytes>, Refusal> {
    let (mut blocks, mut total) = (Vec::new(), 0_usize);
    loop {
        // One byte more than there may be tells that there are too many.
        let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(total);
        let size = BLOCK.min(room.saturating_add(1));
        if !charge.try_grow(size) {
            return Err(Refusal::NoMemory);
        }
        let mut block = Vec::with_capacity(size);
        from.by_ref().take(size as u64).read_to_end(&mut block).map_err(|_| Refusal::Failed)?;
        total += block.len();
        charge.shrink_to(total);
        if total as u64 > most {
            return Err(Refusal::TooLarge);
        }
        if block.is_empty() {
            return Ok(blocks);
        }
        blocks.push(Bytes::from(block.into_boxed_slice()));
    }
}

/// Fills whatever it is to read into, but for the end: encoders make other bytes of a body that
/// comes in other pieces, and a strong entity tag is to name the same ones on every node, and after
/// every fetch (RFC 9110 §8.8.1).
struct Full<R>(R);

impl<R: Read> Full<R> {
    fn in_blocks(self) -> BufReader<Self> {
        BufReader::with_capacity(BLOCK, self)
    }
}

impl<R: Read> Read for Full<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.0.read(&mut into[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }
}

/// A body's blocks, read one after the other.
struct Pieces<'a> {
    blocks: &'a Blocks,
    /// The one that is being read.
    index: usize,
    /// What is read of it.
    offset: usize,
}

impl<'a> Pieces<'a> {
    fn of(blocks: &'a Blocks) -> Self {
        Self { blocks, index: 0, offset: 0 }
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while let Some(piece) = self.blocks.piece(self.index) {
            if self.offset < piece.len() {
                return Ok(&piece[self.offset..]);
            }
            (self.index, self.offset) = (self.index + 1, 0);
        }
        Ok(&[])
    }

    fn consume(&mut self, amount: usize) {
        self.offset += amount;
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let read = available.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, Method, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budget;
    use crate::clock::Timestamp;
    use crate::policy::{Overrides, RequestFacts, ResponseTimes, StoredHead};

    fn body(pieces: &[Vec<u8>]) -> Arc<Blocks> {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        Arc::new(Blocks::new(pieces.map(|piece| Bytes::copy_from_slice(piece)), None))
    }

    fn copy(blocks: Vec<Bytes>, coding: Coding, plain: u64) -> Arc<CodedCopy> {
        let (fields, now) = (HeaderMap::new(), Timestamp::from_secs(1_000_000));
        let facts = RequestFacts::new(&Method::GET, &fields, false);
        let times = ResponseTimes { request_at: now, response_at: now };
        let head = StoredHead::new(&facts, StatusCode::OK, &fields, times, &Overrides::default());
        let blocks = Arc::new(Blocks::new(blocks, None));
        Arc::new(CodedCopy { coding, level: 1, head, blocks, plain })
    }

    fn no_charge(budget: &Budget) -> Charge {
        budget.try_charge(0).expect("nothing fits")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// In any coding and level, and from one coding to the next.
        #[test]
        fn any_body_comes_back(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..3000),
                    (0..200_000_usize).prop_map(|length| vec![b'a'; length]),
                ],
                0..6,
            ),
            level in 1..=9_u8,
        ) {
            let budget = Budget::new(64 << 20);
            let plain = pieces.concat();
            let mut source = Source::Plain(body(&pieces));
            for coding in [Coding::Br, Coding::Zstd, Coding::Gzip, Coding::Br] {
                let mut charge = no_charge(&budget);
                let encoded = encode(&source, (coding, level), u64::MAX, &mut charge);
                let encoded = encoded.expect("room for all");
                let length: usize = encoded.iter().map(Bytes::len).sum();
                prop_assert_eq!(charge.bytes(), length);
                prop_assert!(encoded.iter().all(|block| !block.is_empty()));
                let made = copy(encoded, coding, plain.len() as u64);
                let mut charge = no_charge(&budget);
                let decoded = decode(&made, &mut charge).expect("it was encoded");
                prop_assert_eq!(decoded.concat(), plain.clone());
                prop_assert_eq!(charge.bytes(), plain.len());
                source = Source::Copy(made);
            }
            drop(source);
            prop_assert_eq!(budget.used(), 0);
        }
    }

    /// RFC 9110 §8.8.1: its strong tag names the bytes, whichever node made them and of what.
    #[test]
    fn a_body_has_one_form_in_each_coding_and_level_however_it_came() {
        let budget = Budget::new(256 << 20);
        let line = |line: usize| format!("<p>{}: line {line} of a page</p>\n", line * 7919 % 1000);
        let text = (0..5000).map(line).collect::<String>().into_bytes();
        let in_pieces = |size: usize| {
            let pieces: Vec<_> = text.chunks(size).map(<[u8]>::to_vec).collect();
            Source::Plain(body(&pieces))
        };
        let of = |source: &Source, coding: (Coding, u8)| {
            let encoded = encode(source, coding, u64::MAX, &mut no_charge(&budget));
            encoded.expect("room for all").concat()
        };
        let (length, gzip) = (text.len() as u64, of(&in_pieces(9999), (Coding::Gzip, 6)));
        let gzip = Source::Copy(copy(vec![Bytes::from(gzip)], Coding::Gzip, length));
        for (coding, levels) in [
            (Coding::Br, &[0, 1, 2, 5, 11][..]),
            (Coding::Gzip, &[1, 6, 9]),
            (Coding::Zstd, &[1, 9]),
        ] {
            for level in levels {
                let whole = of(&in_pieces(text.len()), (coding, *level));
                for source in [&in_pieces(1000), &in_pieces(16_384), &gzip] {
                    assert!(of(source, (coding, *level)) == whole, "{coding:?} {level}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_shrink_or_fit_is_refused() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(300_000).collect();
        let noise = Source::Plain(body(&[noise]));
        let (wide, narrow) = (Budget::new(1 << 20), Budget::new(100_000));
        for coding in Coding::ALL {
            let mut charge = no_charge(&wide);
            let refused = encode(&noise, (coding, 5), 270_000, &mut charge);
            assert_eq!(refused, Err(Refusal::TooLarge), "{coding:?}");
            let mut charge = no_charge(&narrow);
            let refused = encode(&noise, (coding, 5), 300_000, &mut charge);
            assert_eq!(refused, Err(Refusal::NoMemory), "{coding:?}");
            drop(charge);
            assert_eq!(narrow.used(), 0);
        }
    }

    #[test]
    fn a_copy_that_is_not_what_it_was_is_refused() {
        let budget = Budget::new(1 << 20);
        let plain = Source::Plain(body(&[vec![b'a'; 5000]]));
        for coding in Coding::ALL {
            let encoded = encode(&plain, (coding, 5), 5000, &mut no_charge(&budget));
            let encoded = encoded.expect("room for all").concat();
            let cut = Bytes::copy_from_slice(&encoded[..encoded.len() - 1]);
            for (bytes, length) in [(cut, 5000), (Bytes::from(encoded), 4999)] {
                let made = copy(vec![bytes], coding, length);
                assert!(decode(&made, &mut no_charge(&budget)).is_err(), "{coding:?} {length}");
            }
        }
    }
}
