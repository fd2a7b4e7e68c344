//! The output directory: what is refused, what is replaced.

use std::fs;

use crate::support::{
    Folder, assert_same, outputs, payment, reference_mandates, reference_transactions, replay,
};

/// A directory with this in it is refused and stays as it was.
#[track_caller]
fn refused(name: &str, stranger: &str) {
    let folder = Folder::new();
    let out = folder.text("out");
    replay(&reference_transactions(), Some(&reference_mandates()), &out, &[]).ended(0);
    let path = folder.path("out").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "mine").unwrap();
    let before = outputs(&out);
    replay(&reference_transactions(), None, &out, &[]).ended(2).told(&[
        "holds",
        stranger,
        "is not a replay's output",
        "name an empty or a new directory",
    ]);
    assert_eq!(outputs(&out), before);
    assert_eq!(fs::read_to_string(path).unwrap(), "mine");
}

#[test]
fn foreign_files_are_never_touched() {
    refused("notes.txt", "notes.txt");
    refused(".hidden", ".hidden");
    refused("decisions.csv", "decisions.csv");
    refused("views/own.ndjson", "own.ndjson");
    refused("views/sub/file", "sub");
}

#[test]
fn a_folder_or_a_file_of_an_outputs_name_is_foreign() {
    let folder = Folder::new();
    for (name, is_folder) in [("decisions.ndjson", true), ("views", false)] {
        let out = folder.path(name);
        fs::create_dir_all(&out).unwrap();
        if is_folder {
            fs::create_dir(out.join(name)).unwrap();
        } else {
            fs::write(out.join(name), "mine").unwrap();
        }
        replay(&reference_transactions(), None, out.to_str().unwrap(), &[]).ended(2).told(&[name]);
        assert!(out.join(name).exists());
    }
}

#[test]
fn an_earlier_replay_is_replaced_whole() {
    let folder = Folder::new();
    let (used, fresh) = (folder.text("used"), folder.text("fresh"));
    let (transactions, mandates) = (reference_transactions(), reference_mandates());
    replay(&transactions, Some(&mandates), &used, &["--format", "parquet"]).ended(0);
    assert!(fs::exists(format!("{used}/views/burst.parquet")).unwrap());
    let one = folder.file("one.ndjson", payment(1, "2026-05-05T12:00:00Z"));
    replay(&one, None, &used, &[]).ended(0);
    replay(&one, None, &fresh, &[]).ended(0);
    assert_same(&used, &fresh);
}

#[test]
fn a_slip_in_a_path_costs_no_earlier_output() {
    let folder = Folder::new();
    let out = folder.text("out");
    replay(&reference_transactions(), None, &out, &[]).ended(0);
    let before = outputs(&out);
    replay(&reference_transactions(), Some("nowhere"), &out, &[]).ended(1);
    replay("nowhere", None, &out, &[]).ended(1);
    assert_eq!(outputs(&out), before);
}

#[test]
fn directories_above_are_made() {
    let folder = Folder::new();
    let out = folder.text("a/b/c");
    replay(&reference_transactions(), None, &out, &[]).ended(0);
    assert_eq!(outputs(&out).len(), 14);
}
