//! `weir replay`: a recorded stream through the engine.
//!
//! Blocks of records are read, parsed, put in order by the intake, decided by the shard of their
//! user, and written in the order of arrival. What a thread does depends on its users alone, so the
//! output is the same for any number of them.

mod background;
mod inputs;
mod output;
mod pipeline;
mod summary;
mod verify;

use std::time::Instant;

use anyhow::Context;
use weir_detectors::risk::VIEWS;
use weir_engine::rows_sorted;
use weir_events::view::{Row, View};

use crate::args::ReplayArgs;
use crate::config::Override;
use crate::configured;
use crate::failure::Failure;
use crate::screen::Screen;

use output::Output;
use pipeline::Pipeline;
use summary::Summary;
use verify::Verifier;

/// Share of late and too old transactions above which a replay fails, in percent.
const LATE_PERCENT_MAX: u64 = 1;

/// Replays a stream.
pub(crate) fn run(args: &ReplayArgs, screen: &Screen) -> Result<(), Failure> {
    let lateness =
        args.max_lateness.iter().map(|span| Override::flag("--max-lateness", "time.max_lateness", span));
    let config = configured(&args.config, lateness.collect())?.engine;
    let begun = Instant::now();
    // Both inputs are opened before anything is written: a slip in a path costs no earlier output.
    let mandates = inputs::mandates(args)?;
    let mut transactions = inputs::transactions(args)?;
    let mut output = Output::create(&args.out, args.format)?;
    let mandates = mandates.read(&config, &mut output)?;

    let mut pipeline = Pipeline::new(
        &config,
        usize::from(args.threads),
        args.transactions().display().to_string(),
        mandates,
    )?;
    let mut verifier = if args.verify { Some(Verifier::new(&config)?) } else { None };
    let bar = screen.bar(transactions.total_bytes());
    pipeline.run(&mut *transactions, &mut output, verifier.as_mut(), &bar)?;
    bar.finish_and_clear();
    drop(transactions);

    let mut finished = pipeline.finish()?;
    finished.summary.timed(begun.elapsed().as_secs_f64());
    finished.profiles().try_for_each(|profile| output.risk_score(&profile))?;
    let mut differences = Vec::new();
    for view in &VIEWS {
        let rows = finished.take_rows(view);
        if let Some(verifier) = &mut verifier {
            differences.extend(verifier.check(view, &rows, &finished)?);
        }
        finished.summary.views.insert(view.name, rows.len() as u64);
        output.view(view, &rows)?;
    }
    finished.summary.rows_not_verified = verifier.map(|verifier| verifier.rows_left_out);
    finished.summary.verified = args.verify.then_some(differences.is_empty());
    output.finish(&finished.summary).with_context(|| format!("cannot finish {}", args.out.display()))?;

    screen.say(&finished.summary.table())?;
    let outcome = verdict(args, &finished.summary, differences, screen);
    // The process ends here; giving the state of a million agents back piece by piece takes seconds.
    std::mem::forget(finished);
    outcome
}

/// Whether a replay whose output is whole counts as done.
fn verdict(
    args: &ReplayArgs,
    summary: &Summary,
    differences: Vec<String>,
    screen: &Screen,
) -> Result<(), Failure> {
    if !differences.is_empty() {
        let told = differences.join("\n  ");
        return Err(anyhow::anyhow!("the views and their SQL differ:\n  {told}").into());
    }
    let transactions = &summary.transactions;
    let rejects = transactions.rejects + summary.mandates.rejects;
    let rejects_file = args.out.join(format!("rejects.{}", output::extension(args.format)));
    if args.strict && rejects > 0 {
        return Err(anyhow::anyhow!(
            "rejected records: {rejects}; the output is whole, and {} names each one's fault",
            rejects_file.display()
        )
        .into());
    }
    let (late, too_old) = (summary.late, summary.rejects.get("too_old").copied().unwrap_or_default());
    if (late + too_old) * 100 > transactions.records * LATE_PERCENT_MAX {
        return Err(anyhow::anyhow!(
            "{late} transactions were late and {too_old} too old, of {}: more than {LATE_PERCENT_MAX} %; the output is whole, \
             but a file that is not in the order of arrival wants --sort, and one spread wider in time a greater --max-lateness",
            transactions.records
        )
        .into());
    }
    if transactions.records == 0 {
        screen.warn(&format!(
            "{} holds no record; check that it is the right file and whole",
            args.transactions().display()
        ));
    }
    if rejects > 0 {
        screen.warn(&format!("rejected records: {rejects}; {} tells why", rejects_file.display()));
    }
    Ok(())
}

/// Rows of a view from several shards, in its order.
fn merged_rows(parts: impl IntoIterator<Item = Vec<Row>>, view: &View) -> Vec<Row> {
    rows_sorted(parts.into_iter().flatten().collect(), view)
}
