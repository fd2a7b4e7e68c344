//! How a command can end other than well.

use std::fmt;
use std::process::ExitCode;

use crate::config::Problems;

/// Why a command failed; gives its exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong: exit 2.
    Configuration(Problems),
    /// The command was given something it cannot work with: exit 2.
    Usage(String),
    /// Anything else: exit 1.
    Failed(anyhow::Error),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Configuration(_) | Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        })
    }

    /// The message, with colors where the terminal takes them.
    pub(crate) fn render(&self, color: bool) -> String {
        match self {
            Self::Configuration(problems) => problems.render(color),
            Self::Usage(_) | Self::Failed(_) => format!("error: {self}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(problems) => problems.fmt(f),
            Self::Usage(message) => f.write_str(message),
            Self::Failed(error) => f.write_str(&told(error)),
        }
    }
}

/// An error and its causes in one line. Some messages hold their cause's already: it is told once.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        before if before.contains(&cause) => told,
        before => format!("{before}: {cause}"),
    })
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
