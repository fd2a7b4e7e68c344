//! Records that are too long to be held: what a reject needs of them is gathered while they pass.

use weir_events::reject::{Original, OriginalReader};

/// An oversized record that is being read. The carriage return of a CRLF belongs to the end of the
/// line, and whether one does shows only with the next piece, so it is held back.
#[derive(Default)]
pub(crate) struct LongRecord {
    original: OriginalReader,
    held_return: bool,
}

impl LongRecord {
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        if std::mem::take(&mut self.held_return) {
            self.original.feed(b"\r");
        }
        let before = piece.strip_suffix(b"\r");
        self.held_return = before.is_some();
        self.original.feed(before.unwrap_or(piece));
    }

    pub(crate) fn finish(self) -> Box<Original> {
        Box::new(self.original.finish())
    }
}
