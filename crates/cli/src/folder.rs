//! Folders to write into.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::failure::Failure;

/// Makes an output folder, with those above it, unless it is there.
pub(crate) fn make(path: &Path) -> Result<(), Failure> {
    if fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
        return Err(Failure::Usage(format!("{} is a file; --out wants a directory", path.display())));
    }
    Ok(fs::create_dir_all(path).with_context(|| {
        format!("cannot create the directory {}; name one that can be written", path.display())
    })?)
}
