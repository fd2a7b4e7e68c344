//! `--strict`, and streams that are not in the order of arrival.

use crate::support::{Folder, assert_accounted, payment, replay};

/// Payments a minute apart from 2026-05-05T00:00Z, in the order of these minutes.
fn stream(minutes: impl IntoIterator<Item = u32>) -> String {
    let of = |minute| payment(minute, &format!("2026-05-05T{:02}:{:02}:00Z", minute / 60, minute % 60));
    minutes.into_iter().map(of).collect()
}

#[test]
fn strict_fails_on_a_reject_and_the_output_is_whole() {
    let folder = Folder::new();
    let (path, out) = (folder.file("t.ndjson", stream(0..5) + "{}\n"), folder.text("out"));
    replay(&path, None, &out, &["--strict"]).ended(1).told(&[
        "rejected records: 1",
        "the output is whole",
        "rejects.ndjson",
    ]);
    assert_accounted(&out, 6, 0);
    replay(&path, None, &out, &["--strict", "--format", "parquet"]).ended(1).told(&["rejects.parquet"]);
    replay(&path, None, &out, &[]).ended(0).told(&["warning", "rejected records: 1"]);
    let sound = folder.file("sound.ndjson", stream(0..5));
    assert_eq!(replay(&sound, None, &out, &["--strict"]).ended(0).err, "");
}

#[test]
fn strict_counts_mandates_too() {
    let folder = Folder::new();
    let (path, mandates) = (folder.file("t.ndjson", stream(0..5)), folder.file("m.ndjson", "{}\n"));
    let out = folder.text("out");
    replay(&path, Some(&mandates), &out, &["--strict"]).ended(1).told(&["rejected records: 1"]);
    assert_accounted(&out, 5, 1);
}

#[test]
fn a_stream_that_is_out_of_order_fails_whole_and_names_the_remedies() {
    let folder = Folder::new();
    let (path, out) = (folder.file("t.ndjson", stream((0..200).rev())), folder.text("out"));
    let remedies = ["--sort", "--max-lateness", "194 transactions were late", "the output is whole"];
    replay(&path, None, &out, &[]).ended(1).told(&remedies);
    let summary = assert_accounted(&out, 200, 0);
    assert_eq!(summary["late"], 194);

    let in_order = folder.file("in_order.ndjson", stream(0..200));
    let (sorted, reference) = (folder.text("sorted"), folder.text("reference"));
    replay(&path, None, &sorted, &["--sort"]).ended(0);
    replay(&in_order, None, &reference, &[]).ended(0);
    crate::support::assert_same(&sorted, &reference);

    replay(&path, None, &out, &["--max-lateness", "200m"]).ended(0);
    assert_eq!(assert_accounted(&out, 200, 0)["late"], 0);
    replay(&path, None, &out, &["--set", "time.max_lateness=200m"]).ended(0);
}

#[test]
fn one_percent_is_not_more_than_one_percent() {
    let folder = Folder::new();
    let out = folder.text("out");
    // Two of 200 are late, then three of 201.
    let two = folder.file("two.ndjson", stream((2..200).chain(0..2)));
    replay(&two, None, &out, &[]).ended(0);
    assert_eq!(assert_accounted(&out, 200, 0)["late"], 2);
    let three = folder.file("three.ndjson", stream((3..201).chain(0..3)));
    replay(&three, None, &out, &[]).ended(1).told(&["more than 1 %"]);
}

#[test]
fn too_old_counts_as_late_does() {
    let folder = Folder::new();
    // Two that count a day and more after the others, which the memory of repeats then has left behind.
    let days = ["2026-05-05T00:00:00Z", "2026-05-05T20:00:00Z", "2026-05-06T18:00:00Z"];
    let mut text: String = days.iter().zip(0..).map(|(time, number)| payment(number, time)).collect();
    text += &payment(9, days[0]);
    let (path, out) = (folder.file("t.ndjson", text), folder.text("out"));
    replay(&path, None, &out, &[]).ended(1).told(&["1 too old"]);
    assert_eq!(assert_accounted(&out, 4, 0)["rejects"]["too_old"], 1);
}
