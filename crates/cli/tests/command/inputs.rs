//! Inputs that are not what they should be: the message, the exit code, and nothing left behind.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use weir_events::view::Kind;
use weir_history::output::{RecordColumn, RecordKind, RecordParquetWriter};

use crate::support::{
    Folder, Ran, assert_accounted, assert_nothing, records, reference_mandates, reference_transactions,
    replay, run, run_piped, run_with_stdin, weir,
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 0).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A Parquet file with one column and one row.
fn parquet_with_one_column() -> Vec<u8> {
    const COLUMNS: &[RecordColumn] = &[RecordColumn { name: "colour", kind: RecordKind::Scalar(Kind::Text) }];
    let mut writer = RecordParquetWriter::new(Vec::new(), COLUMNS).unwrap();
    writer.push(br#"{"colour":"green"}"#).unwrap();
    writer.finish().unwrap()
}

/// A file that cannot be read fails with exit 1, as transactions and as mandates, and leaves nothing.
#[track_caller]
fn refused(name: &str, content: &[u8], told: &[&str]) {
    let folder = Folder::new();
    let path = folder.file(name, content);
    refused_path(&folder, &path, told);
}

#[track_caller]
fn refused_path(folder: &Folder, path: &str, told: &[&str]) {
    let out = folder.text("out");
    for (transactions, mandates) in
        [(path, reference_mandates()), (&*reference_transactions(), path.to_owned())]
    {
        replay(transactions, Some(&mandates), &out, &[]).ended(1).told(told).told(&[path]);
        assert_nothing(&out);
    }
}

#[test]
fn a_missing_file() {
    let folder = Folder::new();
    refused_path(&folder, &folder.text("nowhere.ndjson"), &["there is no such file", "check the path"]);
}

#[test]
fn a_directory() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("stream")).unwrap();
    refused_path(&folder, &folder.text("stream"), &["is a directory", "name one file in it"]);
}

#[test]
fn compressed_files_that_were_cut_off() {
    let whole = std::fs::read(reference_transactions()).unwrap();
    for (name, packed) in [("t.gz", gzip(&whole)), ("t.zst", zstd(&whole))] {
        let told = ["data ends too early", "copy or download it again"];
        refused(name, &packed[..packed.len() / 2], &told);
        refused(name, &packed[..packed.len() - 3], &told);
        let mut torn = packed;
        let middle = torn.len() / 2;
        torn[middle..middle + 8].fill(0xAA);
        refused(name, &torn, &["data"]);
    }
}

#[test]
fn files_of_other_kinds() {
    for (name, content, told) in [
        ("a.png", &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "a PNG image"),
        ("a.zip", b"PK\x03\x04\x14\0\0\0\x08\0", "a ZIP archive"),
        ("a.pdf", b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n", "a PDF document"),
        ("a.xz", b"\xFD7zXZ\0\0\x04", "xz-compressed"),
        ("a.ndjson", b"SQLite format 3\0", "an SQLite database"),
        ("utf16.ndjson", b"\xFF\xFE{\0\"\0", "UTF-16 text"),
    ] {
        refused(name, content, &[told]);
    }
    let program = std::fs::read(env!("CARGO_BIN_EXE_weir")).unwrap();
    refused("weir", &program[..1 << 16], &["a program (ELF)", "newline-delimited JSON or Parquet"]);
    let noise: Vec<u8> = (0_u32..4096).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    refused("noise", &noise, &["binary data"]);
    refused("twice.gz", &gzip(&gzip(b"{}")), &["compressed twice"]);
}

#[test]
fn parquet_with_other_columns() {
    refused("a.parquet", &parquet_with_one_column(), &["has no column", "agent_id", "it has colour"]);
    let whole = parquet_with_one_column();
    refused("cut.parquet", &whole[..whole.len() / 2], &["Parquet file cannot be read"]);
}

/// Parquet is read from its end, so one that comes through a pipe is kept in a temporary file.
#[test]
fn parquet_through_a_pipe_without_room_for_it() {
    let out = Folder::new().text("out");
    let mut command = weir();
    command.args(["replay", "--transactions", "/dev/stdin", "--out", &out]).env("TMPDIR", "/nowhere");
    let ran = run_piped(&mut command, &parquet_with_one_column());
    ran.ended(1).told(&["/dev/stdin", "/nowhere", "free space there or set TMPDIR"]);
    assert_nothing(&out);
}

#[test]
fn an_empty_file_is_a_stream_of_nothing_and_says_so() {
    let empty_gzip = gzip(b"");
    for content in [&b""[..], b"\n\n  \r\n", b"\xEF\xBB\xBF", &empty_gzip] {
        let folder = Folder::new();
        let (path, out) = (folder.file("empty.ndjson", content), folder.text("out"));
        replay(&path, Some(&path), &out, &["--verify"]).ended(0).told(&["holds no record", &path]);
        assert_accounted(&out, 0, 0);
    }
}

#[test]
fn an_output_that_cannot_be_written() {
    let folder = Folder::new();
    let file = folder.file("file", "");
    let below = format!("{file}/deeper/out");
    let check = |out: &str, code, told: &[&str]| -> Ran {
        replay(&reference_transactions(), None, out, &[]).ended(code).told(told).told(&[out])
    };
    check(&file, 2, &["is a file", "--out wants a directory"]);
    check(&below, 1, &["cannot create the directory", "name one that can be written"]);
    check("/proc/weir-out", 1, &["cannot create the directory"]);
    run(["generate", "--out", &below]).ended(1).told(&["cannot create the directory", &below]);
    run(["generate", "--out", &file]).ended(2).told(&["is a file", &file]);
}

#[test]
fn standard_input_is_read_once() {
    let folder = Folder::new();
    let out = folder.text("out");
    let both = ["replay", "--transactions", "-", "--mandates", "-", "--out", &out];
    run(both).ended(2).told(&["only one of", "standard input"]);
    assert_nothing(&out);

    let png = run_with_stdin(&["replay", "--transactions", "-", "--out", &out], b"\x89PNG\r\n\x1a\n");
    png.ended(1).told(&["standard input", "a PNG image"]);
    assert_nothing(&out);
}

#[test]
fn bad_mandates_are_rejected_with_file_and_line() {
    let folder = Folder::new();
    let mandates = folder.file(
        "mandates.ndjson",
        "\n{\"mandate_id\":\"mdt_1\",\"agent_id\":\"a\",\"user_id\":\"u\"}\n\
         {\"mandate_id\":\"mdt_2\",\"agent_id\":\"a\"}\nnonsense\n\
         {\"mandate_id\":\"mdt_3\",\"deleted\":true}\n\
         {\"mandate_id\":\"mdt_4\",\"agent_id\":\"a\",\"user_id\":\"u\",\"max_amount\":\"-3\"}\n",
    );
    let out = folder.text("out");
    replay(&reference_transactions(), Some(&mandates), &out, &["--verify"])
        .ended(0)
        .told(&["rejected records: 3", "rejects.ndjson"]);
    let summary = assert_accounted(&out, 28, 5);
    assert_eq!(summary["mandates"]["rejects"], 3);
    let found: Vec<String> = records(format!("{out}/rejects.ndjson"))
        .iter()
        .map(|reject| {
            let origin = &reject["origin"];
            assert_eq!(origin["file"], mandates.as_str());
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", origin["line"], text(&reject["code"]), text(&reject["field"]))
        })
        .collect();
    assert_eq!(found, ["3 missing_field user_id", "4 invalid_json -", "6 invalid_amount max_amount"]);
}

#[test]
fn odd_but_whole_files_lose_nothing() {
    let line = |number| crate::support::payment(number, "2026-05-05T12:00:00Z");
    let whole = format!(
        "\u{feff}{}\r\n\n \t\r\n{}{{\"tx_id\":\"a\0b\"}}\n\0\n{}",
        line(1).trim_end(),
        line(2),
        line(3).trim_end()
    );
    let folder = Folder::new();
    let (path, out) = (folder.file("t.ndjson", whole), folder.text("out"));
    replay(&path, None, &out, &[]).ended(0);
    let summary = assert_accounted(&out, 5, 0);
    assert_eq!(summary["transactions"]["decisions"], 3);
    let lines: Vec<u64> = records(format!("{out}/rejects.ndjson"))
        .iter()
        .map(|reject| reject["origin"]["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [5, 6]);
}
