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
use weir_events::RiskProfile;
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

/// Mandates with version, whether they are known, and the agents that used them.
fn mandates(weir: &Weir) -> Vec<(String, i64, bool, Vec<u32>)> {
    let all = weir.shard().mandate_versions();
    let all =
        all.map(|(id, version, known)| (id.to_owned(), version, known, weir.shard().agents_of_mandate(id)));
    all.collect()
}

#[test]
fn a_chain_of_checkpoints_is_the_state_at_the_beginning_of_the_last() {
    check("restore", 80, |seed| {
        let stream = Stream::nasty(seed);
        let (steps, mut whole) = run(&stream, 1, 1);
        let end = without_transaction_views(whole.end().unwrap());
        let mut random = Random::new(seed ^ 0xC4EC);
        let mut weir = Weir::new(&stream.config, &stream.mandates, 1, 5).unwrap();
        // Mandates that are in force before the first transaction are noted only by a shard that is new.
        let first = serialized(&weir.snapshot());
        weir.track_changes();
        let mut chain: Tables = first;
        // What is running: the state when it began, its batches, and the record it began at.
        let mut running: Option<(Tables, Tables, usize)> = None;
        for (at, line) in stream.transactions.iter().enumerate() {
            if random.percent(8) {
                // Sometimes while another runs, which is given up.
                weir.begin_checkpoint();
                let none = TABLES.map(|table| (table, Vec::new())).into();
                running = Some((weir.snapshot(), none, at));
            }
            if let Some((expected, batches, began)) = &mut running {
                let slice = weir.continue_checkpoint(random.below(4));
                for (table, batch) in slice.batches {
                    batches.iter_mut().find(|(name, _)| *name == table).unwrap().1.push(batch);
                }
                if slice.finished && random.percent(80) {
                    for ((_, chain), (_, new)) in chain.iter_mut().zip(&mut *batches) {
                        chain.append(new);
                    }
                    if random.percent(90) {
                        weir.checkpoint_kept();
                    }
                    let mut again = Weir::restored(&stream.config, &stream.mandates, &serialized(&chain), 6)
                        .map_err(|error| format!("begun at {began}: {error}"))?;
                    same(&format!("what was begun at {began}, at {at},"), expected, &again.snapshot())?;
                    if random.percent(30) {
                        let rest = stream.transactions.iter().enumerate().skip(*began);
                        for (place, line) in rest {
                            let step = again.step(line.as_bytes()).unwrap();
                            same(&format!("begun at {began}: record {place}"), &steps[place], &step)?;
                        }
                        end.same(&without_transaction_views(again.end().unwrap()))?;
                        same("the mandates", &mandates(&whole), &mandates(&again))?;
                    }
                    running = None;
                }
            }
            let step = weir.step(line.as_bytes()).unwrap();
            same(&format!("record {at} beside checkpoints"), &steps[at], &step)?;
        }
        Ok(())
    });
}

#[test]
fn another_configuration_in_force_is_a_restore_under_it() {
    check("restore", 60, |seed| {
        let stream = Stream::nasty(seed);
        let other = Stream::nasty(seed + 1_000_000).config;
        let mut random = Random::new(seed ^ 0xC0F);
        let cut = random.below(stream.transactions.len());
        let mut weir = Weir::new(&stream.config, &stream.mandates, 1, 5).unwrap();
        for line in &stream.transactions[..cut] {
            weir.step(line.as_bytes()).unwrap();
        }
        let tables = serialized(&weir.snapshot());
        let mut again = Weir::restored(&other, &stream.mandates, &tables, 6).unwrap();
        weir.reconfigure(&other, &stream.mandates);
        same("the snapshots at the change", &again.snapshot(), &weir.snapshot())?;
        for (place, line) in stream.transactions.iter().enumerate().skip(cut) {
            let (left, right) = (again.step(line.as_bytes()), weir.step(line.as_bytes()));
            same(&format!("changed at {cut}: record {place}"), &left, &right)?;
        }
        same("the snapshots at the end", &again.snapshot(), &weir.snapshot())?;
        let (left, right) = (again.end().unwrap(), weir.end().unwrap());
        without_transaction_views(left).same(&without_transaction_views(right))
    });
}

#[test]
fn a_profile_that_changes_is_told() {
    check("restore", 60, |seed| {
        let stream = Stream::nasty(seed);
        let mut weir = Weir::new(&stream.config, &stream.mandates, 1, 5).unwrap();
        for (place, line) in stream.transactions.iter().enumerate() {
            let before: Vec<_> = weir.shard().profiles().map(RiskProfile::into_owned).collect();
            weir.take_stale();
            weir.step(line.as_bytes()).unwrap();
            let stale = weir.take_stale();
            for (number, profile) in (0..).zip(weir.shard().profiles()) {
                let same = before.get(number as usize) == Some(&profile);
                if !same && !stale.contains(&number) {
                    return Err(format!("record {place} changed agent {number}: {profile:?}"));
                }
            }
        }
        let found = weir.shard().agents().map(|(agent, user)| weir.shard().find_agent(&user, &agent));
        same(
            "the agents by name",
            &found.collect::<Vec<_>>(),
            &(0..).map(Some).take(weir.shard().agents_seen()).collect(),
        )
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
            .all(|(name, batches)| batches[0].num_rows() > 1 || *name == "watermark")
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
