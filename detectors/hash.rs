//! The hash of names that state keeps instead of the names themselves.
//!
//! SipHash-1-3 under a fixed key: state and snapshots must mean the same everywhere, and a name that
//! collides with a given other one cannot be found by search in useful time.

use siphasher::sip::SipHasher13;

const KEY: (u64, u64) = (0x7765_6972_2d6e_616d, 0x6573_2d76_3120_2020);

/// Hash of a name, never 0, which stands for "none".
#[must_use]
pub fn name_hash(name: &[u8]) -> u64 {
    SipHasher13::new_with_keys(KEY.0, KEY.1).hash(name).max(1)
}

/// One number for two that are hashes themselves, or spread well enough.
#[must_use]
pub fn pair_hash(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b | 1) + u128::from(b);
    #[allow(clippy::cast_possible_truncation, reason = "both halves are folded together")]
    let folded = (product >> 64) as u64 ^ product as u64 ^ a.rotate_left(29);
    folded.max(1)
}
