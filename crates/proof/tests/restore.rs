//! A snapshot taken anywhere, restored and continued, is as if nothing had happened.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

use std::sync::Arc;

use arrow::array::{Array, LargeBinaryArray, RecordBatch};
use arrow::datatypes::Schema;
use weir_engine::{RestoreError, Shard, TABLES, Tables};
use weir_proof::{End, Random, Stream, Weir, check, run, same, serialized};

/// Streams of at most this many records are restored at every record.
const SHORT: usize = 40;

#[test]
fn restored_at_any_record_it_continues_byte_for_byte() {
    check("restore", 60, |seed| {
        let stream = Stream::nasty(seed);
        let (steps, mut weir) = run(&stream, 1, 1);
        let end = without_transaction_views(weir.end().unwrap());
        let mut random = Random::new(seed ^ 0xCAFE);
        let count = stream.transactions.len();
        let cuts: Vec<usize> =
            if count <= SHORT { (0..=count).collect() } else { vec![random.below(count + 1); 1] };
        let mut weir = Weir::new(&stream.config, &stream.mandates, 1, 5).unwrap();
        for at in 0..=count {
            if cuts.contains(&at) {
                let tables = serialized(&weir.snapshot());
                let mut again = Weir::restored(&stream.config, &stream.mandates, &tables, 6)
                    .map_err(|error| format!("after {at} records: {error}"))?;
                for (place, line) in stream.transactions.iter().enumerate().skip(at) {
                    let step = again.step(line.as_bytes()).unwrap();
                    same(&format!("restored after {at}: what record {place} led to"), &steps[place], &step)?;
                }
                let again = without_transaction_views(again.end().unwrap());
                end.same(&again).map_err(|why| format!("restored after {at}: {why}"))?;
                same("the bounds reached", &end.reached, &again.reached)?;
            }
            if let Some(line) = stream.transactions.get(at) {
                weir.step(line.as_bytes()).unwrap();
            }
        }
        Ok(())
    });
}

#[test]
fn a_snapshot_of_what_was_restored_is_the_same_snapshot() {
    check("restore", 30, |seed| {
        let stream = Stream::nasty(seed);
        let (_, weir) = run(&stream, 1, 1);
        let tables = serialized(&weir.snapshot());
        let again = Weir::restored(&stream.config, &stream.mandates, &tables, 9).unwrap();
        same("the snapshots", &tables, &again.snapshot())
    });
}

/// Whoever has the recorded stream keeps those two, not the shard.
fn without_transaction_views(mut end: End) -> End {
    end.views.retain(|(name, _)| !matches!(*name, "scope" | "replay_window"));
    end
}

fn sound() -> (Stream, Tables) {
    // The first stream whose snapshot has a row in every table.
    let filled = |seed| {
        let stream = Stream::nasty(seed);
        let tables = run(&stream, 1, 1).1.snapshot();
        tables
            .iter()
            .all(|(_, batches)| batches[0].num_rows() > 1 || batches[0].num_columns() == 2)
            .then_some((stream, tables))
    };
    (0..).find_map(filled).unwrap()
}

#[test]
fn a_missing_table_is_told() {
    let (stream, tables) = sound();
    for table in TABLES {
        let mut damaged = tables.clone();
        damaged.retain(|(name, _)| *name != table);
        let error = Shard::restore(&stream.config, 0, &damaged).unwrap_err();
        assert!(matches!(error, RestoreError::MissingTable(missing) if missing == table), "{error}");
    }
}

#[test]
fn a_missing_or_mistyped_column_is_told() {
    let (stream, tables) = sound();
    for (at, (table, batches)) in tables.iter().enumerate() {
        for column in 0..batches[0].num_columns() {
            let kept: Vec<usize> = (0..batches[0].num_columns()).filter(|&other| other != column).collect();
            let mut damaged = tables.clone();
            damaged[at].1 = batches.iter().map(|batch| batch.project(&kept).unwrap()).collect();
            let told = |damaged: &Tables| Shard::restore(&stream.config, 0, damaged).map(|_| ());
            let error = told(&damaged);
            assert!(matches!(error, Err(RestoreError::WrongColumn { .. })), "{table} {column}: {error:?}");

            damaged[at].1 = batches.iter().map(|batch| with_texts(batch, column)).collect();
            let error = told(&damaged);
            assert!(matches!(error, Err(RestoreError::WrongColumn { .. })), "{table} {column}: {error:?}");
        }
    }
}

/// The batch with a column of ordinary strings in the place of one.
fn with_texts(batch: &RecordBatch, column: usize) -> RecordBatch {
    let texts = arrow::array::StringArray::from(vec!["?"; batch.num_rows()]);
    let mut columns = batch.columns().to_vec();
    let mut fields: Vec<_> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[column] = fields[column].clone().with_data_type(texts.data_type().clone());
    columns[column] = Arc::new(texts);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// The tables with the state of one row changed.
fn with_state(tables: &Tables, at: usize, row: usize, change: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>) -> Tables {
    let mut damaged = tables.clone();
    let batch = &damaged[at].1[0];
    let column = batch.schema().index_of("state").unwrap();
    let states = batch.column(column).as_any().downcast_ref::<LargeBinaryArray>().unwrap();
    let changed = states.iter().enumerate().map(|(place, state)| {
        let state = state.map(<[u8]>::to_vec);
        if place == row { state.and_then(change) } else { state }
    });
    let changed = changed.collect::<LargeBinaryArray>();
    let mut columns = batch.columns().to_vec();
    columns[column] = Arc::new(changed);
    damaged[at].1[0] = RecordBatch::try_new(batch.schema(), columns).unwrap();
    damaged
}

fn tables_with_state(tables: &Tables) -> Vec<(usize, usize)> {
    let with_state =
        tables.iter().enumerate().filter(|(_, (_, batches))| batches[0].column_by_name("state").is_some());
    with_state.flat_map(|(at, (_, batches))| (0..batches[0].num_rows()).map(move |row| (at, row))).collect()
}

#[test]
fn truncated_states_are_told() {
    let (stream, tables) = sound();
    for (at, row) in tables_with_state(&tables) {
        for keep in [0, 1, 7] {
            let shorter = |state: Vec<u8>| (state.len() > keep).then(|| state[..keep].to_vec());
            let damaged = with_state(&tables, at, row, &shorter);
            let table = tables[at].0;
            let restored = Shard::restore(&stream.config, 0, &damaged);
            let unknown =
                table == "mandates" && tables[at].1[0].column_by_name("state").unwrap().is_null(row);
            if !unknown {
                let error = restored.map(|_| ()).unwrap_err();
                assert!(matches!(error, RestoreError::WrongState { .. }), "{table} row {row}: {error}");
            }
        }
        let damaged = with_state(&tables, at, row, &|_| None);
        let restored = Shard::restore(&stream.config, 0, &damaged).map(|_| ());
        if tables[at].0 != "mandates" {
            assert!(matches!(restored, Err(RestoreError::Dangling { .. })), "{} row {row}", tables[at].0);
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    check("restore", 3, |seed| {
        let stream = Stream::nasty(seed);
        let tables = run(&stream, 1, 1).1.snapshot();
        let mut random = Random::new(seed);
        let places = tables_with_state(&tables);
        for _ in 0..300 {
            let (at, row) = random.pick(&places);
            let (place, byte) = (random.below(1 << 16), u8::try_from(random.below(255)).unwrap() + 1);
            let flip = |mut state: Vec<u8>| {
                let place = place % state.len();
                state[place] ^= byte;
                Some(state)
            };
            // Either it is told or the value is another sound one; a digest guards whole snapshots.
            let _ = Shard::restore(&stream.config, 0, &with_state(&tables, at, row, &flip));
        }
        Ok(())
    });
}

#[test]
fn dangling_numbers_are_told() {
    let (stream, tables) = sound();
    let place = |table: &str| tables.iter().position(|(name, _)| *name == table).unwrap();
    for referred in ["users", "agents", "mandates", "ledgers"] {
        let mut damaged = tables.clone();
        let batches = &mut damaged[place(referred)].1;
        batches[0] = batches[0].slice(0, 0);
        let error = Shard::restore(&stream.config, 0, &damaged).map(|_| ()).unwrap_err();
        assert!(matches!(error, RestoreError::Dangling { .. }), "without {referred}: {error}");
    }
    let mut damaged = tables.clone();
    let batches = &mut damaged[place("watermark")].1;
    batches[0] = batches[0].slice(0, 0);
    assert!(matches!(Shard::restore(&stream.config, 0, &damaged), Err(RestoreError::Dangling { .. })));
}
