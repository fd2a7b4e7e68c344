//! The SQL function that decimals need.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use weir_events::{Amount, Currency, Rates};

use super::tables::{PRECISION, SCALE};

const DECIMAL: DataType = DataType::Decimal128(PRECISION, SCALE);

/// `to_base(amount, currency)`: the amount in the base currency, null without a rate.
#[must_use]
pub fn to_base(rates: Rates) -> ScalarUDF {
    let convert = move |arguments: &[ColumnarValue]| {
        let [amounts, currencies] = arrays(arguments)?;
        let (amounts, currencies) = (amounts.as_primitive::<Decimal128Type>(), currencies.as_string::<i32>());
        let converted = amounts.iter().zip(currencies).map(|(amount, currency)| {
            let currency = Currency(currency?.as_bytes().try_into().ok()?);
            rates.to_base(Amount(amount?), currency)
        });
        decimals(converted)
    };
    let types = vec![DECIMAL, DataType::Utf8];
    create_udf("to_base", types, DECIMAL, Volatility::Immutable, Arc::new(convert))
}

fn arrays(arguments: &[ColumnarValue]) -> Result<[Arc<dyn Array>; 2]> {
    ColumnarValue::values_to_arrays(arguments)?
        .try_into()
        .map_err(|_| DataFusionError::Execution("two arguments are wanted".to_owned()))
}

/// A column of the results. One that does not fit the type is an error, never another number.
fn decimals(values: impl Iterator<Item = Option<Amount>>) -> Result<ColumnarValue> {
    let column: Decimal128Array = values.map(|value| value.map(|amount| amount.0)).collect();
    let column = column.with_precision_and_scale(PRECISION, SCALE)?;
    column.validate_decimal_precision(PRECISION)?;
    Ok(ColumnarValue::Array(Arc::new(column)))
}
