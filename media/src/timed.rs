//! A file in memory that can no longer be read when the time is over. It stops decoders, which have no time limit of
//! their own.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use crate::bounds::Deadline;

/// The most bytes given at once; with more, a decoder would run for long without a check.
const WINDOW: usize = 16 << 10;
/// Reading the clock costs more than reading a byte.
const READS_PER_CHECK: u32 = 256;

#[derive(Debug)]
pub(crate) struct Timed<'a> {
    bytes: &'a [u8],
    at: usize,
    reads: u32,
    given: usize,
    deadline: Deadline,
}

impl<'a> Timed<'a> {
    pub(crate) fn new(bytes: &'a [u8], deadline: Deadline) -> Self {
        // So that the first read checks the clock.
        Self { bytes, at: 0, reads: READS_PER_CHECK, given: 0, deadline }
    }

    fn window(&self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        &rest[..rest.len().min(WINDOW)]
    }

    fn check(&mut self) -> io::Result<()> {
        self.reads += 1;
        if self.reads >= READS_PER_CHECK || self.given >= WINDOW {
            (self.reads, self.given) = (0, 0);
            self.deadline.check().map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let window = self.window();
        let count = window.len().min(buffer.len());
        buffer[..count].copy_from_slice(&window[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Timed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        Ok(self.window())
    }

    fn consume(&mut self, amount: usize) {
        self.at = self.at.saturating_add(amount);
        self.given = self.given.saturating_add(amount);
    }
}

impl Seek for Timed<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => usize::try_from(at).ok(),
            SeekFrom::Current(by) => isize::try_from(by).ok().and_then(|by| self.at.checked_add_signed(by)),
            SeekFrom::End(by) => {
                isize::try_from(by).ok().and_then(|by| self.bytes.len().checked_add_signed(by))
            }
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Read, Seek, SeekFrom};
    use std::time::Duration;

    use super::Timed;
    use crate::bounds::{Bounds, Deadline};

    #[test]
    fn it_reads_like_a_file() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut file = Timed::new(&bytes, Deadline::of(&Bounds::default()));
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);
        assert_eq!(file.seek(SeekFrom::Current(-4)).unwrap(), 99_996);
        assert_eq!(file.fill_buf().unwrap(), &bytes[99_996..]);
        assert_eq!(file.seek(SeekFrom::End(1)).unwrap(), 100_001);
        assert_eq!(file.read(&mut [0; 8]).unwrap(), 0, "behind the end there is nothing");
        assert!(file.seek(SeekFrom::Current(-200_000)).is_err());
    }

    #[test]
    fn nothing_is_read_when_the_time_is_over() {
        let bytes = vec![0; 1 << 20];
        let short = Bounds { time: Duration::from_millis(20), ..Bounds::default() };
        let mut file = Timed::new(&bytes, Deadline::of(&short));
        file.read_exact(&mut [0; 1000]).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert!(file.read_to_end(&mut Vec::new()).is_err());
        assert!(Timed::new(&bytes, file.deadline).fill_buf().is_err(), "the first read checks the clock");
    }
}
