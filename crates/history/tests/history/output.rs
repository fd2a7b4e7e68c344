//! What is written: JSON lines and Parquet.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir_events::view::{Row, Value};
use weir_history::compare::{DIFFERENCES_MAX, compare};
use weir_history::output::{ALERT_COLUMNS, RecordParquetWriter, write_rows_ndjson, write_rows_parquet};

use crate::views::{VIEWS, at, units};

fn file(bytes: &[u8]) -> std::fs::File {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn batches(bytes: &[u8]) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file(bytes)).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn scope_row() -> Row {
    let card = "4111 1111 1111 1111";
    let mut row =
        vec![text("4111111111111111"), text("a\"b"), text("u"), text("m"), text("shop"), text(card)];
    row.extend([Value::Decimal(units("12.50")), Value::Time(at("2026-05-05T14:01:00Z")), text("strict")]);
    row
}

#[test]
fn rows_are_json_lines_with_masked_text_and_plain_ids() {
    let mut out = Vec::new();
    write_rows_ndjson(&VIEWS[3], &[scope_row()], &mut out).unwrap();
    let line = String::from_utf8(out).unwrap();
    assert!(line.starts_with(r#"{"tx_id":"4111111111111111","agent_id":"a\"b","#), "{line}");
    assert!(!line.contains("4111 1111"), "{line}");
    assert!(line.ends_with(
        ",\"amount\":\"12.5\",\"tx_time\":\"2026-05-05T14:01:00.000000Z\",\"tier\":\"strict\"}\n"
    ));

    let floats = vec![text("a"), text("u"), Value::Float(15.0), Value::Float(0.1), Value::Int(12)];
    let mut out = Vec::new();
    write_rows_ndjson(&VIEWS[6], &[floats], &mut out).unwrap();
    assert!(
        String::from_utf8(out)
            .unwrap()
            .ends_with("\"mean_gap\":15.0,\"stddev_gap\":0.1,\"sample_size\":12}\n")
    );
}

#[test]
fn rows_are_typed_parquet() {
    let mut out = Vec::new();
    write_rows_parquet(&VIEWS[3], &[scope_row()], &mut out).unwrap();
    let batch = &batches(&out)[0];
    let schema = batch.schema();
    assert_eq!(*schema.field(6).data_type(), DataType::Decimal128(38, 8));
    assert_eq!(*schema.field(7).data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "4111111111111111");
    assert!(!batch.column(5).as_string::<i32>().value(0).contains("4111"));
    assert_eq!(batch.column(6).as_primitive::<Decimal128Type>().value(0), units("12.5").0);
    assert_eq!(
        batch.column(7).as_primitive::<TimestampMicrosecondType>().value(0),
        at("2026-05-05T14:01:00Z").0
    );

    let floats = vec![text("a"), text("u"), Value::Float(15.0), Value::Null, Value::Int(12)];
    let mut out = Vec::new();
    write_rows_parquet(&VIEWS[6], &[floats], &mut out).unwrap();
    let batch = &batches(&out)[0];
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().value(0), 15.0);
    assert_eq!(batch.column(3).null_count(), 1);
    assert_eq!(batch.column(4).as_primitive::<Int64Type>().value(0), 12);

    let wrong = vec![text("a"), text("u"), Value::Int(1), Value::Null, Value::Int(12)];
    let error = write_rows_parquet(&VIEWS[6], &[wrong], Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "view cadence: column mean_gap has a value of another kind");
}

#[test]
fn records_are_typed_parquet_and_strange_keys_are_refused() {
    let mut writer = RecordParquetWriter::new(Vec::new(), ALERT_COLUMNS).unwrap();
    writer.push(br#"{"episode_id":"burst:t","mandate_id":null,"transactions":3,"amount":"56.41"}"#).unwrap();
    let error = writer.push(br#"{"episode":"burst:t"}"#).unwrap_err();
    assert!(error.to_string().contains("there is no column episode"), "{error}");
    let out = RecordParquetWriter::new(Vec::new(), ALERT_COLUMNS).unwrap().finish().unwrap();
    assert!(batches(&out).is_empty());

    let mut writer = RecordParquetWriter::new(Vec::new(), ALERT_COLUMNS).unwrap();
    for _ in 0..70_000 {
        writer
            .push(br#"{"episode_id":"burst:t","mandate_id":null,"transactions":3,"amount":"56.41"}"#)
            .unwrap();
    }
    let batches = batches(&writer.finish().unwrap());
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 70_000);
    assert_eq!(batches[0].column(0).as_string::<i32>().value(0), "burst:t");
    assert_eq!(batches[0].column(9).as_primitive::<Int64Type>().value(0), 3);
    assert_eq!(batches[0].column(10).as_primitive::<Decimal128Type>().value(0), units("56.41").0);
}

#[test]
fn differences_name_the_row_the_column_and_both_values() {
    let row = |agent: &str, mean: f64, n: i64| {
        vec![text(agent), text("u"), Value::Float(mean), Value::Float(0.0), Value::Int(n)]
    };
    let view = &VIEWS[6];
    let engine = [row("b", 15.0, 12), row("a", 15.0 + 1e-9, 12)];
    assert_eq!(compare(view, &engine, &[row("a", 15.0, 12), row("b", 15.0, 12)]), []);
    let told: Vec<String> = compare(view, &engine, &[row("b", 15.000_001, 13), row("c", 1.0, 12)])
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            r#"cadence: the engine alone has agent_id="a" user_id="u" mean_gap=15.000000001 stddev_gap=0.0 sample_size=12"#,
            r#"cadence: agent_id="b" user_id="u": mean_gap is 15.0 in the engine and 15.000001 by the SQL"#,
            r#"cadence: agent_id="b" user_id="u": sample_size is 12 in the engine and 13 by the SQL"#,
            r#"cadence: the SQL alone gives agent_id="c" user_id="u" mean_gap=1.0 stddev_gap=0.0 sample_size=12"#,
        ]
    );
    let many: Vec<Row> = (0..100).map(|at| row(&format!("{at:03}"), 1.0, 12)).collect();
    let told = compare(view, &many, &[]);
    assert_eq!(told.len(), DIFFERENCES_MAX + 1);
    assert_eq!(told[DIFFERENCES_MAX].to_string(), "cadence: and 80 more differences");
}
