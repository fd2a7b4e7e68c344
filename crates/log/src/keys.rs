//! Which partition a key belongs in.

/// How the producers of a topic choose the partition of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// Java's default: murmur2 of the key.
    Murmur2,
    /// librdkafka's default: CRC-32 of the key.
    Crc32,
    /// Unknown: nothing is checked.
    Any,
}

/// Why a record's key is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// The key is not the id.
    Mismatch,
    /// The key belongs in this partition.
    WrongPartition(i32),
}

impl Partitioner {
    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Murmur2 => "murmur2",
            Self::Crc32 => "crc32",
            Self::Any => "any",
        }
    }

    /// The partition of a key, of `partitions`; `None` where it cannot be known.
    #[must_use]
    pub fn partition(self, key: &[u8], partitions: i32) -> Option<i32> {
        let partitions = u32::try_from(partitions).ok().filter(|&partitions| partitions > 0)?;
        let hash = match self {
            Self::Murmur2 => murmur2(key) & 0x7fff_ffff,
            Self::Crc32 => crc32(key),
            Self::Any => return None,
        };
        i32::try_from(hash % partitions).ok()
    }

    /// Checks a record's key against the id that it should be, and its partition against the key.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(
        self,
        key: Option<&[u8]>,
        id: &str,
        partition: i32,
        partitions: i32,
    ) -> Result<(), KeyFault> {
        if key != Some(id.as_bytes()) {
            return Err(KeyFault::Mismatch);
        }
        match self.partition(id.as_bytes(), partitions) {
            Some(expected) if expected != partition => Err(KeyFault::WrongPartition(expected)),
            _ => Ok(()),
        }
    }
}

/// MurmurHash2, 32 bit, with the seed that Kafka's Java clients use.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word = <[u8; 4]>::try_from(word).map_or(0, u32::from_le_bytes).wrapping_mul(M);
        let word = (word ^ word >> 24).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ word;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

/// CRC-32 as in zlib.
fn crc32(key: &[u8]) -> u32 {
    !key.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_clients() {
        // From the Java client's own tests, and the check value of CRC-32.
        let murmur = |key: &str| murmur2(key.as_bytes()).cast_signed();
        assert_eq!(murmur("21"), -973_932_308);
        assert_eq!(murmur("foobar"), -790_332_482);
        assert_eq!(murmur("a-little-bit-long-string"), -985_981_536);
        assert_eq!(murmur("a-little-bit-longer-string"), -1_486_304_829);
        assert_eq!(murmur("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"), -58_897_971);
        assert_eq!(murmur("abc"), 479_470_107);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_record_stands_where_its_key_belongs() {
        let check = |key: Option<&str>, partition| {
            Partitioner::Murmur2.check(key.map(str::as_bytes), "abc", partition, 4)
        };
        assert_eq!(check(Some("abc"), 3), Ok(()));
        assert_eq!(check(Some("abc"), 2), Err(KeyFault::WrongPartition(3)));
        assert_eq!(check(Some("abd"), 3), Err(KeyFault::Mismatch));
        assert_eq!(check(None, 3), Err(KeyFault::Mismatch));
        assert_eq!(Partitioner::Any.check(Some(b"abc"), "abc", 2, 4), Ok(()));
    }
}
