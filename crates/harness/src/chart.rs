//! Charts of the raw results, as SVG.
//!
//! Bars and words are all there is to draw, in colours that stand out from white and from black; no library for charts
//! knows the second, and each would be more to keep than this.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::peers::report::{BROKER, FILE, LATENCY, number, rates};
use crate::scale::{CURVES, ON_THE_BROKER};

/// Arguments of `draw`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Raw results of `peers` or `scale`
    results: PathBuf,
    /// Folder for the charts
    #[arg(long, default_value = "benches/runs")]
    out: PathBuf,
}

/// Draws the charts of raw results anew.
pub(crate) fn run(args: &Args) -> Result<()> {
    draw(&args.results, &args.out)
}

/// Draws the charts of raw results.
pub(crate) fn draw(results: &Path, out: &Path) -> Result<()> {
    let text = fs::read_to_string(results).with_context(|| format!("cannot read {}", results.display()))?;
    let results: Value = serde_json::from_str(&text)?;
    let charts = match results.get(CURVES) {
        Some(_) => vec![("scale.svg", scale(&results))],
        None => {
            vec![("peers-throughput.svg", throughput(&results)), ("peers-latency.svg", latency(&results))]
        }
    };
    for (name, groups) in charts {
        let path = out.join(name);
        fs::write(&path, svg(&groups)).with_context(|| format!("cannot write {}", path.display()))?;
        println!("chart: {}", path.display());
    }
    Ok(())
}

/// Bars under a heading, with a scale of their own.
struct Group {
    heading: String,
    bars: Vec<Bar>,
}

struct Bar {
    /// Empty for a further bar of the same contender.
    name: String,
    value: f64,
    /// What stands beside it.
    label: String,
    is_weirs: bool,
    /// Paler the greater: the second and third bar of a contender, and what is there as a limit alone.
    shade: usize,
}

/// Records per CPU-second, the best first.
fn throughput(results: &Value) -> Vec<Group> {
    let headings = [(BROKER, "From topic to topic"), (FILE, "Over a file")];
    let groups = headings.map(|(section, heading)| {
        let contenders = results[section].as_object().into_iter().flatten();
        let mut bars: Vec<Bar> = contenders
            .map(|(name, runs)| {
                let value = rates(runs).1;
                let label = if value.is_nan() {
                    "no result".to_owned()
                } else {
                    format!("{:.0} thousand", value / 1e3)
                };
                // What decides nothing and computes no view is a limit, and no peer.
                let idle = name.starts_with("copy") || name.ends_with("reading alone");
                let shade = if idle { OPACITY.len() - 1 } else { 0 };
                Bar { name: name.clone(), value, label, is_weirs: is_weirs(name), shade }
            })
            .collect();
        bars.sort_by(|one, other| other.value.max(0.0).total_cmp(&one.value.max(0.0)));
        Group { heading: format!("{heading}: records per second of processor time"), bars }
    });
    groups.into()
}

/// Three quantiles of each, the best median first.
fn latency(results: &Value) -> Vec<Group> {
    let mut contenders: Vec<(&String, [f64; 3])> = results[LATENCY]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, runs)| (name, ["/ms_p50", "/ms_p99", "/ms_p999"].map(|path| number(runs, path))))
        .collect();
    contenders.sort_by(|one, other| one.1[0].total_cmp(&other.1[0]));
    let bars = contenders.into_iter().flat_map(|(name, quantiles)| {
        let named = ["p50", "p99", "p99.9"].into_iter().zip(quantiles).enumerate();
        named.map(|(shade, (quantile, value))| Bar {
            name: if shade == 0 { name.clone() } else { String::new() },
            value,
            label: format!("{quantile} {value:.0} ms"),
            is_weirs: is_weirs(name),
            shade,
        })
    });
    let rate = &results["latency_rate_per_second"];
    let heading = format!("From a payment's being sent to its decision's being read, at {rate} a second");
    vec![Group { heading, bars: bars.collect() }]
}

/// What a curve is drawn by: its name, the heading, what a point is called, the number, its unit, and what to divide it
/// by.
type Curve = (&'static str, &'static str, &'static str, &'static str, &'static str, f64);

const DRAWN: [Curve; 10] = [
    ("agents", "Processor time of a payment, by agents known", "agents", "ns_per_record", "µs", 1e3),
    ("agents", "Memory per agent, with its user and one mandate", "agents", "bytes_per_agent", "bytes", 1.0),
    (
        "agents_without_mandates",
        "Memory per agent, with its user, without mandates",
        "agents",
        "bytes_per_agent",
        "bytes",
        1.0,
    ),
    ("mandates", "Processor time of a payment, by mandates known", "mandates", "ns_per_record", "µs", 1e3),
    (
        "payments_in_a_day",
        "Memory per payment of the last day",
        "payments",
        "bytes_per_payment",
        "bytes",
        1.0,
    ),
    ("hot_user_percent", "… by the share of one user's payments", "%", "ns_per_record", "µs", 1e3),
    ("agents_paying_alike", "… by agents of one user who pay alike", "agents", "ns_per_record", "µs", 1e3),
    ("minutes_out_of_order", "… by how late payments come", "minutes", "ns_per_record", "µs", 1e3),
    ("recovered_agents", "Start of a shard from its snapshot", "agents", "seconds", "s", 1.0),
    (
        ON_THE_BROKER,
        "From topic to topic, on the machine of the broker",
        "",
        "records_per_second",
        "thousand/s",
        1e3,
    ),
];

/// How Weir's numbers grow.
fn scale(results: &Value) -> Vec<Group> {
    let points = results[CURVES].as_array().map(Vec::as_slice).unwrap_or_default();
    let group = |&(curve, heading, unit, number, label_unit, by): &Curve| {
        let of_curve = points.iter().filter(|point| point["curve"] == curve);
        let bars = of_curve.map(|point| {
            let value = point[number].as_f64().unwrap_or(f64::NAN) / by;
            let name = match &point["at"] {
                Value::String(name) => name.clone(),
                at => format!("{} {unit}", thousands(at.as_u64().unwrap_or(0))),
            };
            let digits = if value < 100.0 && by > 1.0 || value < 10.0 { 2 } else { 0 };
            Bar { name, value, label: format!("{value:.digits$} {label_unit}"), is_weirs: true, shade: 0 }
        });
        Group { heading: heading.to_owned(), bars: bars.collect() }
    };
    DRAWN.iter().map(group).filter(|group| !group.bars.is_empty()).collect()
}

/// A number with a space between thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let groups = digits.as_bytes()[head..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (head > 0).then(|| digits[..head].to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(" ")
}

fn is_weirs(name: &str) -> bool {
    name.starts_with("weir")
}

const WIDTH: usize = 760;
/// Where bars begin, and the longest of them.
const LEFT: usize = 250;
const LONGEST: f64 = 370.0;
const ROW: usize = 24;
/// Readable on white and on black alike.
const WORDS: &str = "#737d88";
const WEIR: &str = "#1f8fd6";
const OTHER: &str = "#8d97a2";
const OPACITY: [&str; 3] = ["1", "0.7", "0.45"];

fn svg(groups: &[Group]) -> String {
    let mut body = String::new();
    let mut y = 8;
    for Group { heading, bars } in groups {
        let greatest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        y += ROW;
        let _ = writeln!(body, "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{}</text>", escaped(heading));
        y += ROW / 2;
        for Bar { name, value, label, is_weirs, shade } in bars {
            // At least as wide as can be seen; nothing where there is no value.
            let width = if *value > 0.0 { (value / greatest * LONGEST).max(1.0) } else { 0.0 };
            let (fill, opacity) = (if *is_weirs { WEIR } else { OTHER }, OPACITY[*shade % OPACITY.len()]);
            let (word_y, name_x, label_x) = (y + 16, LEFT - 10, LEFT as f64 + width + 8.0);
            let _ = writeln!(
                body,
                "<text x=\"{name_x}\" y=\"{word_y}\" text-anchor=\"end\">{}</text>\n\
                 <rect x=\"{LEFT}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{fill}\" opacity=\"{opacity}\"/>\n\
                 <text x=\"{label_x:.1}\" y=\"{word_y}\">{}</text>",
                escaped(name),
                y + 3,
                ROW - 6,
                escaped(label),
            );
            y += ROW;
        }
        y += ROW / 2;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"14\" fill=\"{WORDS}\">\n{body}</svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_and_the_best_comes_first() {
        let results = json!({
            BROKER: {
                "A & B": [{ "records_per_second": 1, "records_per_cpu_second": 50_000 }],
                "weir run": [{ "records_per_second": 1, "records_per_cpu_second": 200_000 }],
            },
            FILE: { "slow": [{ "ended": false }] },
        });
        let chart = svg(&throughput(&results));
        let at = |text: &str| chart.find(text).unwrap_or_else(|| panic!("no {text} in {chart}"));
        assert!(at("weir run") < at("A &amp; B"));
        assert!(at("width=\"370.0\"") < at("200 thousand"));
        assert!(at("width=\"92.5\"") < at("50 thousand"));
        assert!(at("slow") < at("no result"));
    }

    #[test]
    fn curves_have_a_bar_for_each_point() {
        let results = json!({ CURVES: [
            { "curve": "agents", "at": 1_000, "ns_per_record": 460, "bytes_per_agent": 2_500 },
            { "curve": "agents", "at": 1_000_000, "ns_per_record": 1_630, "bytes_per_agent": 2_700 },
            { "curve": ON_THE_BROKER, "at": "4 partitions, 1 instance", "records_per_second": 300_000 },
        ]});
        let chart = svg(&scale(&results));
        for text in [
            "1 000 agents",
            "0.46 µs",
            "1 000 000 agents",
            "2700 bytes",
            "4 partitions, 1 instance",
            "300 thousand/s",
        ] {
            assert!(chart.contains(text), "no {text} in {chart}");
        }
        assert_eq!(chart.matches("<rect").count(), 5);
    }

    #[test]
    fn latency_shows_three_bars_of_each() {
        let results = json!({
            "latency_rate_per_second": 5_000,
            LATENCY: { "weir run": [{ "ms_p50": 10.0, "ms_p99": 20.0, "ms_p999": 40.0 }] },
        });
        let chart = svg(&latency(&results));
        let labels = ["at 5000 a second", "p50 10 ms", "p99 20 ms", "p99.9 40 ms"];
        assert!(labels.iter().all(|label| chart.contains(label)), "{chart}");
        assert_eq!(chart.matches("<rect").count(), 3);
    }
}
