//! Digits that hide behind JSON escapes: `\u0034` is a 4 to whoever reads the record.

/// Longest escape: a backslash, `u` and four hexadecimal digits.
const ESCAPE_BYTES: usize = 6;

/// Writes the escapes of digits, spaces and hyphens out, and leaves every other byte as it is, so that
/// a card number cannot be written past the masker. Fed in chunks of any size.
#[derive(Debug, Default)]
pub(crate) struct PlainDigits {
    /// What may become an escape.
    pending: Vec<u8>,
}

impl PlainDigits {
    /// Takes the next bytes and appends to `out` what can no longer become an escape.
    pub(crate) fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for &byte in chunk {
            self.take(byte, out);
        }
    }

    /// Ends the text.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.pending);
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        let goes_on = match self.pending.len() {
            0 => byte == b'\\',
            1 => byte == b'u',
            _ => byte.is_ascii_hexdigit(),
        };
        if !goes_on {
            // A backslash behind a backslash is escaped itself and begins nothing.
            let escaped = self.pending.len() == 1;
            out.append(&mut self.pending);
            if byte == b'\\' && !escaped {
                self.pending.push(byte);
            } else {
                out.push(byte);
            }
            return;
        }
        self.pending.push(byte);
        if self.pending.len() == ESCAPE_BYTES {
            match plain(&self.pending) {
                Some(byte) => out.push(byte),
                None => out.extend_from_slice(&self.pending),
            }
            self.pending.clear();
        }
    }
}

/// The digit, space or hyphen that an escape stands for.
fn plain(escape: &[u8]) -> Option<u8> {
    let code = std::str::from_utf8(escape.get(2..)?).ok()?;
    let byte = u8::try_from(u32::from_str_radix(code, 16).ok()?).ok()?;
    (byte.is_ascii_digit() || byte == b' ' || byte == b'-').then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::PlainDigits;

    #[test]
    fn digits_come_out_and_all_else_stays() {
        let check = |text: &str, plain: &str| {
            for chunk_bytes in [1, 2, 3, 5, 100] {
                let (mut digits, mut out) = (PlainDigits::default(), Vec::new());
                text.as_bytes().chunks(chunk_bytes).for_each(|chunk| digits.feed(chunk, &mut out));
                digits.finish(&mut out);
                assert_eq!(String::from_utf8_lossy(&out), plain, "{text} in chunks of {chunk_bytes}");
            }
        };
        check(r#"{"a":"4111\u003111111111111"}"#, r#"{"a":"4111111111111111"}"#);
        check(r"\u0034\u0020\u002d\u002D", "4 --");
        check(r"\u0041\n\\u0034\\\u0034\u00", r"\u0041\n\\u0034\\4\u00");
        check(r"\\", r"\\");
        check(r"\\\u0039", r"\\9");
        check(r"\u00\u0031", r"\u001");
        check(r"\", r"\");
    }
}
