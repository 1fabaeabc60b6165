//! From a socket's queue to the network, many frames at once.

use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice, Write as _};

use mio::net::TcpStream;

use super::layout::{Ended, Socket};
use crate::edge::Edge;

/// The most frames in one write.
const SLICES: usize = 32;
/// Frames of at most this many bytes together are copied side by side: that costs less than to make the kernel gather
/// them.
const GATHERED_BYTES: usize = 4 * 1024;

thread_local! {
    static GATHERED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(GATHERED_BYTES));
}

impl Socket {
    /// Writes all that waits, as far as the network takes it; returns whether it took anything.
    #[inline]
    pub(super) fn write(&mut self, edge: &Edge) -> Result<bool, Ended> {
        let mut progress = false;
        while self.readiness.writable {
            // The lock is held over a system call that does not wait, so that nothing is dropped while it is being
            // written.
            let mut state = self.connection.state();
            if !state.has_output() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = state.slices(&mut slices);
            match write_together(&mut self.stream, &slices[..filled]) {
                Ok(0) => return Err(Ended),
                Ok(n) => {
                    let frames = state.wrote(n);
                    edge.metrics.edge_frames_out.inc_by(frames);
                    progress = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readiness.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Ended),
            }
        }
        Ok(progress)
    }
}

/// Writes frames with one system call. `send` is a shorter way through the kernel than `writev`: a single frame takes
/// it, and so do small frames side by side.
#[inline]
fn write_together(stream: &mut TcpStream, frames: &[IoSlice<'_>]) -> std::io::Result<usize> {
    match frames {
        [one] => stream.write(one),
        several if several.iter().map(|frame| frame.len()).sum::<usize>() <= GATHERED_BYTES => GATHERED
            .with_borrow_mut(|gathered| {
                gathered.clear();
                several.iter().for_each(|frame| gathered.extend_from_slice(frame));
                stream.write(gathered)
            }),
        several => stream.write_vectored(several),
    }
}
