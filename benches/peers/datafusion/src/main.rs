//! The views over a recorded stream as a user of DataFusion computes them: its reader of NDJSON, SQL that prepares the
//! tables, and the SQL of each view. `TRANSACTIONS MANDATES`, or
//! `--version`; the last line printed tells rows per view.
#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::time::Instant;

use anyhow::{Context as _, Result};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::execution::context::SessionContext;
use datafusion::execution::options::JsonReadOptions;
use datafusion::prelude::SessionConfig;
use serde_json::{Map, Value, json};
use weir_detectors::risk::VIEWS;
use weir_engine::Config;
use weir_history::oracle::{filled_in, to_base};

/// What each of the views' tables is made by, in this order.
const TABLES: &[(&str, &str)] = &[
    ("numbered", include_str!("numbered.sql")),
    ("transactions", include_str!("transactions.sql")),
    ("mandates", include_str!("mandates.sql")),
    ("merchant_categories", "SELECT '' AS merchant, '' AS category WHERE FALSE"),
];

#[tokio::main]
async fn main() -> Result<()> {
    let begun = Instant::now();
    let mut arguments = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("{}", datafusion::DATAFUSION_VERSION);
        return Ok(());
    }
    let (Some(transactions), Some(mandates)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: weir-peer-datafusion TRANSACTIONS MANDATES");
    };
    let config = Config::default();
    // Whether a payment is late depends on the order of arrival, so one reader reads the file from its beginning to
    // its end.
    let session = SessionConfig::new().with_repartition_file_scans(false);
    let context = SessionContext::new_with_config(session);
    context.register_udf(to_base(config.rates()));
    read(&context, "read_transactions", &transactions, transaction_schema()).await?;
    read(&context, "read_mandates", &mandates, mandate_schema()).await?;
    for (name, sql) in TABLES {
        create(&context, name, sql).await?;
    }
    let mut parameters = weir_detectors::sql_parameters(&config.detectors);
    parameters.extend(config.risk.weights.sql_parameters());
    let mut rows = Map::new();
    for (view, sql) in VIEWS.iter().zip(filled_in(&VIEWS, &parameters)?) {
        create(&context, view.name, &sql).await?;
        rows.insert(view.name.to_owned(), count(&context, view.name).await?);
    }
    let records = count(&context, "numbered").await?;
    println!(
        "{}",
        json!({
            "records": records,
            "elapsed_s": begun.elapsed().as_secs_f64(),
            "views": rows,
            "final": true,
        })
    );
    Ok(())
}

async fn read(context: &SessionContext, name: &str, path: &str, schema: Schema) -> Result<()> {
    let options = JsonReadOptions::default().file_extension("").schema(&schema);
    context.register_json(name, path, options).await.with_context(|| format!("cannot read {path}"))
}

async fn create(context: &SessionContext, name: &str, sql: &str) -> Result<()> {
    // The SQL of a view begins with a comment of several lines.
    let made = context.sql(&format!("CREATE TABLE {name} AS\n{sql}")).await;
    made.with_context(|| format!("table {name}"))?
        .collect()
        .await
        .with_context(|| format!("table {name}"))?;
    Ok(())
}

async fn count(context: &SessionContext, table: &str) -> Result<Value> {
    Ok(context.table(table).await?.count().await?.into())
}

fn transaction_schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let degrees = DataType::Decimal128(10, 7);
    schema(&[
        ("tx_id", DataType::Utf8),
        ("agent_id", DataType::Utf8),
        ("user_id", DataType::Utf8),
        ("mandate_id", DataType::Utf8),
        ("merchant", DataType::Utf8),
        ("merchant_category", DataType::Utf8),
        ("amount", DataType::Decimal128(38, 8)),
        ("amount_minor", DataType::Int64),
        ("currency", DataType::Utf8),
        ("lat", degrees.clone()),
        ("lng", degrees),
        ("tx_time", time.clone()),
        ("record_time", time),
    ])
}

fn mandate_schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    schema(&[
        ("mandate_id", DataType::Utf8),
        ("agent_id", DataType::Utf8),
        ("user_id", DataType::Utf8),
        ("scope_merchant", DataType::Utf8),
        ("max_amount", DataType::Decimal128(38, 8)),
        ("max_amount_period", DataType::Utf8),
        ("currency", DataType::Utf8),
        ("valid_from", time.clone()),
        ("valid_to", time),
    ])
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
}
