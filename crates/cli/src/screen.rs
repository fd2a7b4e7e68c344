//! What a person sees: results on standard output, progress and errors on standard error.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;

/// The terminal, or what stands in for it.
#[derive(Debug)]
pub(crate) struct Screen {
    quiet: bool,
}

impl Screen {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Prints results, unless told to be quiet.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { self.print(text) }
    }

    /// Prints results that were asked for by name, quiet or not.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            // The reader has seen enough, as `head` has.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written.context("cannot write to the standard output")?),
        }
    }

    /// Prints a warning.
    pub(crate) fn warn(&self, text: &str) {
        tell(&format!("warning: {text}"));
    }

    /// Prints an error.
    pub(crate) fn error(&self, failure: &Failure) {
        let color =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        tell(&failure.render(color));
    }

    /// A bar over the bytes of a file; drawn only where standard error is a terminal.
    pub(crate) fn bar(&self, total_bytes: Option<u64>) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = match total_bytes {
            Some(bytes) => ProgressBar::new(bytes),
            None => ProgressBar::no_length(),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }
}

/// Prints a line on standard error; where that fails there is nobody left to tell.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
