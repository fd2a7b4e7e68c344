//! `weir-harness scale`: how the rate of `weir run` grows with partitions and instances; with what was measured without
//! a broker, one file and one chart.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bench::contender::Contender;
use crate::bench::report::{free_name, load_average, machine, median};
use crate::bench::{Bench, Subject, throughput};
use crate::chart;

/// Arguments of `scale`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// The points that the benchmark without a broker printed
    #[arg(long)]
    points: PathBuf,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Folder for the raw results and the chart
    #[arg(long, default_value = "benches/runs")]
    out: PathBuf,
}

/// The points of all curves in the raw results.
pub(crate) const CURVES: &str = "curves";
/// The curve that is measured here.
pub(crate) const ON_THE_BROKER: &str = "partitions_and_instances";

/// Partitions, and instances in one group.
const SIZES: [(i32, usize); 6] = [(1, 1), (2, 1), (3, 1), (4, 1), (4, 2), (4, 4)];
const WEIR: Contender = Contender::Weir { headers: true };

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let before = load_average();
    let text = fs::read(&args.points).with_context(|| format!("cannot read {}", args.points.display()))?;
    let mut points: Vec<Value> = serde_json::from_slice(&text)?;
    let mut records = 0;
    for (partitions, instances) in SIZES {
        let mut bench = Bench::new(&args.subject.weir, &args.subject.brokers, partitions, None)?;
        bench.instances = instances;
        let measured = measure(&bench, args);
        let _ = fs::remove_dir_all(&bench.dir);
        let (all, runs) = measured?;
        records = all;
        points.push(point((partitions, instances), &runs));
    }
    let results = json!({
        "command": "cargo xtask bench scale",
        "machine": machine(),
        "setting": format!(
            "agents, mandates, users and disorder: one thread, payments that were never text, and every point of a \
             process of its own; partitions and instances: {records} records, the broker on the same machine, medians \
             of {} rounds, processor time and memory of all instances together",
            args.rounds
        ),
        "load_average": [before, load_average()],
        CURVES: points,
    });
    let path = free_name(&args.out, "scale")?;
    fs::write(&path, serde_json::to_string_pretty(&results)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("raw results: {}", path.display());
    chart::draw(&path, &args.out)
}

/// How many records there were, and every run.
fn measure(bench: &Bench, args: &Args) -> Result<(u64, Vec<throughput::Run>)> {
    let input = bench.load(&args.subject.transactions, &args.subject.mandates)?;
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        let site = bench.site_of(WEIR, round, Some(&input));
        let (run, _) = throughput::measure(bench, WEIR, &site, &input)?;
        bench.forget(&site)?;
        println!("{} partitions, {} instances: {}", input.site.partitions, bench.instances, run.sentence());
        runs.push(run);
    }
    bench.forget(&input.site)?;
    Ok((input.records, runs))
}

fn point((partitions, instances): (i32, usize), runs: &[throughput::Run]) -> Value {
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let partitions_named = plural(partitions.unsigned_abs() as usize, "partition");
    let of = |number: fn(&throughput::Run) -> f64| median(runs.iter().map(number).collect()).round();
    json!({
        "curve": ON_THE_BROKER,
        "at": format!("{partitions_named}, {}", plural(instances, "instance")),
        "partitions": partitions,
        "instances": instances,
        "records_per_second": of(|run| run.rate),
        "records_per_cpu_second": of(|run| run.per_cpu_second),
        "rss_peak_mib": of(|run| run.rss_peak_mib as f64),
        "runs": runs.iter().map(throughput::Run::json).collect::<Vec<_>>(),
    })
}
