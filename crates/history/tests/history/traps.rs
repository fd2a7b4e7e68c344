//! What is known to go wrong in DataFusion, looked at on the version in use.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use weir_events::view::Value;
use weir_events::{Amount, Timestamp};

use crate::views::{at, oracle, transaction};

fn query(batch: RecordBatch, sql: &str) -> Result<Vec<RecordBatch>, datafusion::error::DataFusionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        context.register_table("t", Arc::new(table))?;
        context.sql(sql).await?.collect().await
    })
}

/// A view never says COUNT(DISTINCT …) OVER, on which duplicates were once counted (issue 16887): this
/// is the stream on which it would show.
#[test]
fn a_category_that_repeats_in_the_window_counts_once() {
    let start = at("2026-05-05T00:00:00Z").0;
    let mut oracle = oracle();
    for step in 0..200_i64 {
        let category = ["a", "b", "c", "a"][usize::try_from(step % 4).unwrap()];
        let mut made = transaction(&format!("t{step}"), "agent", "user", Timestamp(start + step * 1_000));
        made.merchant_category = Some(category.into());
        oracle.push(&made, false).unwrap();
    }
    assert!(oracle.rows("cross_merchant").unwrap().is_empty(), "three categories are not four");
}

#[test]
fn categories_count_inclusive_at_both_ends_of_the_window_and_not_beyond() {
    let start = at("2026-05-05T00:00:00Z").0;
    for (last, wanted) in [(300_000_000, 1), (300_000_001, 0)] {
        let mut oracle = oracle();
        for (at, (category, offset)) in [("a", 0), ("b", 7), ("c", 7), ("d", last)].into_iter().enumerate() {
            let mut made = transaction(&format!("t{at}"), "agent", "user", Timestamp(start + offset));
            made.merchant_category = Some(category.into());
            oracle.push(&made, false).unwrap();
        }
        assert_eq!(oracle.rows("cross_merchant").unwrap().len(), wanted, "last at {last}");
    }
}

#[test]
fn a_range_frame_over_integers_takes_in_ties_and_both_ends() {
    let times = Int64Array::from(vec![0, 0, 10, 60, 60, 61, 70, 70, 121]);
    let schema = Schema::new(vec![Field::new("time", DataType::Int64, false)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times)]).unwrap();
    let sql = "SELECT time, COUNT(*) OVER (ORDER BY time RANGE BETWEEN 60 PRECEDING AND CURRENT ROW) AS n FROM t ORDER BY time";
    let counted: Vec<i64> = query(batch, sql)
        .unwrap()
        .iter()
        .flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(counted, [2, 2, 3, 5, 5, 4, 6, 6, 4]);
}

/// Decimal sums pass the end of their type unseen (issue 16406; see below), so the views' sums must have
/// room: the greatest amounts there are leave a factor of 1e14 to the end of the type. Sums of converted
/// amounts, which a rate may make greater, are wider.
#[test]
fn sums_of_the_greatest_amounts_are_exact() {
    let greatest = Amount(10_i128.pow(23) - 1);
    let start = at("2026-05-05T00:00:00Z").0;
    let mut oracle = oracle();
    let mut capped = crate::views::mandate("m", "agent", "user");
    capped.max_amount = Some(Amount(1));
    for step in 0..1_000_i64 {
        let mut made = transaction(&format!("t{step}"), "agent", "user", Timestamp(start + step));
        made.mandate_id = Some("m".into());
        made.amount = greatest;
        oracle.push(&made, false).unwrap();
    }
    oracle.mandates([capped]).unwrap();
    let rows = oracle.rows("replay").unwrap();
    assert_eq!(rows[0][5], Value::Decimal(Amount(greatest.0 * 1_000)));
    assert_eq!(rows[0][6], Value::Decimal(Amount(greatest.0 * 1_000 - 1)));
}

/// An amount that a rate takes beyond the type's digits is an error and never another number.
#[test]
fn a_converted_amount_out_of_range_is_an_error() {
    use weir_events::{Currency, Rates};
    use weir_history::oracle::{Oracle, OracleConfig};
    let mut oracle = Oracle::new(OracleConfig {
        parameters: crate::views::parameters(),
        rates: Rates::new(Currency::USD, [(Currency(*b"EUR"), Amount(10_i128.pow(30)))]),
        merchant_categories: Default::default(),
        views: &crate::views::VIEWS,
    })
    .unwrap();
    let mut made = transaction("t", "agent", "user", at("2026-05-05T00:00:00Z"));
    made.currency = Currency(*b"EUR");
    made.amount = Amount(10_i128.pow(22));
    oracle.push(&made, false).unwrap();
    assert!(oracle.rows("collusion").is_err());
}

/// What the version in use does where the issues were: a change here says to look at the views again.
#[test]
fn the_traps_as_they_are_in_the_version_in_use() {
    let half = 9 * 10_i128.pow(37);
    let amounts = Decimal128Array::from(vec![half, half]).with_precision_and_scale(38, 8).unwrap();
    let names = StringArray::from(vec!["a", "a"]);
    let schema = Schema::new(vec![
        Field::new("amount", DataType::Decimal128(38, 8), false),
        Field::new("name", DataType::Utf8, false),
        Field::new("time", DataType::Int64, false),
    ]);
    let batch = RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(amounts), Arc::new(names), Arc::new(Int64Array::from(vec![0, 1]))],
    )
    .unwrap();
    let first = |sql| query(batch.clone(), sql).map(|batches| batches[0].column(0).clone());
    let sum = first("SELECT SUM(amount) FROM t").unwrap();
    let wrapped = half.wrapping_add(half);
    assert_eq!(
        sum.as_primitive::<Decimal128Type>().value(0),
        wrapped,
        "the sum is wrong and nothing says so"
    );
    let wide =
        first("SELECT CAST(SUM(CAST(amount AS DECIMAL(76, 8))) AS DECIMAL(38, 8)) FROM t").unwrap_err();
    assert!(wide.to_string().contains("Overflowing"), "as the views do it, it fails: {wide}");
    assert!(first("SELECT amount * amount FROM t").is_err());
    let sql =
        "SELECT COUNT(DISTINCT name) OVER (ORDER BY time RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t";
    let distinct = query(batch.clone(), sql).unwrap();
    let counts =
        distinct.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert_eq!(counts.collect::<Vec<_>>(), [1, 1]);
}
