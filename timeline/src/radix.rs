//! Sorts the numbers of one timeline: about a hundred, in any order.
//!
//! With a sort that compares, the processor has to guess about seven branches for each number, and a wrong guess costs
//! more than the rest of the work. A radix sort, which distributes numbers by some of their bits, has no branches to
//! guess.

/// The table sorts fewer numbers than this. Places are counted in bytes, so that with a table of this size no access
/// needs a bounds check.
pub(crate) const ROOM: usize = 1 << 8;
/// The number of bits that numbers are sorted by: two passes of one digit each.
pub(crate) const BITS: u32 = 2 * DIGIT_BITS;
const DIGIT_BITS: u32 = 7;
/// The number of values of a digit.
const DIGITS: usize = 1 << DIGIT_BITS;

/// Room to sort in, reusable.
#[derive(Debug)]
pub(crate) struct Table {
    sorted: [u64; ROOM],
    half: [u64; ROOM],
}

impl Default for Table {
    fn default() -> Self {
        Self { sorted: [0; ROOM], half: [0; ROOM] }
    }
}

impl Table {
    /// Sorts numbers by the lowest [`BITS`] bits of `bits(number)`. Numbers with the same bits stay in the order in
    /// which they came.
    ///
    /// # Panics
    /// When there are [`ROOM`] numbers or more.
    pub(crate) fn sort(
        &mut self,
        numbers: impl ExactSizeIterator<Item = u64> + Clone,
        bits: impl Fn(u64) -> u64,
    ) -> &mut [u64] {
        let count = numbers.len();
        assert!(count < ROOM, "{count} numbers");
        let low = |number: u64| bits(number) as usize % DIGITS;
        let high = |number: u64| (bits(number) >> DIGIT_BITS) as usize % DIGITS;
        let (mut lows, mut highs) = ([0_u8; DIGITS], [0_u8; DIGITS]);
        for number in numbers.clone() {
            lows[low(number)] += 1;
            highs[high(number)] += 1;
        }
        let (mut lows, mut highs) = (begins(&lows), begins(&highs));
        for number in numbers {
            self.half[take(&mut lows[low(number)])] = number;
        }
        for number in &self.half[..count] {
            self.sorted[take(&mut highs[high(*number)])] = *number;
        }
        &mut self.sorted[..count]
    }
}

/// Takes a place: returns it, and moves on to the next.
fn take(place: &mut u8) -> usize {
    let taken = usize::from(*place);
    *place = place.wrapping_add(1);
    taken
}

/// Where each digit's numbers begin, from the count of each digit: the sums of all counts before it. It adds eight
/// counts at a time, as the bytes of one number: multiplied by a number whose bytes are all 1, each byte becomes the
/// sum of the bytes up to it.
fn begins(counts: &[u8; DIGITS]) -> [u8; DIGITS] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut begins = [0; DIGITS];
    let mut before = 0;
    for (begins, counts) in begins.as_chunks_mut().0.iter_mut().zip(counts.as_chunks().0) {
        let counts = u64::from_le_bytes(*counts);
        let sums = counts.wrapping_mul(ONES);
        *begins = (sums - counts).wrapping_add(before * ONES).to_le_bytes();
        before += sums >> 56;
    }
    begins
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn numbers_are_sorted_and_equals_stay_in_order() {
        let mut random = StdRng::seed_from_u64(4);
        let mut table = Table::default();
        for round in 0..5_000 {
            let shift = random.random_range(0..=BITS);
            let bits = |number: u64| number >> 32;
            let count = if round % 50 == 0 { ROOM as u64 - 1 } else { random.random_range(0..ROOM as u64) };
            let number = |place: u64| random.random_range(0..1_u64 << BITS) >> shift << 32 | place;
            let numbers: Vec<u64> = (0..count).map(number).collect();
            let mut expected = numbers.clone();
            expected.sort_by_key(|number| bits(*number));
            assert_eq!(table.sort(numbers.iter().copied(), bits), expected, "round {round}");
        }
    }
}
