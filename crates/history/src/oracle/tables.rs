//! The tables that the SQL reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, Int64Builder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use weir_events::{CapPeriod, Mandate, Transaction};

/// Rows of a record batch.
const BATCH_ROWS: usize = 64 << 10;
/// Digits of a decimal, and those behind the point: units of 1e-8, as in [`weir_events::Amount`].
pub(super) const PRECISION: u8 = 38;
pub(super) const SCALE: i8 = 8;

/// The table `transactions`, being filled.
#[derive(Debug, Default)]
pub(super) struct TransactionTable {
    batches: Vec<RecordBatch>,
    columns: TransactionColumns,
    rows: usize,
}

#[derive(Debug, Default)]
struct TransactionColumns {
    tx_id: StringBuilder,
    agent_id: StringBuilder,
    user_id: StringBuilder,
    mandate_id: StringBuilder,
    merchant: StringBuilder,
    merchant_category: StringBuilder,
    amount: Decimal128Builder,
    currency: StringBuilder,
    lat_e7: Int64Builder,
    lng_e7: Int64Builder,
    tx_time: Int64Builder,
    late: BooleanBuilder,
}

impl TransactionTable {
    pub(super) fn push(&mut self, transaction: &Transaction<'_>, late: bool) -> Result<(), ArrowError> {
        let columns = &mut self.columns;
        columns.tx_id.append_value(&transaction.tx_id);
        columns.agent_id.append_value(&transaction.agent_id);
        columns.user_id.append_value(&transaction.user_id);
        columns.mandate_id.append_option(transaction.mandate_id.as_deref());
        columns.merchant.append_value(&transaction.merchant);
        columns.merchant_category.append_option(transaction.merchant_category.as_deref());
        columns.amount.append_value(transaction.amount.0);
        columns.currency.append_value(transaction.currency.as_str());
        columns.lat_e7.append_option(transaction.location.map(|location| i64::from(location.lat_e7)));
        columns.lng_e7.append_option(transaction.location.map(|location| i64::from(location.lng_e7)));
        columns.tx_time.append_value(transaction.tx_time.0);
        columns.late.append_value(late);
        self.rows += 1;
        if self.rows == BATCH_ROWS {
            self.rows = 0;
            self.batches.push(self.columns.finish()?);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
        let last = self.columns.finish()?;
        let schema = last.schema();
        self.batches.push(last);
        Ok((schema, self.batches))
    }
}

impl TransactionColumns {
    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        batch([
            ("tx_id", false, Arc::new(self.tx_id.finish())),
            ("agent_id", false, Arc::new(self.agent_id.finish())),
            ("user_id", false, Arc::new(self.user_id.finish())),
            ("mandate_id", true, Arc::new(self.mandate_id.finish())),
            ("merchant", false, Arc::new(self.merchant.finish())),
            ("merchant_category", true, Arc::new(self.merchant_category.finish())),
            ("amount", false, amounts(&mut self.amount)?),
            ("currency", false, Arc::new(self.currency.finish())),
            ("lat_e7", true, Arc::new(self.lat_e7.finish())),
            ("lng_e7", true, Arc::new(self.lng_e7.finish())),
            ("tx_time", false, Arc::new(self.tx_time.finish())),
            ("late", false, Arc::new(self.late.finish())),
        ])
    }
}

/// The table `mandates`: what the views need of them.
pub(super) fn mandates(newest: impl IntoIterator<Item = Mandate>) -> Result<RecordBatch, ArrowError> {
    let [mut mandate_id, mut agent_id, mut user_id] = [(); 3].map(|()| StringBuilder::new());
    let [mut scope_merchant, mut period, mut currency] = [(); 3].map(|()| StringBuilder::new());
    let [mut valid_from, mut valid_to] = [(); 2].map(|()| Int64Builder::new());
    let mut max_amount = Decimal128Builder::new();
    for mandate in newest {
        mandate_id.append_value(&mandate.mandate_id);
        agent_id.append_value(&mandate.agent_id);
        user_id.append_value(&mandate.user_id);
        scope_merchant.append_option(mandate.scope_merchant.as_deref());
        max_amount.append_option(mandate.max_amount.map(|amount| amount.0));
        period.append_value(period_name(mandate.max_amount_period));
        currency.append_value(mandate.currency.as_str());
        valid_from.append_option(mandate.valid_from.map(|time| time.0));
        valid_to.append_option(mandate.valid_to.map(|time| time.0));
    }
    batch([
        ("mandate_id", false, Arc::new(mandate_id.finish())),
        ("agent_id", false, Arc::new(agent_id.finish())),
        ("user_id", false, Arc::new(user_id.finish())),
        ("scope_merchant", true, Arc::new(scope_merchant.finish())),
        ("max_amount", true, amounts(&mut max_amount)?),
        ("max_amount_period", false, Arc::new(period.finish())),
        ("currency", false, Arc::new(currency.finish())),
        ("valid_from", true, Arc::new(valid_from.finish())),
        ("valid_to", true, Arc::new(valid_to.finish())),
    ])
}

/// The table `merchant_categories`: the configured map.
pub(super) fn merchant_categories(map: &BTreeMap<String, String>) -> Result<RecordBatch, ArrowError> {
    batch([
        ("merchant", false, Arc::new(StringArray::from_iter_values(map.keys()))),
        ("category", false, Arc::new(StringArray::from_iter_values(map.values()))),
    ])
}

fn period_name(period: CapPeriod) -> &'static str {
    match period {
        CapPeriod::Lifetime => "lifetime",
        CapPeriod::Day => "day",
        CapPeriod::Week => "week",
        CapPeriod::Month => "month",
    }
}

fn amounts(builder: &mut Decimal128Builder) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(builder.finish().with_precision_and_scale(PRECISION, SCALE)?))
}

fn batch<const N: usize>(columns: [(&str, bool, ArrayRef); N]) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, nullable, values)| Field::new(*name, DataType::clone(values.data_type()), *nullable))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, _, values)| values).collect())
}
