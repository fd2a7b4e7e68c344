//! The hash of names that state keeps instead of the names themselves.
//!
//! SipHash-1-3 under a fixed key: state and snapshots must mean the same everywhere, and a name that
//! collides with a given other one cannot be found by search in useful time.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

const KEY: (u64, u64) = (0x7765_6972_2d6e_616d, 0x6573_2d76_3120_2020);

/// Hash of a name, never 0, which stands for "none".
#[must_use]
pub fn name_hash(name: &[u8]) -> u64 {
    SipHasher13::new_with_keys(KEY.0, KEY.1).hash(name).max(1)
}

/// Hash of two numbers.
#[must_use]
pub fn pair_hash(a: u64, b: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
    hasher.write_u64(a);
    hasher.write_u64(b);
    hasher.finish().max(1)
}
