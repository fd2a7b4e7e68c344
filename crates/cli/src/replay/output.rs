//! The directory that a replay writes.
//!
//! Everything is written under a hidden folder first and moved into place when it is whole, the
//! summary last: a directory without `summary.json` is no whole replay.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use weir_detectors::risk::VIEWS;
use weir_events::view::{Row, View};
use weir_events::{Alert, Reject, RiskProfile};
use weir_history::output::{
    ALERT_COLUMNS, DECISION_COLUMNS, REJECT_COLUMNS, RISK_SCORE_COLUMNS, RecordColumn, RecordParquetWriter,
    write_rows_ndjson, write_rows_parquet,
};

use super::background::Background;
use super::summary::Summary;
use crate::args::Format;
use crate::failure::Failure;

const PARTIAL: &str = ".weir-replay-partial";
const VIEWS_FOLDER: &str = "views";
const SUMMARY: &str = "summary.json";
const RECORDS: [(&str, &[RecordColumn]); 4] = [
    ("decisions", DECISION_COLUMNS),
    ("rejects", REJECT_COLUMNS),
    ("alerts", ALERT_COLUMNS),
    ("risk-scores", RISK_SCORE_COLUMNS),
];
const BUFFER_BYTES: usize = 1 << 20;

/// Ending of the files of a format.
pub(super) fn extension(format: Format) -> &'static str {
    match format {
        Format::Ndjson => "ndjson",
        Format::Parquet => "parquet",
    }
}

/// The output of a replay while it is being written. Dropped before [`Output::finish`], it leaves
/// nothing behind.
#[derive(Debug)]
pub(super) struct Output {
    folder: PathBuf,
    format: Format,
    decisions: RecordFile,
    rejects: RecordFile,
    alerts: RecordFile,
    risk_scores: RecordFile,
    line: Vec<u8>,
    whole: bool,
}

impl Output {
    /// Begins in `folder`, which is created; refused when it holds anything else than a replay's
    /// output.
    pub(super) fn create(folder: &Path, format: Format) -> Result<Self, Failure> {
        let shown = folder.display();
        crate::folder::make(folder)?;
        if let Some(stranger) =
            stranger(folder).with_context(|| format!("cannot read the directory {shown}"))?
        {
            return Err(Failure::Usage(format!(
                "{shown} holds {stranger}, which is not a replay's output; name an empty or a new directory"
            )));
        }
        let partial = folder.join(PARTIAL);
        let begin = || -> io::Result<()> {
            // What an earlier replay left could be taken for this one's, should this one be interrupted.
            // Its summary goes first.
            outputs().try_for_each(|name| remove(&folder.join(name)))?;
            remove(&partial)?;
            fs::create_dir(&partial)?;
            fs::create_dir(partial.join(VIEWS_FOLDER))
        };
        begin()
            .with_context(|| format!("cannot write into {shown}; check its permissions and free space"))?;
        let open = |name: &str| {
            let columns =
                RECORDS.iter().find(|(known, _)| *known == name).map_or(DECISION_COLUMNS, |(_, of)| *of);
            RecordFile::create(&partial.join(format!("{name}.{}", extension(format))), format, columns)
        };
        Ok(Self {
            folder: folder.to_owned(),
            format,
            decisions: open("decisions")?,
            rejects: open("rejects")?,
            alerts: open("alerts")?,
            risk_scores: open("risk-scores")?,
            line: Vec::new(),
            whole: false,
        })
    }

    /// Writes encoded decisions, each a line.
    pub(super) fn decisions(&mut self, lines: &[u8]) -> Result<()> {
        self.decisions.push(lines)
    }

    /// Writes encoded decisions, each a line, and empties `lines`.
    pub(super) fn take_decisions(&mut self, lines: &mut Vec<u8>) -> Result<()> {
        self.decisions.take(lines)
    }

    pub(super) fn reject(&mut self, reject: &Reject) -> Result<()> {
        push(&mut self.rejects, &mut self.line, reject)
    }

    pub(super) fn alert(&mut self, alert: &Alert) -> Result<()> {
        push(&mut self.alerts, &mut self.line, alert)
    }

    pub(super) fn risk_score(&mut self, profile: &RiskProfile<'_>) -> Result<()> {
        push(&mut self.risk_scores, &mut self.line, profile)
    }

    pub(super) fn view(&mut self, view: &View, rows: &[Row]) -> Result<()> {
        let path =
            self.partial().join(VIEWS_FOLDER).join(format!("{}.{}", view.name, extension(self.format)));
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        match self.format {
            Format::Ndjson => write_rows_ndjson(view, rows, &mut file)?,
            Format::Parquet => write_rows_parquet(view, rows, &mut file)?,
        }
        file.flush().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Moves everything into place, the summary last.
    pub(super) fn finish(mut self, summary: &Summary) -> Result<()> {
        for file in [&mut self.decisions, &mut self.rejects, &mut self.alerts, &mut self.risk_scores] {
            file.finish()?;
        }
        let (folder, partial) = (self.folder.clone(), self.partial());
        fs::write(partial.join(SUMMARY), serde_json::to_vec_pretty(summary)?)
            .context("cannot write summary.json")?;
        for name in outputs().skip(1).chain([SUMMARY.to_owned()]) {
            let from = partial.join(&name);
            if from.exists() {
                fs::rename(&from, folder.join(&name))
                    .with_context(|| format!("cannot move {name} into place"))?;
            }
        }
        self.whole = true;
        Ok(())
    }

    fn partial(&self) -> PathBuf {
        self.folder.join(PARTIAL)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // What cannot be removed is under a name that nobody takes for a replay's output.
        let _ = remove(&self.partial());
        if !self.whole {
            // Succeeds only when the directory is empty: one that was made for nothing.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Names that a replay gives, in either format, the summary first.
fn outputs() -> impl Iterator<Item = String> {
    let records = RECORDS.iter().flat_map(|(name, _)| [format!("{name}.ndjson"), format!("{name}.parquet")]);
    [SUMMARY.to_owned(), VIEWS_FOLDER.to_owned()].into_iter().chain(records)
}

/// The first thing in `folder` that no replay has written.
fn stranger(folder: &Path) -> io::Result<Option<String>> {
    let known: Vec<String> = outputs().chain([PARTIAL.to_owned()]).collect();
    let views =
        VIEWS.iter().flat_map(|view| [format!("{}.ndjson", view.name), format!("{}.parquet", view.name)]);
    let known_views: Vec<String> = views.collect();
    for (folder, known) in [(folder.to_owned(), known), (folder.join(VIEWS_FOLDER), known_views)] {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type()?.is_dir();
            if !known.contains(&name) || is_folder != (name == VIEWS_FOLDER || name == PARTIAL) {
                return Ok(Some(name));
            }
        }
    }
    Ok(None)
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn push(file: &mut RecordFile, line: &mut Vec<u8>, record: &impl Serialize) -> Result<()> {
    line.clear();
    serde_json::to_writer(&mut *line, record)?;
    line.push(b'\n');
    file.push(line)
}

/// One file of records.
enum RecordFile {
    Ndjson { file: Background, path: PathBuf },
    Parquet { writer: Option<Box<RecordParquetWriter<BufWriter<File>>>>, path: PathBuf },
}

impl RecordFile {
    fn create(path: &Path, format: Format, columns: &'static [RecordColumn]) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let path = path.to_owned();
        Ok(match format {
            Format::Ndjson => Self::Ndjson { file: Background::new(file), path },
            Format::Parquet => {
                let file = BufWriter::with_capacity(BUFFER_BYTES, file);
                Self::Parquet { writer: Some(Box::new(RecordParquetWriter::new(file, columns)?)), path }
            }
        })
    }

    /// Appends records, each a line.
    fn push(&mut self, lines: &[u8]) -> Result<()> {
        match self {
            Self::Ndjson { file, path } => {
                file.write_all(lines).with_context(|| format!("cannot write {}", path.display()))
            }
            Self::Parquet { writer: Some(writer), path } => {
                let mut records = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
                records
                    .try_for_each(|line| writer.push(line))
                    .with_context(|| format!("cannot write {}", path.display()))
            }
            Self::Parquet { writer: None, .. } => Ok(()),
        }
    }

    /// Appends records, each a line, and empties `lines`; saves a copy where it can.
    fn take(&mut self, lines: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Ndjson { file, path } => {
                file.take(lines).with_context(|| format!("cannot write {}", path.display()))
            }
            Self::Parquet { .. } => {
                self.push(lines)?;
                lines.clear();
                Ok(())
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        match self {
            Self::Ndjson { file, path } => {
                file.finish().with_context(|| format!("cannot write {}", path.display()))
            }
            Self::Parquet { writer, path } => {
                let Some(writer) = writer.take() else { return Ok(()) };
                let mut file = writer.finish()?;
                file.flush().with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }
}

impl std::fmt::Debug for RecordFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Ndjson { path, .. } | Self::Parquet { path, .. }) = self;
        f.debug_tuple("RecordFile").field(path).finish()
    }
}
