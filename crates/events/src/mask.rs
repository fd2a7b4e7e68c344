//! Card numbers never leave: what looks like one is masked to its last four digits.
//!
//! A group is a run of ASCII digits; groups with nothing but spaces and hyphens between them (at most
//! [`MAX_SEPARATORS`] in a row) stand together. Any run of whole groups that stand together, has 13 to
//! 19 digits and passes Luhn is masked, separators kept: `2026-05-05 4111111111111111` does not hide
//! its card behind the date. A group of more than 19 digits is no card. Digits other than ASCII and
//! digits or separators written as JSON escapes are not looked at here: rejected originals, the one raw
//! text that is given out, have theirs written out before.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use serde::{Serialize, Serializer};

/// Fewest digits of a card number.
const MIN_DIGITS: usize = 13;
/// Most digits of a card number.
const MAX_DIGITS: usize = 19;
/// Digits left readable.
const SHOWN_DIGITS: usize = 4;
/// Most spaces and hyphens between two groups that still stand together.
pub const MAX_SEPARATORS: usize = 8;

/// Prints a string with everything that looks like a card number masked to its last four digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Masked<'a>(pub &'a str);

impl Serialize for Masked<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&mask(self.0))
    }
}

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(self.0))
    }
}

/// `text` with card numbers masked; borrowed where there is none. Masking twice changes nothing.
#[must_use]
#[inline]
pub fn mask(text: &str) -> Cow<'_, str> {
    if may_hold_card(text.as_bytes()) { mask_cards(text) } else { Cow::Borrowed(text) }
}

#[cold]
fn mask_cards(text: &str) -> Cow<'_, str> {
    let masked = mask_bytes(text.as_bytes());
    if masked == text.as_bytes() {
        return Cow::Borrowed(text);
    }
    // Only ASCII digits were replaced, by an ASCII character.
    Cow::Owned(String::from_utf8(masked).unwrap_or_default())
}

fn mask_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(bytes.len());
    let mut masker = Masker::default();
    masker.feed(bytes, &mut masked);
    masker.finish(&mut masked);
    masked
}

/// Whether enough digits stand together, separators not counted. Nearly every text has too few digits
/// as it is, which is found out without looking at where they stand.
#[inline]
fn may_hold_card(bytes: &[u8]) -> bool {
    bytes.len() >= MIN_DIGITS && digit_count(bytes) >= MIN_DIGITS && most_together(bytes) >= MIN_DIGITS
}

/// Counts the digits, eight bytes at a time.
#[inline]
fn digit_count(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let whole: usize = words.iter().map(|&word| digits_in(u64::from_le_bytes(word))).sum();
    match (rest.len(), bytes.last_chunk::<8>()) {
        (0, _) => whole,
        // Of the last eight bytes only the rest is new.
        (new, Some(&last)) => whole + digits_in(u64::from_le_bytes(last) >> (8 * (8 - new))),
        (_, None) => rest.iter().filter(|byte| byte.is_ascii_digit()).count(),
    }
}

/// The number of bytes of `word` that are digits.
#[inline(always)]
fn digits_in(word: u64) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // Digits become 0 to 9; what is 10 or more gets its top bit set.
    let values = word ^ (ONES * u64::from(b'0'));
    let others = (((values & (ONES * 0x7F)) + ONES * 0x76) | values) >> 7 & ONES;
    8 - (others.wrapping_mul(ONES) >> 56) as usize
}

/// The most digits between which nothing but separators stands, however many those are.
fn most_together(bytes: &[u8]) -> usize {
    let (mut most, mut digits) = (0, 0);
    for byte in bytes {
        match byte {
            b'0'..=b'9' => digits += 1,
            b' ' | b'-' => {}
            _ => digits = 0,
        }
        most = most.max(digits);
    }
    most
}

/// Masks a text that comes in chunks; holds back at most 19 digits and what stands between them.
#[derive(Debug, Default)]
pub struct Masker {
    /// Masked as far as known, and not given out yet. Empty, or begins with the window's first digit.
    held: VecDeque<u8>,
    /// The latest digits that stand together, at most [`MAX_DIGITS`].
    window: VecDeque<Digit>,
    /// Whether the last byte was a digit.
    in_group: bool,
    /// Separators since the last digit.
    separators: usize,
}

#[derive(Debug, Clone, Copy)]
struct Digit {
    value: u8,
    /// Whether a card number may begin here: at the start of a group, or after a masked digit.
    starts: bool,
    /// Bytes from the digit before it to this one.
    distance: usize,
}

impl Masker {
    /// Takes the next bytes and appends to `out` what can no longer change.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        while let Some((&byte, after)) = rest.split_first() {
            match byte {
                b'0'..=b'9' => self.digit(byte, out),
                b' ' | b'-' if !self.window.is_empty() => self.separator(byte, out),
                _ => {
                    self.finish(out);
                    let plain = rest.iter().position(u8::is_ascii_digit).unwrap_or(rest.len());
                    let (plain, digits) = rest.split_at(plain);
                    out.extend_from_slice(plain);
                    rest = digits;
                    continue;
                }
            }
            rest = after;
        }
    }

    /// Appends what was held back; the masker can be used again.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_group();
        out.extend(self.held.drain(..));
        self.window.clear();
        self.separators = 0;
    }

    fn digit(&mut self, byte: u8, out: &mut Vec<u8>) {
        let distance = if self.window.is_empty() { 0 } else { self.separators + 1 };
        self.window.push_back(Digit { value: byte - b'0', starts: !self.in_group, distance });
        self.held.push_back(byte);
        self.in_group = true;
        self.separators = 0;
        if self.window.len() > MAX_DIGITS {
            // Whatever run ends at this digit or later is too long to hold the first one.
            self.window.pop_front();
            let released = self.window.front().map_or(0, |first| first.distance);
            out.extend(self.held.drain(..released));
        }
    }

    fn separator(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.end_group();
        self.held.push_back(byte);
        self.separators += 1;
        if self.separators > MAX_SEPARATORS {
            self.finish(out);
        }
    }

    /// Masks the longest run of whole groups that ends here and passes Luhn.
    fn end_group(&mut self) {
        if !std::mem::take(&mut self.in_group) || self.window.len() < MIN_DIGITS {
            return;
        }
        let Some(length) = self.card_length() else { return };
        let first = self.window.len() - length;
        let shown = self.window.len() - SHOWN_DIGITS;
        let mut at = 0;
        for (index, digit) in self.window.iter_mut().enumerate() {
            // The first digit's distance leads to one that is no longer held.
            at += if index == 0 { 0 } else { digit.distance };
            if index == shown {
                digit.starts = true;
                break;
            }
            if index >= first
                && let Some(byte) = self.held.get_mut(at)
            {
                *byte = b'*';
            }
        }
    }

    /// Digits of the longest card number at the end of the window.
    fn card_length(&self) -> Option<usize> {
        let (mut sum, mut found) = (0_u32, None);
        for (index, digit) in self.window.iter().rev().enumerate() {
            let value = u32::from(digit.value);
            // Luhn doubles every second digit from the right and adds the digits of the product.
            sum += match (index % 2 == 1, value) {
                (true, 5..) => value * 2 - 9,
                (true, _) => value * 2,
                (false, _) => value,
            };
            if digit.starts && index + 1 >= MIN_DIGITS && sum % 10 == 0 {
                found = Some(index + 1);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::{Masker, mask};
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, masked: &str) {
        assert_eq!(mask(text), masked);
    }

    #[test]
    fn cards_are_masked() {
        check("4111111111111111", "************1111");
        check("4111 1111 1111 1111", "**** **** **** 1111");
        check("4111-1111-1111-1111", "****-****-****-1111");
        check("card 378282246310005!", "card ***********0005!");
        check("4222222222222", "*********2222");
        check("x4111111111111111y", "x************1111y");
        check("2026-05-05 4111111111111111", "2026-05-05 ************1111");
        check("4111 1111 1111 1111 123", "**** **** **** 1111 123");
        check("4111  1111 - 1111 1111", "****  **** - **** 1111");
        check("6011000990139424,4111111111111111", "************9424,************1111");
        check("0000000000000000000", "***************0000");
        check("é4111111111111111é", "é************1111é");
    }

    #[test]
    fn other_numbers_are_kept() {
        for text in [
            "",
            "4111111111111112",
            "411111111111",
            "00000000000000000000",
            "41111111111111114111111111111111",
            "4111 1111 1111.1111",
            "2026-05-05T14:01:00.000000Z",
            "4111111111         111111",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_card_behind_an_accidental_one_is_masked_too() {
        // 18 4111 1111 1111 passes Luhn by chance; the card that begins inside it still shows four.
        let text = "18 4111 1111 1111 1111";
        assert!(mask(text).ends_with("**** 1111"), "{}", mask(text));
        assert!(!mask(text).contains("1111 1111"), "{}", mask(text));
    }

    /// Whether some run of whole groups is a card number, by trying every one.
    fn has_card(text: &str) -> bool {
        let mut groups: Vec<Vec<String>> = vec![vec![]];
        for piece in text.split(|c: char| !(c.is_ascii_digit() || c == ' ' || c == '-')) {
            groups.push(vec![]);
            let mut gap = 0;
            let mut digits = String::new();
            for c in piece.chars().chain([' ']) {
                if c.is_ascii_digit() {
                    if gap > super::MAX_SEPARATORS {
                        groups.push(vec![]);
                    }
                    gap = 0;
                    digits.push(c);
                } else {
                    gap += 1;
                    if !digits.is_empty() {
                        groups.last_mut().unwrap().push(std::mem::take(&mut digits));
                    }
                }
            }
        }
        groups.iter().any(|run| {
            (0..run.len()).any(|from| {
                (from..run.len()).any(|to| {
                    let digits = run.get(from..=to).unwrap().concat();
                    (13..=19).contains(&digits.len()) && luhn(&digits)
                })
            })
        })
    }

    fn luhn(digits: &str) -> bool {
        let doubled = |digit: u32| (digit * 2).checked_sub(9).filter(|_| digit > 4).unwrap_or(digit * 2);
        let value = |(at, c): (usize, char)| {
            let digit = c.to_digit(10).unwrap();
            if at % 2 == 1 { doubled(digit) } else { digit }
        };
        digits.chars().rev().enumerate().map(value).sum::<u32>() % 10 == 0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn nothing_that_is_left_looks_like_a_card(text in "([0-9]{0,20}[ -]{0,3}){0,12}|[0-9 -]{0,80}|([0-9]{4} ){0,9}|[01 ]{0,60}|\\PC{0,60}") {
            let masked = mask(&text);
            prop_assert!(!has_card(&masked), "{text} -> {masked}");
            prop_assert_eq!(mask(&masked), &*masked);
            prop_assert_eq!(masked.len(), text.len());
            prop_assert_eq!(has_card(&text), masked != text);
        }

        #[test]
        fn chunks_make_no_difference(text in "([0-9]{1,6}[ -]{0,2}){0,20}[a-z]{0,3}([0-9]{4}[ -]?){0,6}", size in 1_usize..9) {
            let mut masker = Masker::default();
            let mut out = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                masker.feed(chunk, &mut out);
                prop_assert!(masker.held.len() < 19 * (super::MAX_SEPARATORS + 2));
            }
            masker.finish(&mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), mask(&text));
        }
    }
}
