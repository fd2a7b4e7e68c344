//! `weir evaluate`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;

use crate::args::EvaluateArgs;
use crate::failure::Failure;
use crate::screen::Screen;

/// Measures decisions against labels.
pub(crate) fn run(args: &EvaluateArgs, screen: &Screen) -> Result<(), Failure> {
    let report = weir_sim::evaluate(opened(&args.decisions)?, opened(&args.labels)?)?;
    if args.json {
        screen.print(&serde_json::to_string_pretty(&report)?);
    } else {
        screen.print(&report.to_string());
    }
    Ok(())
}

fn opened(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 20, file))
}
