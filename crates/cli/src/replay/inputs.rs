//! The files that a replay reads.

use std::path::{Path, PathBuf};

use weir_engine::Config;
use weir_events::MandateRecord;
use weir_events::codec::MAX_RECORD_BYTES;
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::reject::{Fault, Origin, Reject};
use weir_history::records::{
    Block, Line, MANDATE_COLUMNS, ReadOptions, RecordReader, Records, SortOptions, SortedReader,
    TRANSACTION_COLUMNS,
};

use super::output::Output;
use crate::args::ReplayArgs;
use crate::failure::Failure;

/// Memory for sorting; what does not fit goes through temporary files.
const SORT_MEMORY_BYTES: usize = 1 << 30;

/// Opens the transactions, sorted where that was asked for.
pub(super) fn transactions(args: &ReplayArgs) -> Result<Box<dyn Records>, Failure> {
    let reader = RecordReader::open(args.transactions(), options(TRANSACTION_COLUMNS))?;
    if !args.sort {
        return Ok(Box::new(reader));
    }
    let options = SortOptions { key: tx_time_us, memory_bytes: SORT_MEMORY_BYTES };
    Ok(Box::new(SortedReader::new(reader, &args.transactions().display().to_string(), options)?))
}

/// Opens the mandates, where there are any.
pub(super) fn mandates(args: &ReplayArgs) -> Result<MandatesFile, Failure> {
    let stdin = Path::new("-");
    if args.transactions() == stdin && args.mandates.as_deref() == Some(stdin) {
        return Err(Failure::Usage(
            "only one of --transactions and --mandates can be the standard input".to_owned(),
        ));
    }
    let open = |path: &PathBuf| -> Result<_, Failure> {
        Ok((RecordReader::open(path, options(MANDATE_COLUMNS))?, path.display().to_string()))
    };
    Ok(MandatesFile(args.mandates.as_ref().map(open).transpose()?))
}

/// The mandates before they are read: the file and its name.
#[derive(Debug)]
pub(super) struct MandatesFile(Option<(RecordReader, String)>);

/// The mandates read whole, and what was wrong with others.
#[derive(Debug, Default)]
pub(super) struct Mandates {
    /// Usable records in the order of the file.
    pub(super) records: Vec<MandateRecord>,
    /// Faults of the others.
    pub(super) faults: Vec<Fault>,
}

impl MandatesFile {
    /// Reads the mandates; what cannot be used goes to the rejects.
    pub(super) fn read(self, config: &Config, output: &mut Output) -> Result<Mandates, Failure> {
        let mut mandates = Mandates::default();
        let Some((mut reader, file)) = self.0 else { return Ok(mandates) };
        let mut block = Block::default();
        while reader.next_block(&mut block)? {
            for (line, text) in block.iter() {
                match parse_mandate(text, config.base_currency.0) {
                    Ok(record) if line.oversized.is_none() => mandates.records.push(record),
                    parsed => {
                        let reject = rejected(line, text, parsed.err(), &file);
                        output.reject(&reject)?;
                        mandates.faults.push(reject.fault);
                    }
                }
            }
        }
        Ok(mandates)
    }
}

/// The reject of a line that could not be used; an oversized one has no text left to find fault with.
pub(super) fn rejected(line: &Line, text: &[u8], fault: Option<Fault>, file: &str) -> Reject {
    let origin = Origin::File { file: file.to_owned(), line: line.number };
    match &line.oversized {
        Some(original) => {
            Reject { fault: Fault::too_large(original.bytes), origin, original: (**original).clone() }
        }
        None => Reject::new(fault.unwrap_or_else(Fault::empty_record), origin, text),
    }
}

fn options(required_columns: &'static [&'static [&'static str]]) -> ReadOptions {
    ReadOptions { record_bytes_max: MAX_RECORD_BYTES, required_columns }
}

/// The time by which `--sort` orders.
fn tx_time_us(text: &[u8]) -> Option<i64> {
    let parsed = parse_transaction(text, weir_events::Currency::USD);
    parsed.ok().map(|tx| tx.tx_time.0)
}
