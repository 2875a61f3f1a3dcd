//! Writes of several pieces: a head and the body behind it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tokio::io::AsyncWrite;

/// Pieces that come to no more bytes than this are copied together. To copy them costs less than to
/// have the kernel read a list of them; with more it is the other way round.
const MOST_COPIED: usize = 4 * 1024;

/// Writes `pieces` to a socket, of which it may take a part only: in one `writev`, or in one `send`,
/// which is cheaper, where there is but one or all are small.
///
/// # Errors
/// Those of the write.
pub fn poll_write<T: AsyncWrite>(
    socket: Pin<&mut T>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = pieces {
        return socket.poll_write(cx, only);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > MOST_COPIED {
        return socket.poll_write_vectored(cx, pieces);
    }
    let mut copy = SmallVec::<[u8; MOST_COPIED]>::new();
    for piece in pieces {
        copy.extend_from_slice(piece);
    }
    socket.poll_write(cx, &copy)
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;

    use super::*;

    /// Takes no more than so many bytes of each write, and remembers what came in how many pieces.
    struct Taker {
        most: usize,
        taken: Vec<(usize, Vec<u8>)>,
    }

    impl AsyncWrite for Taker {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let bytes = &bytes[..bytes.len().min(self.most)];
            self.taken.push((1, bytes.to_vec()));
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut bytes: Vec<u8> =
                pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            bytes.truncate(self.most);
            let count = bytes.len();
            self.taken.push((pieces.len(), bytes));
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What is taken of `pieces` of these lengths at once: how many bytes it is told to be, and in how
    /// many pieces it came. The bytes are checked.
    fn taken(lengths: &[usize], most: usize) -> (usize, usize) {
        let pieces: Vec<Vec<u8>> =
            lengths.iter().zip(b'a'..).map(|(length, byte)| vec![byte; *length]).collect();
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut taker = Taker { most, taken: Vec::new() };
        let cx = &mut Context::from_waker(noop_waker_ref());
        let Poll::Ready(Ok(count)) = poll_write(Pin::new(&mut taker), cx, &slices) else {
            panic!("it is ready");
        };
        let [(came_in, bytes)] = &taker.taken[..] else { panic!("one write") };
        assert_eq!(*bytes, pieces.concat()[..count]);
        (count, *came_in)
    }

    #[test]
    fn small_pieces_and_one_alone_are_written_as_one() {
        assert_eq!(taken(&[300, 1024], usize::MAX), (1324, 1));
        assert_eq!(taken(&[100, 0, MOST_COPIED - 100], usize::MAX), (MOST_COPIED, 1));
        assert_eq!(taken(&[1 << 20], usize::MAX), (1 << 20, 1));
        assert_eq!(taken(&[], usize::MAX), (0, 1));
    }

    #[test]
    fn large_ones_are_copied_nowhere() {
        assert_eq!(taken(&[100, MOST_COPIED - 99], usize::MAX), (MOST_COPIED + 1, 2));
        assert_eq!(taken(&[300, 16_384, 16_384], usize::MAX), (33_068, 3));
    }

    #[test]
    fn a_part_that_is_taken_is_told_as_it_is() {
        assert_eq!(taken(&[300, 1024], 310), (310, 1));
        assert_eq!(taken(&[300, 16_384], 310), (310, 2));
    }
}
