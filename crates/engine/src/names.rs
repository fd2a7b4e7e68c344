//! What follows from the text of a merchant or a category, remembered for the texts seen last.

use weir_detectors::cross_merchant::groups::GroupMap;
use weir_detectors::names::Name;

use crate::table::seeded;

/// Texts remembered; a power of two.
const SLOTS: usize = 2048;
/// The longest text remembered; longer ones are rare and are read each time.
const TEXT_BYTES_MAX: usize = 55;

/// A text and what follows from it.
#[derive(Debug, Clone, Copy)]
struct Slot {
    text: [u8; TEXT_BYTES_MAX],
    length: u8,
    name: Name,
}

/// Remembers the [`Name`]s of texts in slots of fixed size, so that nobody can make it grow. A few
/// hundred texts make up nearly all of a stream, and reading one takes four hashes.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    groups: GroupMap,
    slots: Vec<Slot>,
    seed: u64,
}

impl Names {
    pub(crate) fn new(seed: u64) -> Self {
        let empty = Slot { text: [0; TEXT_BYTES_MAX], length: 0, name: Name::default() };
        Self { groups: GroupMap::default(), slots: vec![empty; SLOTS], seed }
    }

    /// What follows from `text`.
    pub(crate) fn name(&mut self, text: &str) -> Name {
        let at = usize::try_from(seeded(self.seed, text) % SLOTS as u64).unwrap_or_default();
        let length = text.len();
        // An empty text is not told from an empty slot.
        let slot = self.slots.get_mut(at).filter(|_| (1..=TEXT_BYTES_MAX).contains(&length));
        let Some(slot) = slot else { return Name::of(text, &self.groups) };
        if slot.text.get(..usize::from(slot.length)) == Some(text.as_bytes()) {
            return slot.name;
        }
        slot.name = Name::of(text, &self.groups);
        slot.length = u8::try_from(length).unwrap_or_default();
        if let Some(place) = slot.text.get_mut(..length) {
            place.copy_from_slice(text.as_bytes());
        }
        slot.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_name_is_the_name() {
        let (mut names, groups) = (Names::new(7), GroupMap::default());
        // More texts than slots, so that they drive each other out, and the longest that fits and one
        // byte more.
        let mut texts: Vec<String> = (0..3 * SLOTS).map(|number| format!("Shop {number}.com")).collect();
        texts.extend([0, 1, TEXT_BYTES_MAX, TEXT_BYTES_MAX + 1].map(|length| "x".repeat(length)));
        texts.extend(["5411", "Airlines", "www.Café.example", " padded "].map(str::to_owned));
        for _ in 0..2 {
            for text in &texts {
                for _ in 0..2 {
                    assert_eq!(names.name(text), Name::of(text, &groups), "{text:?}");
                }
            }
        }
    }
}
