//! What can be wrong with an input file, said with the remedy.

use std::io;

/// An input file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file.
    #[error("{name}: there is no such file; check the path")]
    Missing {
        /// The path as given.
        name: String,
    },
    /// A folder where a file is wanted.
    #[error("{name}: this is a directory; name one file in it")]
    Directory {
        /// The path as given.
        name: String,
    },
    /// The operating system refuses.
    #[error("{name}: permission denied; make it readable for the user that runs weir")]
    Permission {
        /// The path as given.
        name: String,
    },
    /// Neither JSON lines nor Parquet.
    #[error("{name}: this is {found}, not a stream of records; {remedy}")]
    OtherKind {
        /// The path as given.
        name: String,
        /// What it looks like.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A compressed file that stops early.
    #[error("{name}: the {compression} data ends too early; the file was cut off, copy or download it again")]
    Truncated {
        /// The path as given.
        name: String,
        /// `gzip` or `zstd`.
        compression: &'static str,
    },
    /// A compressed file with damage.
    #[error("{name}: the {compression} data is damaged ({source}); copy or download it again")]
    Damaged {
        /// The path as given.
        name: String,
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
    /// A Parquet file that cannot be decoded.
    #[error(
        "{name}: this Parquet file cannot be read ({message}); write it again, with zstd or no compression"
    )]
    Parquet {
        /// The path as given.
        name: String,
        /// What the decoder said.
        message: String,
    },
    /// A Parquet file with other columns.
    #[error(
        "{name}: this Parquet file has no column {missing}; it has {found}. \
         Name the columns as the fields of the JSON records"
    )]
    Columns {
        /// The path as given.
        name: String,
        /// The missing columns, comma separated.
        missing: String,
        /// The columns of the file, comma separated.
        found: String,
    },
    /// Any other failure of the operating system.
    #[error("{name}: cannot be read ({source})")]
    Io {
        /// The path as given.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The temporary files of a sort, or of Parquet that comes through a pipe.
    #[error(
        "{name}: the temporary files for it in {folder} failed ({source}); free space there or set TMPDIR"
    )]
    Temporary {
        /// The path as given.
        name: String,
        /// Where the temporary files are.
        folder: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ReadError {
    /// The error for a failure of temporary files.
    pub(crate) fn temporary(name: &str, source: io::Error) -> Self {
        Self::Temporary { name: name.to_owned(), folder: std::env::temp_dir().display().to_string(), source }
    }

    /// The error for a failure to open or to read a plain file.
    pub(crate) fn from_io(name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { name },
            io::ErrorKind::IsADirectory => Self::Directory { name },
            io::ErrorKind::PermissionDenied => Self::Permission { name },
            _ => Self::Io { name, source },
        }
    }
}
