//! A small generator of random numbers whose output is the same on every platform.
//!
//! xoshiro256++ seeded by splitmix64. Everything is integer arithmetic, or one IEEE 754 operation at
//! a time, or a function of the `libm` crate, so a seed gives the same stream everywhere.

/// The finalizer of splitmix64: a bijection of 64 bits that mixes well.
pub(crate) const fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// xoshiro256++.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: [u64; 4],
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let a = mix(seed);
        let b = mix(a);
        let c = mix(b);
        Self { state: [a, b, c, mix(c) | 1] }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c2 = c ^ a;
        let d2 = d ^ b;
        self.state = [a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)];
        result
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Uniform in `low..=high`.
    pub(crate) fn range(&mut self, low: i64, high: i64) -> i64 {
        let span = high.saturating_sub(low).max(0).unsigned_abs() + 1;
        low + i64::try_from(self.below(span)).unwrap_or(0)
    }

    /// Uniform in `low..=high`, for counts.
    pub(crate) fn count(&mut self, low: usize, high: usize) -> usize {
        let span = high.saturating_sub(low) as u64 + 1;
        low + usize::try_from(self.below(span)).unwrap_or(0)
    }

    /// True with probability `share` of one.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Uniform in `[0, 1)`.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Exponential with mean `mean_us`, cut at eight means.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "far below 2^53")]
    pub(crate) fn exponential(&mut self, mean_us: i64) -> i64 {
        let draw = -libm::log(1.0 - self.unit());
        (mean_us as f64 * draw.min(8.0)) as i64
    }

    /// `mean` scaled by a uniform factor between `1 - spread_permille/1000` and the same above 1.
    pub(crate) fn around(&mut self, mean: i64, spread_permille: i64) -> i64 {
        let factor = self.range(1000 - spread_permille, 1000 + spread_permille);
        i64::try_from(i128::from(mean) * i128::from(factor) / 1000).unwrap_or(mean)
    }

    /// One of `items`; the default of an empty slice.
    pub(crate) fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let at = self.count(0, items.len().saturating_sub(1));
        items.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.count(0, last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_means_are_right() {
        let mut rng = Rng::new(7);
        let draws: Vec<i64> = (0..20_000).map(|_| rng.range(-3, 3)).collect();
        assert_eq!((draws.iter().min(), draws.iter().max()), (Some(&-3), Some(&3)));
        assert!(draws.iter().sum::<i64>().abs() < 1_000);
        let total: i64 = (0..20_000).map(|_| rng.exponential(1_000)).sum();
        assert!((19_000_000..21_000_000).contains(&total), "{total}");
    }

    #[test]
    fn the_sequence_never_changes() {
        let mut rng = Rng::new(1);
        assert_eq!((rng.next_u64(), rng.next_u64()), (8_519_585_912_118_321_826, 10_835_778_687_377_268_269));
    }
}
