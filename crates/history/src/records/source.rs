//! Opening a file and finding out from its first bytes what it is.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::{ReadError, spooled};

/// How many first bytes are looked at.
const SAMPLE_BYTES: usize = 8 << 10;
/// Below this a sample is too short to be called binary by its statistics.
const SAMPLE_BYTES_MIN: usize = 64;
const IO_BUFFER_BYTES: usize = 256 << 10;
const PARQUET_MAGIC: &[u8] = b"PAR1";
const CONVERT: &str = "give newline-delimited JSON or Parquet, plain, gzip or zstd";
const DECOMPRESS: &str = "decompress it first";
const UTF_8: &str = "convert it to UTF-8 first";

/// First bytes that no stream of records has, what they mean, and what to do.
const OTHER_KINDS: &[(&[u8], &str, &str)] = &[
    (b"\x89PNG", "a PNG image", CONVERT),
    (b"\xFF\xD8\xFF", "a JPEG image", CONVERT),
    (b"GIF8", "a GIF image", CONVERT),
    (b"%PDF", "a PDF document", CONVERT),
    (b"\x7FELF", "a program (ELF)", CONVERT),
    (b"MZ", "a Windows program", CONVERT),
    (b"PK\x03\x04", "a ZIP archive (or an office document)", "unpack it first"),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive", "unpack it first"),
    (b"\xFD7zXZ\x00", "xz-compressed", DECOMPRESS),
    (b"BZh", "bzip2-compressed", DECOMPRESS),
    (b"\x04\x22\x4D\x18", "LZ4-compressed", DECOMPRESS),
    (b"SQLite format 3", "an SQLite database", "export the table as JSON lines"),
    (b"Obj\x01", "an Avro file", CONVERT),
    (b"ORC", "an ORC file", CONVERT),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"\xFF\xFE", "UTF-16 text", UTF_8),
    (b"\xFE\xFF", "UTF-16 text", UTF_8),
];

/// What was found behind a path.
pub(crate) enum Opened {
    /// JSON lines, decompressed.
    Text { reader: TextSource, name: String, progress: Progress },
    /// A Parquet file.
    Parquet { file: File, name: String, progress: Progress },
}

/// A stream of text.
pub(crate) struct TextSource {
    pub(crate) reader: Box<dyn Read + Send>,
    pub(crate) compression: Compression,
}

impl fmt::Debug for TextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextSource").field("compression", &self.compression).finish_non_exhaustive()
    }
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(sample: &[u8]) -> Self {
        match sample {
            [0x1F, 0x8B, ..] => Self::Gzip,
            // A zstd frame, or a skippable one, which some writers put first.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What a failed read means.
    pub(crate) fn error(self, name: &str, source: io::Error) -> ReadError {
        let compression = match self {
            Self::Plain => return ReadError::from_io(name, source),
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        };
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Truncated { name, compression },
            _ => ReadError::Damaged { name, compression, source },
        }
    }
}

/// How far a file has been read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    bytes_read: Arc<AtomicU64>,
    total_bytes: Option<u64>,
}

impl Progress {
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    pub(crate) fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }
}

/// Counts what passes.
struct Counted<R> {
    inner: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.progress.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// Opens a path, `-` for the standard input.
pub(crate) fn open(path: &Path) -> Result<Opened, ReadError> {
    if path.as_os_str() == "-" {
        let name = "standard input".to_owned();
        return detect(Raw::Stream(Box::new(io::stdin())), name, Progress::default());
    }
    let name = path.display().to_string();
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| ReadError::from_io(&name, error))?;
    if metadata.is_dir() {
        return Err(ReadError::Directory { name });
    }
    if metadata.is_file() {
        let progress = Progress { total_bytes: Some(metadata.len()), ..Progress::default() };
        detect(Raw::File(file), name, progress)
    } else {
        detect(Raw::Stream(Box::new(file)), name, Progress::default())
    }
}

/// An opened path, before it is known what it holds.
enum Raw {
    File(File),
    /// A pipe or a terminal: read once, from start to end.
    Stream(Box<dyn Read + Send>),
}

fn detect(mut raw: Raw, name: String, progress: Progress) -> Result<Opened, ReadError> {
    let sample = match &mut raw {
        Raw::File(file) => sample(file),
        Raw::Stream(stream) => sample(stream),
    };
    let sample = sample.map_err(|error| ReadError::from_io(&name, error))?;
    if sample.starts_with(PARQUET_MAGIC) {
        let file = match raw {
            Raw::File(mut file) => {
                file.seek(SeekFrom::Start(0)).map_err(|error| ReadError::from_io(&name, error))?;
                file
            }
            Raw::Stream(stream) => spooled(Cursor::new(sample).chain(stream))
                .map_err(|error| ReadError::temporary(&name, error))?,
        };
        let size = file.metadata().map(|metadata| metadata.len()).ok();
        let progress = Progress { total_bytes: size, ..progress };
        return Ok(Opened::Parquet { file, name, progress });
    }
    let compression = Compression::of(&sample);
    let rest: Box<dyn Read + Send> = match raw {
        Raw::File(file) => Box::new(file),
        Raw::Stream(stream) => stream,
    };
    let whole = Counted { inner: Cursor::new(sample).chain(rest), progress: progress.clone() };
    let reader = text_source(whole, compression, &name)?;
    Ok(Opened::Text { reader, name, progress })
}

/// Unpacks a stream and makes sure that what comes out can be text.
fn text_source(
    packed: impl Read + Send + 'static,
    compression: Compression,
    name: &str,
) -> Result<TextSource, ReadError> {
    let buffered = io::BufReader::with_capacity(IO_BUFFER_BYTES, packed);
    let mut reader: Box<dyn Read + Send> = match compression {
        Compression::Plain => Box::new(buffered),
        Compression::Gzip => Box::new(MultiGzDecoder::new(buffered)),
        Compression::Zstd => {
            let decoder = zstd::Decoder::with_buffer(buffered);
            Box::new(decoder.map_err(|error| compression.error(name, error))?)
        }
    };
    let head = sample(&mut reader).map_err(|error| compression.error(name, error))?;
    refuse_other_kinds(&head, name)?;
    Ok(TextSource { reader: Box::new(Cursor::new(head).chain(reader)), compression })
}

fn sample(reader: &mut (impl Read + ?Sized)) -> io::Result<Vec<u8>> {
    let mut sample = Vec::with_capacity(SAMPLE_BYTES);
    reader.take(SAMPLE_BYTES as u64).read_to_end(&mut sample)?;
    Ok(sample)
}

fn refuse_other_kinds(head: &[u8], name: &str) -> Result<(), ReadError> {
    let packed_again = Compression::of(head) != Compression::Plain || head.starts_with(PARQUET_MAGIC);
    let known = OTHER_KINDS.iter().find(|(magic, _, _)| head.starts_with(magic));
    let (found, remedy) = match known {
        Some(&(_, found, remedy)) => (found, remedy),
        None if packed_again => ("compressed twice (or Parquet inside gzip or zstd)", "decompress it once"),
        None if is_binary(head) => ("binary data", CONVERT),
        None => return Ok(()),
    };
    Err(ReadError::OtherKind { name: name.to_owned(), found, remedy })
}

/// Whether a sample cannot be lines of JSON: no line begins an object, and more than a tenth of the
/// bytes are control characters or not UTF-8. Single bad records are not the file's fault.
fn is_binary(head: &[u8]) -> bool {
    let has_object = head.split(|&byte| byte == b'\n').any(|line| line.trim_ascii_start().starts_with(b"{"));
    if has_object || head.len() < SAMPLE_BYTES_MIN {
        return false;
    }
    let controls = head.iter().filter(|&&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')).count();
    let not_utf_8: usize = head.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    (controls + not_utf_8) * 10 > head.len()
}
