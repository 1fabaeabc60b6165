//! How much one picture may cost.

use std::time::{Duration, Instant};

use crate::refused::Refused;

/// The most memory of one pixel: four colours of sixteen bits as decoded, of eight bits as encoded, and of eight bits
/// as turned. A progressive JPEG's coefficients take no more.
const BYTES_PER_PIXEL: u64 = 16;

/// How much one picture may cost. All bounds are checked before memory is allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Pixels of one picture. A frame of a GIF may have at most 12.5 million, whatever this is.
    pub pixels: u64,
    /// Pixels of all frames of an animation together.
    pub animation_pixels: u64,
    /// Pixels of the longer side.
    pub side: u32,
    /// Frames of an animation.
    pub frames: usize,
    /// Scans of a JPEG: each goes over the whole picture again.
    pub jpeg_scans: usize,
    /// Time from the first byte to the last size. A step that has begun is not interrupted, so one step may take
    /// longer.
    pub time: Duration,
    /// Bytes of memory while decoding, without the file itself and a copy of its essence.
    pub memory: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            pixels: 40_000_000,
            animation_pixels: 80_000_000,
            side: 16_384,
            frames: 500,
            jpeg_scans: 64,
            time: Duration::from_secs(10),
            memory: 768 << 20,
        }
    }
}

impl Bounds {
    /// Checks the size in a header, before anything of that size is allocated.
    pub(crate) fn check_size(&self, width: u32, height: u32) -> Result<(), Refused> {
        if width == 0 || height == 0 {
            return Err(Refused::damaged("a side of no pixels"));
        }
        let side = width.max(height);
        if side > self.side {
            return Err(Refused::SideTooLong { side, bound: self.side });
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.pixels {
            return Err(Refused::TooManyPixels { width, height, pixels, bound: self.pixels });
        }
        self.check_memory(pixels * BYTES_PER_PIXEL)
    }

    pub(crate) fn check_memory(&self, needed: u64) -> Result<(), Refused> {
        if needed > self.memory {
            return Err(Refused::TooMuchMemory { bound: self.memory });
        }
        Ok(())
    }
}

/// The time by which the work must be done. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    begun: Instant,
    bound: Duration,
}

impl Deadline {
    pub(crate) fn of(bounds: &Bounds) -> Self {
        Self { begun: Instant::now(), bound: bounds.time }
    }

    pub(crate) fn check(&self) -> Result<(), Refused> {
        if self.begun.elapsed() > self.bound {
            return Err(Refused::TookTooLong { bound: self.bound });
        }
        Ok(())
    }
}
