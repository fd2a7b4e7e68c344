//! Every form of input file, and every way in which one can be wrong.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use parquet::arrow::ArrowWriter;
use weir_events::reject::OriginalEncoding;
use weir_history::records::{
    Block, MANDATE_COLUMNS, ReadError, ReadOptions, RecordReader, Records, SortOptions, SortedReader,
    TRANSACTION_COLUMNS,
};

const OPTIONS: ReadOptions = ReadOptions { record_bytes_max: 1 << 20, required_columns: TRANSACTION_COLUMNS };

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.0.path().join("stream");
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn all(records: &mut impl Records) -> Result<Vec<(u64, String)>, ReadError> {
    let (mut block, mut lines) = (Block::default(), Vec::new());
    while records.next_block(&mut block)? {
        lines.extend(block.iter().map(|(line, text)| {
            let text = String::from_utf8_lossy(text).into_owned();
            (line.number, line.oversized.as_ref().map_or(text, |long| format!("long {}", long.bytes)))
        }));
    }
    Ok(lines)
}

fn read_with(content: &[u8], options: ReadOptions) -> Result<Vec<(u64, String)>, ReadError> {
    let folder = Folder::new();
    all(&mut RecordReader::open(&folder.file(content), options)?)
}

fn read(content: &[u8]) -> Result<Vec<(u64, String)>, ReadError> {
    read_with(content, OPTIONS)
}

fn refused(content: &[u8]) -> String {
    read(content).unwrap_err().to_string()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn numbered(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
    lines.iter().map(|&(number, text)| (number, text.to_owned())).collect()
}

#[test]
fn blank_lines_and_the_byte_order_mark_are_skipped_but_counted() {
    let lines = read(b"\xEF\xBB\xBF{\"a\":1}\r\n\n  \t\r\n{\"b\":2}\n\xEF\xBB\xBF{}\n{\"c\":3}").unwrap();
    assert_eq!(lines, numbered(&[(1, "{\"a\":1}"), (4, "{\"b\":2}"), (5, "\u{feff}{}"), (6, "{\"c\":3}")]));
    assert_eq!(read(b"").unwrap(), []);
    assert_eq!(read(b"\n\n").unwrap(), []);
    assert_eq!(read(b"\xEF\xBB\xBF").unwrap(), []);
}

#[test]
fn compressed_files_of_several_members_read_as_one() {
    let wanted = numbered(&[(1, "{\"a\":1}"), (2, "{\"b\":2}")]);
    let (first, second) = (b"{\"a\":1}\n{\"b\"", b":2}\n");
    assert_eq!(read(&[gzip(first), gzip(second)].concat()).unwrap(), wanted);
    let zstd = |content: &[u8]| zstd::encode_all(content, 3).unwrap();
    assert_eq!(read(&[zstd(first), zstd(second)].concat()).unwrap(), wanted);
    assert_eq!(read(&gzip(b"")).unwrap(), []);
    assert_eq!(read(&zstd(b"")).unwrap(), []);
}

#[test]
fn many_blocks_keep_every_line() {
    let content: String = (1..=100_000).map(|number| format!("{{\"number\":{number}}}\n")).collect();
    for packed in [content.as_bytes().to_vec(), gzip(content.as_bytes())] {
        let lines = read(&packed).unwrap();
        assert_eq!(lines.len(), 100_000);
        for (at, (number, text)) in lines.iter().enumerate() {
            assert_eq!(
                (*number, text.as_str()),
                (at as u64 + 1, format!("{{\"number\":{number}}}").as_str())
            );
        }
    }
}

#[test]
fn a_line_at_the_limit_is_whole_and_one_byte_more_is_not() {
    let options = ReadOptions { record_bytes_max: 8, ..OPTIONS };
    let content = b"12345678\n123456789\n12345678\r\n123456789\r\n1234567\r8\n1234567890\r\n12345678\r";
    let lines = read_with(content, options).unwrap();
    let wanted = [
        (1, "12345678"),
        (2, "long 9"),
        (3, "12345678"),
        (4, "long 9"),
        (5, "long 9"),
        (6, "long 10"),
        (7, "12345678"),
    ];
    assert_eq!(lines, numbered(&wanted));
}

#[test]
fn a_long_line_is_summed_up_and_the_next_one_read() {
    let folder = Folder::new();
    let mut content = vec![b'x'; 5 << 20];
    content.splice(0..21, *b"card 4111111111111111");
    content.extend_from_slice(b"\r\n{\"next\":true}\n");
    let path = folder.file(&content);
    let mut reader = RecordReader::open(&path, OPTIONS).unwrap();
    let mut block = Block::default();
    let mut lines = Vec::new();
    while reader.next_block(&mut block).unwrap() {
        lines.extend(block.iter().map(|(line, text)| (line.clone(), text.to_vec())));
    }
    let long = lines[0].0.oversized.clone().unwrap();
    assert_eq!((long.bytes, long.encoding, lines[0].1.len()), (5 << 20, OriginalEncoding::Utf8, 0));
    assert!(
        !long.text.contains("4111111111111111") && long.text.contains("1111 ") | long.text.contains("1111x")
    );
    assert_eq!(*long, weir_events::reject::Original::new(&content[..5 << 20]));
    assert_eq!((lines[1].0.number, lines[1].1.as_slice()), (2, &b"{\"next\":true}"[..]));
    assert_eq!(reader.bytes_read(), reader.total_bytes().unwrap());
}

#[test]
fn files_that_cannot_be_read_say_why_and_what_to_do() {
    let folder = Folder::new();
    let open = |path: &Path| RecordReader::open(path, OPTIONS).unwrap_err().to_string();
    assert!(open(&folder.0.path().join("absent")).contains("absent: there is no such file"));
    assert!(open(folder.0.path()).contains("this is a directory; name one file in it"));
    assert!(refused(b"\x89PNG\r\n\x1a\n....").contains("a PNG image"));
    assert!(refused(b"PK\x03\x04........").contains("a ZIP archive"));
    assert!(refused(b"\x7FELF\x02\x01\x01").contains("a program (ELF)"));
    assert!(
        refused(b"\xFF\xFE{\x00}\x00")
            .contains("UTF-16 text, not a stream of records; convert it to UTF-8 first")
    );
    let noise: Vec<u8> =
        (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).filter(|&b| b != b'{').collect();
    assert!(refused(&noise).contains("binary data"));
    assert!(refused(&gzip(&noise)).contains("binary data"));
    assert!(refused(&gzip(&gzip(b"{}"))).contains("compressed twice"));
    assert!(refused(b"PAR1 and nothing else").contains("this Parquet file cannot be read"));
}

#[test]
fn a_bad_record_is_not_the_files_fault() {
    assert_eq!(read(b"\0\0\0\xFF\xFF\n").unwrap().len(), 1);
    let mut mostly_bad = vec![0; 4096];
    mostly_bad.extend_from_slice(b"\n{}\n");
    assert_eq!(read(&mostly_bad).unwrap().len(), 2);
    assert_eq!(
        read(b"not json at all, but text, and long enough to be looked at: seventy-odd bytes\n")
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn truncated_and_damaged_compression_is_told_after_the_good_records() {
    let content: String = (0..300_000_u64)
        .map(|at| format!("{{\"n\":{}}}\n", at.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    for (packed, compression) in
        [(gzip(content.as_bytes()), "gzip"), (zstd::encode_all(content.as_bytes(), 3).unwrap(), "zstd")]
    {
        let folder = Folder::new();
        let path = folder.file(&packed[..packed.len() - 20_000]);
        let mut reader = RecordReader::open(&path, OPTIONS).unwrap();
        let mut block = Block::default();
        assert!(reader.next_block(&mut block).unwrap());
        let error = all(&mut reader).unwrap_err();
        assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
        assert!(error.to_string().contains(&format!("the {compression} data ends too early")), "{error}");

        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 64].fill(0xA5);
        assert!(matches!(read(&damaged).unwrap_err(), ReadError::Damaged { .. }));
    }
    assert!(matches!(read(&gzip(b"{}")[..12]).unwrap_err(), ReadError::Truncated { .. }));
}

fn time_of(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.split(' ').next()?.parse().ok()
}

#[test]
fn sorting_is_stable_and_the_same_in_memory_and_on_disk() {
    let mut content = String::new();
    for number in 0..20_000_u64 {
        let time = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
        content.push_str(&if number % 97 == 0 {
            format!("? {number}\n")
        } else {
            format!("{time} {number}\n")
        });
        if number % 5_000 == 0 {
            content.push_str(&"9".repeat(100));
            content.push('\n');
        }
    }
    let folder = Folder::new();
    let path = folder.file(content.as_bytes());
    let options = ReadOptions { record_bytes_max: 64, ..OPTIONS };
    let sorted = |memory_bytes| {
        let reader = RecordReader::open(&path, options).unwrap();
        let mut sorted =
            SortedReader::new(reader, "stream", SortOptions { key: time_of, memory_bytes }).unwrap();
        all(&mut sorted).unwrap()
    };
    let mut wanted = all(&mut RecordReader::open(&path, options).unwrap()).unwrap();
    wanted.sort_by_key(|(_, text)| time_of(text.as_bytes()));
    assert_eq!(sorted(1 << 30), wanted);
    assert_eq!(sorted(1_000), wanted);
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, values)| (name, values, true)),
    );
    let batch = batch.unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    out
}

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn parquet_rows_become_json_records() {
    let amounts = Decimal128Array::from(vec![Some(1_250), Some(1)]).with_precision_and_scale(20, 2).unwrap();
    let users: DictionaryArray<Int32Type> = vec!["u", "u"].into_iter().collect();
    let times = TimestampMicrosecondArray::from(vec![1_777_989_660_000_001, -1]);
    let recorded = TimestampMillisecondArray::from(vec![Some(951_782_399_999), None]).with_timezone("+02:00");
    let nested = StructArray::from(vec![(
        Arc::new(Field::new("deep", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef,
    )]);
    let content = parquet(vec![
        ("tx_id", strings(&["t1", "t\"\u{1}é"])),
        ("agent_id", strings(&["a", "a"])),
        ("user_id", Arc::new(users)),
        ("mandate_id", Arc::new(StringArray::from(vec![None, Some("m")]))),
        ("merchant", strings(&["shop", "shop"])),
        ("amount", Arc::new(amounts)),
        ("lat", Arc::new(Float64Array::from(vec![Some(48.1), Some(f64::NAN)]))),
        ("tx_time", Arc::new(times)),
        ("record_time", Arc::new(recorded)),
        ("retry", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("nested", Arc::new(nested)),
    ]);
    let wanted = [
        (
            1,
            r#"{"tx_id":"t1","agent_id":"a","user_id":"u","merchant":"shop","amount":12.50,"lat":48.1,"tx_time":"2026-05-05T14:01:00.000001Z","record_time":"2000-02-28T23:59:59.999Z","retry":true,"nested":{"deep":7}}"#,
        ),
        (
            2,
            "{\"tx_id\":\"t\\\"\\u0001é\",\"agent_id\":\"a\",\"user_id\":\"u\",\"mandate_id\":\"m\",\"merchant\":\"shop\",\"amount\":0.01,\"lat\":\"NaN\",\"tx_time\":\"1969-12-31T23:59:59.999999Z\",\"nested\":{\"deep\":null}}",
        ),
    ];
    assert_eq!(read(&content).unwrap(), numbered(&wanted));
    for (_, text) in read(&content).unwrap() {
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
    let long = read_with(&content, ReadOptions { record_bytes_max: 200, ..OPTIONS }).unwrap();
    assert_eq!(long[0].1, format!("long {}", wanted[0].1.len()));
}

#[test]
fn parquet_mandates_have_lists() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let content = parquet(vec![
        ("mandate_id", strings(&["m", "n"])),
        ("agent_id", strings(&["a", "a"])),
        ("user_id", strings(&["u", "u"])),
        ("allowed", Arc::new(lists)),
    ]);
    let lines = read_with(&content, ReadOptions { required_columns: MANDATE_COLUMNS, ..OPTIONS }).unwrap();
    assert_eq!(lines[0].1, r#"{"mandate_id":"m","agent_id":"a","user_id":"u","allowed":[1,null]}"#);
    assert_eq!(lines[1].1, r#"{"mandate_id":"n","agent_id":"a","user_id":"u"}"#);
}

#[test]
fn parquet_with_other_columns_names_those_missing_and_those_found() {
    let content = parquet(vec![("tx_id", strings(&["t"])), ("price", strings(&["1"]))]);
    let error = refused(&content);
    assert!(
        error.contains("no column agent_id, user_id, merchant, amount or amount_minor, tx_time"),
        "{error}"
    );
    assert!(error.contains("it has tx_id, price"), "{error}");
}
