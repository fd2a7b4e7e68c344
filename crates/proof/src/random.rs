//! Numbers that look random and follow from a seed.

/// SplitMix64, or the bytes that a fuzzer chose for as long as they last.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
    chosen: Vec<u8>,
}

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed, chosen: Vec::new() }
    }

    /// Draws from `bytes`, one per draw, and then from the generator.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { state: 0, chosen: bytes.iter().rev().copied().collect() }
    }

    fn next(&mut self) -> u64 {
        if let Some(byte) = self.chosen.pop() {
            return u64::from(byte);
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number from 0 to `end` − 1; `end` is above 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// A number from `least` to `greatest`, both included.
    pub fn between(&mut self, least: i64, greatest: i64) -> i64 {
        let span = u64::try_from(greatest - least).unwrap() + 1;
        least + i64::try_from(self.next() % span).unwrap()
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chances: usize) -> bool {
        self.below(100) < chances
    }

    /// One of the items.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Some of the items, at least one, in their order.
    pub fn some<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        let count = 1 + self.below(from.len());
        let mut kept = from.to_vec();
        while kept.len() > count {
            kept.remove(self.below(kept.len()));
        }
        kept
    }
}
