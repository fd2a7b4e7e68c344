//! `weir generate`.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Context;
use weir_sim::{Difficulty, Options, generate};

use crate::args::{DifficultyArg, GenerateArgs};
use crate::failure::Failure;
use crate::folder;
use crate::screen::Screen;

/// Writes a labelled stream.
pub(crate) fn run(args: &GenerateArgs, screen: &Screen) -> Result<(), Failure> {
    let options = options(args);
    options.validate().map_err(|error| Failure::Usage(error.to_string()))?;
    folder::make(&args.out)?;
    let mut transactions = created(&args.out, "transactions.ndjson")?;
    let mut mandates = created(&args.out, "mandates.ndjson")?;
    let mut labels = created(&args.out, "labels.ndjson")?;
    let summary = generate(&options, &mut transactions, &mut mandates, &mut labels)
        .with_context(|| format!("cannot write into {}", args.out.display()))?;
    screen.say(&format!(
        "{} transactions ({} fraudulent, in {} episodes; {} sent again, {} late) by {} agents under {} mandate records, in {}",
        summary.transactions,
        summary.fraud,
        summary.episodes,
        summary.repeats,
        summary.late,
        summary.agents,
        summary.mandates,
        args.out.display()
    ))
}

fn options(args: &GenerateArgs) -> Options {
    let defaults = Options::default();
    Options {
        transactions: args.transactions,
        seed: args.seed,
        difficulty: match args.difficulty {
            DifficultyArg::Easy => Difficulty::Easy,
            DifficultyArg::Medium => Difficulty::Medium,
            DifficultyArg::Hard => Difficulty::Hard,
        },
        fraud_share: args.fraud_share.unwrap_or(defaults.fraud_share),
        late_share: args.late_share.unwrap_or(defaults.late_share),
        repeat_share: args.repeat_share.unwrap_or(defaults.repeat_share),
        agents: args.agents.or(defaults.agents),
        days: args.days.unwrap_or(defaults.days),
        only: args.only.clone(),
        ..defaults
    }
}

fn created(folder: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    let path = folder.join(name);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}
