//! One stream in every form that may come in and go out.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use weir_events::view::Kind;
use weir_history::output::{RecordColumn, RecordKind, RecordParquetWriter};
use weir_history::records::{Block, ReadOptions, RecordReader, Records};

use crate::support::{
    Folder, Ran, assert_same, assert_same_but, records, reference_mandates, reference_transactions, replay,
    run_with_stdin,
};

const fn column(name: &'static str, kind: Kind) -> RecordColumn {
    RecordColumn { name, kind: RecordKind::Scalar(kind) }
}

const TRANSACTIONS: &[RecordColumn] = &[
    column("tx_id", Kind::Text),
    column("agent_id", Kind::Text),
    column("user_id", Kind::Text),
    column("mandate_id", Kind::Text),
    column("merchant", Kind::Text),
    column("merchant_category", Kind::Text),
    column("amount", Kind::Decimal),
    column("amount_minor", Kind::Int),
    column("currency", Kind::Text),
    column("country", Kind::Text),
    column("lat", Kind::Float),
    column("lng", Kind::Float),
    column("location_source", Kind::Text),
    column("tx_time", Kind::Time),
    column("record_time", Kind::Time),
    column("payment_id", Kind::Text),
    column("retry_of", Kind::Text),
];

const MANDATES: &[RecordColumn] = &[
    column("mandate_id", Kind::Text),
    column("agent_id", Kind::Text),
    column("user_id", Kind::Text),
    column("scope_merchant", Kind::Text),
    column("max_amount", Kind::Decimal),
    column("currency", Kind::Text),
    column("valid_from", Kind::Time),
    column("valid_to", Kind::Time),
    column("status", Kind::Text),
];

/// The records of an NDJSON file as Parquet.
fn parquet(path: &str, columns: &'static [RecordColumn]) -> Vec<u8> {
    let mut writer = RecordParquetWriter::new(Vec::new(), columns).unwrap();
    for mut record in records(path) {
        if let Some(amount) = record.get_mut("amount").filter(|amount| amount.is_number()) {
            *amount = Value::String(amount.to_string());
        }
        writer.push(record.to_string().as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn gzip(path: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(path: &str) -> Vec<u8> {
    zstd::encode_all(fs::read(path).unwrap().as_slice(), 1).unwrap()
}

#[test]
fn compressed_and_parquet_input_give_the_same_bytes() {
    let folder = Folder::new();
    let stream = folder.generate(3_000, &["--seed", "3", "--repeat-share", "0.01"]);
    let (plain, mandates) = (folder.text("plain"), Some(stream.mandates.as_str()));
    replay(&stream.transactions, mandates, &plain, &[]).ended(0);
    for (name, content) in [
        // The names lie: what a file is shows in its content.
        ("t.ndjson", gzip(&stream.transactions)),
        ("t.gz", zstd(&stream.transactions)),
        ("t", parquet(&stream.transactions, TRANSACTIONS)),
    ] {
        let (path, out) = (folder.file(name, content), folder.text("out"));
        replay(&path, mandates, &out, &[]).ended(0);
        assert_same(&plain, &out);
    }
    let (packed, out) = (folder.file("m.zst", zstd(&stream.mandates)), folder.text("out"));
    replay(&stream.transactions, Some(&packed), &out, &[]).ended(0);
    assert_same(&plain, &out);
}

#[test]
fn mandates_may_be_parquet() {
    let folder = Folder::new();
    let (plain, out) = (folder.text("plain"), folder.text("out"));
    replay(&reference_transactions(), Some(&reference_mandates()), &plain, &[]).ended(0);
    let mandates = folder.file("mandates", parquet(&reference_mandates(), MANDATES));
    replay(&reference_transactions(), Some(&mandates), &out, &["--verify"]).ended(0);
    assert_same_but(&plain, &out, &["/summary.json"]);
}

#[test]
fn standard_input_gives_the_same_bytes() {
    let folder = Folder::new();
    let (plain, out) = (folder.text("plain"), folder.text("out"));
    let (transactions, mandates) = (reference_transactions(), reference_mandates());
    replay(&transactions, Some(&mandates), &plain, &[]).ended(0);
    let check = |first: &str, second: &str, input: &[u8]| {
        let args = ["replay", "--quiet", "--transactions", first, "--mandates", second, "--out", &out];
        run_with_stdin(&args, input).ended(0);
        assert_same(&plain, &out);
    };
    check("-", &mandates, &fs::read(&transactions).unwrap());
    check("-", &mandates, &gzip(&transactions));
    check("-", &mandates, &parquet(&transactions, TRANSACTIONS));
    check(&transactions, "-", &fs::read(&mandates).unwrap());
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let folder = Folder::new();
    let stream = folder.generate(6_000, &["--seed", "11", "--late-share", "0.004", "--fraud-share", "0.1"]);
    let replay_on = |threads: &str| -> String {
        let out = folder.text(threads);
        let ran: Ran =
            replay(&stream.transactions, Some(&stream.mandates), &out, &["--verify", "--threads", threads]);
        ran.ended(0);
        out
    };
    let one = replay_on("1");
    assert_same(&one, &replay_on("2"));
    assert_same(&one, &replay_on("7"));
}

/// The records of a Parquet file, as the reader of recorded streams gives them.
fn parquet_records(path: &Path) -> Vec<Value> {
    let options = ReadOptions { record_bytes_max: usize::MAX, required_columns: &[] };
    let mut reader = RecordReader::open(path, options).unwrap();
    let (mut block, mut found) = (Block::default(), Vec::new());
    while reader.next_block(&mut block).unwrap() {
        found.extend(block.iter().map(|(_, text)| serde_json::from_slice::<Value>(text).unwrap()));
    }
    found
}

/// A JSON value and the same of a typed column: decimals are numbers, lists and objects text.
fn is_same(json: &Value, typed: Option<&Value>) -> bool {
    match (json, typed) {
        (Value::Null, None) => true,
        (Value::Array(_) | Value::Object(_), Some(Value::String(text))) => {
            serde_json::from_str::<Value>(text).unwrap() == *json
        }
        (Value::String(decimal), Some(Value::Number(number))) => {
            decimal.parse::<f64>().unwrap() == number.as_f64().unwrap()
        }
        (json, typed) => Some(json) == typed,
    }
}

#[test]
fn parquet_output_holds_what_ndjson_does() {
    let folder = Folder::new();
    let stream = folder.generate(3_000, &["--seed", "5", "--fraud-share", "0.2"]);
    let transactions = fs::read_to_string(&stream.transactions).unwrap() + "{}\nnonsense\n";
    let transactions = folder.file("transactions.ndjson", transactions);
    let (json, typed) = (folder.text("json"), folder.text("typed"));
    for (out, format) in [(&json, "ndjson"), (&typed, "parquet")] {
        replay(&transactions, Some(&stream.mandates), out, &["--format", format]).ended(0);
    }
    let views = fs::read_dir(format!("{json}/views")).unwrap().map(|entry| entry.unwrap().file_name());
    let views = views.map(|name| format!("views/{}", name.to_str().unwrap().trim_end_matches(".ndjson")));
    let names = ["decisions", "rejects", "alerts", "risk-scores"].map(str::to_owned).into_iter();
    let mut rows = 0;
    for name in names.chain(views) {
        let expected = records(format!("{json}/{name}.ndjson"));
        let found = parquet_records(Path::new(&format!("{typed}/{name}.parquet")));
        assert_eq!(found.len(), expected.len(), "{name}");
        for (expected, found) in expected.iter().zip(&found) {
            for (key, value) in expected.as_object().unwrap() {
                assert!(is_same(value, found.get(key)), "{name} {key}: {value} and {:?}", found.get(key));
            }
            assert!(found.as_object().unwrap().keys().all(|key| expected.get(key).is_some()), "{found}");
            rows += 1;
        }
    }
    assert!(rows > 3_000, "{rows}");
}
