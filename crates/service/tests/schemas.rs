//! The schema of the journal in `schemas/` is the generated one.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

/// With `WEIR_BLESS=1` the file is written anew instead.
#[test]
fn the_file_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/journal.json");
    let text = weir_service::journal::schema();
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "journal.json is out of date: run cargo xtask schemas");
}
