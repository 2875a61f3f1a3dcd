//! Bodies into other codings: nothing but work. For threads that may be busy for a while.

use std::io::{self, BufRead, Read};

use brotli::CompressorReader;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::bufread::GzEncoder;
use zstd::stream::read::Encoder as ZstdEncoder;

use crate::body::Blocks;
use crate::budget::Charge;
use crate::policy::Coding;

/// Bytes that are made at a time; also what a block of the result has.
const BLOCK: usize = 64 * 1024;

/// brotli's window is no larger than a body needs, and never above 4 MiB.
const BR_WINDOW: std::ops::RangeInclusive<u32> = 16..=22;

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

/// Bytes that encoding a body of `length` takes beside its result, at most: measured as the
/// process's growth, rounded up.
pub(super) fn workspace(coding: Coding, length: u64) -> usize {
    const MIB: usize = 1024 * 1024;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match coding {
        Coding::Gzip => MIB / 2,
        Coding::Br => MIB + length.saturating_mul(8).min(32 * MIB),
        Coding::Zstd => MIB + length.saturating_mul(8).min(40 * MIB),
    }
}

/// The body in `coding`, as long as it has no more than `most` bytes. `charge` grows with it, and
/// covers just the result in the end.
pub(super) fn encode(
    body: &Blocks,
    coding: Coding,
    level: u8,
    most: u64,
    charge: &mut Charge,
) -> Result<Vec<Bytes>, Refusal> {
    let pieces = Pieces { rest: body.as_slices(), offset: 0 };
    match coding {
        Coding::Gzip => {
            let level = flate2::Compression::new(u32::from(level));
            collect(GzEncoder::new(pieces, level), most, charge)
        }
        Coding::Br => {
            let window = body.len().next_power_of_two().trailing_zeros();
            let params = BrotliEncoderParams {
                quality: i32::from(level),
                lgwin: window.clamp(*BR_WINDOW.start(), *BR_WINDOW.end()) as i32,
                size_hint: usize::try_from(body.len()).unwrap_or(0),
                ..BrotliEncoderParams::default()
            };
            collect(CompressorReader::with_params(pieces, BLOCK, &params), most, charge)
        }
        Coding::Zstd => {
            let encoder = ZstdEncoder::with_buffer(pieces, i32::from(level)).and_then(|mut it| {
                // With the length it takes no larger window than it needs.
                it.set_pledged_src_size(Some(body.len()))?;
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

/// A body's blocks, read one after the other.
struct Pieces<'a> {
    rest: &'a [Bytes],
    /// What is read of the first.
    offset: usize,
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while let Some((first, rest)) = self.rest.split_first() {
            if self.offset < first.len() {
                return Ok(&first[self.offset..]);
            }
            (self.rest, self.offset) = (rest, 0);
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
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budget;

    fn decoded(coding: Coding, blocks: &[Bytes]) -> Vec<u8> {
        let (encoded, mut plain) = (blocks.concat(), Vec::new());
        let read = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(&*encoded).read_to_end(&mut plain),
            Coding::Br => brotli::Decompressor::new(&*encoded, 4096).read_to_end(&mut plain),
            Coding::Zstd => zstd::stream::read::Decoder::new(&*encoded)
                .and_then(|mut it| it.read_to_end(&mut plain)),
        };
        read.expect("what was encoded can be decoded");
        plain
    }

    fn body(pieces: &[Vec<u8>]) -> Blocks {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        Blocks::new(pieces.map(|piece| Bytes::copy_from_slice(piece)), None)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_pieces_in_any_coding_and_level_come_back(
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
            for coding in Coding::ALL {
                let mut charge = budget.try_charge(0).expect("nothing fits");
                let encoded = encode(&body(&pieces), coding, level, u64::MAX, &mut charge);
                let encoded = encoded.expect("room for all");
                prop_assert_eq!(decoded(coding, &encoded), pieces.concat());
                let length: usize = encoded.iter().map(Bytes::len).sum();
                prop_assert_eq!(charge.bytes(), length);
                prop_assert!(encoded.iter().all(|block| !block.is_empty()));
            }
        }
    }

    #[test]
    fn what_does_not_shrink_or_fit_is_refused() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(300_000).collect();
        let noise = body(&[noise]);
        let (wide, narrow) = (Budget::new(1 << 20), Budget::new(100_000));
        for coding in Coding::ALL {
            let mut charge = wide.try_charge(0).expect("nothing fits");
            let refused = encode(&noise, coding, 5, noise.len() * 9 / 10, &mut charge);
            assert_eq!(refused, Err(Refusal::TooLarge), "{coding:?}");
            let mut charge = narrow.try_charge(0).expect("nothing fits");
            let refused = encode(&noise, coding, 5, noise.len(), &mut charge);
            assert_eq!(refused, Err(Refusal::NoMemory), "{coding:?}");
            drop(charge);
            assert_eq!(narrow.used(), 0);
        }
    }
}
