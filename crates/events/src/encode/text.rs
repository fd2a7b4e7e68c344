//! Text inside a JSON string.

/// Appends bytes whose number is known when compiled.
#[inline(always)]
pub(super) fn raw<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N]) {
    out.extend_from_slice(bytes);
}

/// Appends a name known to the code; none of them needs an escape.
#[inline]
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    let bytes = name.as_bytes();
    debug_assert!(!bytes.iter().any(|&byte| needs_escape(byte)), "{name:?} needs escapes");
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>())
        && bytes.len() <= 8
    {
        two_pieces(out, bytes.len(), first, last);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// Appends a code of letters, or `unknown` for what is no text.
#[inline]
pub(super) fn code<const N: usize>(out: &mut Vec<u8>, letters: &[u8; N], unknown: &str) {
    if letters.iter().all(u8::is_ascii_uppercase) {
        raw(out, letters);
    } else {
        text(out, std::str::from_utf8(letters).unwrap_or(unknown));
    }
}

/// Appends `text`, escaped where JSON asks for it.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let short = match bytes.len() {
        4..8 => two_plain_pieces::<4>(out, bytes),
        8..16 => two_plain_pieces::<8>(out, bytes),
        16..=32 => two_plain_pieces::<16>(out, bytes),
        _ => false,
    };
    if !short {
        any_text(out, bytes);
    }
}

/// Appends `N` to `2 × N` bytes if none of them needs an escape.
///
/// Nearly all texts are as short as that. They are looked at and written as two pieces that overlap, which
/// needs neither a loop nor a call.
#[inline(always)]
fn two_plain_pieces<const N: usize>(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    match (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        (Some(first), Some(last)) if is_plain(first) & is_plain(last) => {
            two_pieces(out, bytes.len(), first, last);
            true
        }
        _ => false,
    }
}

#[inline(always)]
fn two_pieces<const N: usize>(out: &mut Vec<u8>, length: usize, first: &[u8; N], last: &[u8; N]) {
    let last_at = out.len() + length - N;
    out.extend_from_slice(first);
    out.truncate(last_at);
    out.extend_from_slice(last);
}

/// Written without a way out of the loop, so that it becomes a handful of vector instructions.
#[inline(always)]
fn is_plain<const N: usize>(piece: &[u8; N]) -> bool {
    !piece.iter().fold(false, |found, &byte| found | needs_escape(byte))
}

/// A control character, a quote or a backslash. Flipping the second bit puts the quote right behind the
/// control characters, which saves a comparison.
#[inline(always)]
fn needs_escape(byte: u8) -> bool {
    (byte ^ 2 <= 0x20) | (byte == b'\\')
}

#[inline(never)]
fn any_text(out: &mut Vec<u8>, bytes: &[u8]) {
    let (pieces, rest) = bytes.as_chunks::<16>();
    if pieces.iter().all(is_plain) & !rest.iter().any(|&byte| needs_escape(byte)) {
        out.extend_from_slice(bytes);
    } else {
        escaped(out, bytes);
    }
}

#[cold]
fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = after.split_first() else { return };
        escape(out, byte);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// The short escape where there is one.
fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0C => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 0xF)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::{code, name, text};
    use proptest::prelude::*;

    #[track_caller]
    fn check(value: &str) {
        let mut out = b"\"".to_vec();
        text(&mut out, value);
        out.push(b'"');
        assert_eq!(String::from_utf8_lossy(&out), serde_json::to_string(value).unwrap());
    }

    #[test]
    fn every_ascii_character_at_every_place() {
        for length in [1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 50] {
            for at in 0..length {
                for byte in 0..128 {
                    let mut value = vec![b'x'; length];
                    value[at] = byte;
                    check(std::str::from_utf8(&value).unwrap());
                }
            }
        }
    }

    #[test]
    fn texts_of_every_length() {
        let long: String = ('a'..='z').cycle().take(100).collect();
        for length in 0..=long.len() {
            check(&long[..length]);
            let mut out = b"before".to_vec();
            name(&mut out, &long[..length]);
            assert_eq!(out, format!("before{}", &long[..length]).as_bytes());
        }
    }

    #[test]
    fn codes_that_are_none() {
        let check = |letters: [u8; 2], written: &str| {
            let mut out = Vec::new();
            code(&mut out, &letters, "??");
            assert_eq!(String::from_utf8_lossy(&out), written);
        };
        check(*b"US", "US");
        check(*b"us", "us");
        check(*b"\"\n", "\\\"\\n");
        check([0xFF, b'U'], "??");
    }

    proptest! {
        #[test]
        fn strings_are_escaped_as_serde_json_does(any in any::<String>(), odd in "[\u{0}-\u{24}\\\\\u{7f}-\u{ff}😀a-f]{0,60}") {
            check(&any);
            check(&odd);
        }
    }
}
