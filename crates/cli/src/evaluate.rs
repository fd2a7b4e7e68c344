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
    let (decisions, labels) = (opened(&args.decisions)?, opened(&args.labels)?);
    let report = weir_sim::evaluate(decisions, labels).with_context(|| {
        format!("cannot evaluate {} by {}", args.decisions.display(), args.labels.display())
    })?;
    screen.print(&if args.json { serde_json::to_string_pretty(&report)? } else { report.to_string() })
}

fn opened(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 20, file))
}
