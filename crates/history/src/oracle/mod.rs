//! The views recomputed by DataFusion from their SQL.

mod functions;
mod parameters;
mod rows;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::functions::to_base;
pub use self::parameters::filled_in;
pub(crate) use self::rows::by_key;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::prelude::SessionConfig;
use tokio::runtime::Runtime;
use weir_events::view::{Row, Value, View};
use weir_events::{Mandate, Rates, Transaction};

use self::tables::TransactionTable;

/// Everything that the SQL of the views depends on beside the records.
#[derive(Debug, Clone)]
pub struct OracleConfig<'a> {
    /// The values of the `$names` in the SQL: integers and decimals.
    pub parameters: Vec<(&'static str, Value)>,
    /// What `to_base` converts by.
    pub rates: Rates,
    /// Category by merchant, byte for byte.
    pub merchant_categories: BTreeMap<String, String>,
    /// All views. One may read those that stand before it, by name.
    pub views: &'a [View],
}

/// Collects the records of a stream and answers with the rows of its views.
///
/// Holds all of them in memory: about 150 bytes per transaction, and several times that while a view
/// is computed.
pub struct Oracle<'a> {
    runtime: Runtime,
    context: SessionContext,
    views: &'a [View],
    /// The SQL of each view with its parameters filled in.
    sql: Vec<String>,
    transactions: TransactionTable,
    is_open: bool,
    has_mandates: bool,
    computed: BTreeSet<&'static str>,
}

/// A view that cannot be recomputed.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// The SQL names a parameter that was not given.
    #[error("view {view}: the SQL has ${name}, which is no parameter")]
    UnknownParameter {
        /// The view.
        view: &'static str,
        /// Without the dollar sign.
        name: String,
    },
    /// A parameter that no SQL names.
    #[error("no view's SQL has ${name}")]
    UnusedParameter {
        /// Without the dollar sign.
        name: &'static str,
    },
    /// A parameter of a type that has no place in the SQL.
    #[error("the parameter ${name} is neither an integer nor a decimal")]
    ParameterType {
        /// Without the dollar sign.
        name: &'static str,
    },
    /// Not one of the views.
    #[error("there is no view {view}")]
    UnknownView {
        /// What was asked for.
        view: String,
    },
    /// The SQL gives other columns than the view declares.
    #[error("view {view}: column {at} is {found}, but it is declared as {declared}")]
    Columns {
        /// The view.
        view: &'static str,
        /// Counted from 1.
        at: usize,
        /// Name and type that came out.
        found: String,
        /// Name and kind in the declaration.
        declared: String,
    },
    /// A transaction after rows were asked for.
    #[error("a transaction came after the first rows were asked for")]
    Closed,
    /// DataFusion failed.
    #[error("view {view}: {source}")]
    DataFusion {
        /// The view, or the table.
        view: &'static str,
        /// What it said.
        source: Box<DataFusionError>,
    },
    /// No thread could be started.
    #[error("no runtime for DataFusion: {0}")]
    Runtime(#[from] std::io::Error),
}

impl<'a> Oracle<'a> {
    /// An oracle without records.
    ///
    /// # Errors
    /// When the parameters and the SQL do not fit together.
    pub fn new(config: OracleConfig<'a>) -> Result<Self, OracleError> {
        let sql = parameters::filled_in(config.views, &config.parameters)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
        let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(false));
        context.register_udf(functions::to_base(config.rates));
        let categories = tables::merchant_categories(&config.merchant_categories)
            .map_err(|error| failed("merchant_categories", error.into()))?;
        let oracle = Self {
            runtime,
            context,
            views: config.views,
            sql,
            transactions: TransactionTable::default(),
            is_open: true,
            has_mandates: false,
            computed: BTreeSet::new(),
        };
        oracle.register("merchant_categories", categories.schema(), vec![categories])?;
        Ok(oracle)
    }

    /// Takes a transaction in: an accepted one, and each once.
    ///
    /// # Errors
    /// When rows were asked for before.
    pub fn push(&mut self, transaction: &Transaction<'_>, late: bool) -> Result<(), OracleError> {
        if !self.is_open {
            return Err(OracleError::Closed);
        }
        let pushed = self.transactions.push(transaction, late);
        pushed.map_err(|error| failed("transactions", error.into()))
    }

    /// Sets the mandates: the newest state of each, without the deleted ones. Views computed before
    /// are forgotten.
    ///
    /// # Errors
    /// When DataFusion fails.
    pub fn mandates(&mut self, newest: impl IntoIterator<Item = Mandate>) -> Result<(), OracleError> {
        let batch = tables::mandates(newest).map_err(|error| failed("mandates", error.into()))?;
        self.has_mandates = true;
        self.computed.clear();
        self.register("mandates", batch.schema(), vec![batch])
    }

    /// The rows of a view, sorted by its sort columns, text by bytes. Ends the input of transactions.
    ///
    /// # Errors
    /// When the SQL fails or gives other columns than the view declares.
    pub fn rows(&mut self, view: &str) -> Result<Vec<Row>, OracleError> {
        self.close()?;
        let at = self.views.iter().position(|candidate| candidate.name == view);
        let at = at.ok_or_else(|| OracleError::UnknownView { view: view.to_owned() })?;
        let batches = self.compute(at)?;
        let view = self.views.get(at).ok_or_else(|| OracleError::UnknownView { view: view.to_owned() })?;
        let mut rows = rows::from_batches(view, &batches)?;
        rows::sort(view, &mut rows);
        Ok(rows)
    }

    /// Computes a view and, before it, those it reads.
    fn compute(&mut self, at: usize) -> Result<Vec<RecordBatch>, OracleError> {
        let (Some(view), Some(sql)) = (self.views.get(at), self.sql.get(at).cloned()) else {
            return Ok(Vec::new());
        };
        for earlier in self.read_by(view, &sql, at)? {
            if let Some(name) = self.views.get(earlier).map(|view| view.name)
                && !self.computed.contains(name)
            {
                self.compute(earlier)?;
            }
        }
        let context = self.context.clone();
        let collected = self.runtime.block_on(async move {
            let frame = context.sql(&sql).await?;
            let schema = Arc::clone(frame.schema().inner());
            Ok((schema, frame.collect().await?))
        });
        let (schema, batches) = collected.map_err(|error| failed(view.name, error))?;
        rows::check_columns(view, &schema)?;
        self.register(view.name, schema, batches.clone())?;
        self.computed.insert(view.name);
        Ok(batches)
    }

    /// Positions of the views before the one at `at` that its SQL reads.
    fn read_by(&self, view: &View, sql: &str, at: usize) -> Result<Vec<usize>, OracleError> {
        let state = self.context.state();
        let dialect = state.config().options().sql_parser.dialect;
        let read = state
            .sql_to_statement(sql, &dialect)
            .and_then(|statement| state.resolve_table_references(&statement))
            .map_err(|error| failed(view.name, error))?;
        let is_read = |name: &str| read.iter().any(|table| table.table() == name);
        let earlier = self.views.iter().take(at).enumerate();
        Ok(earlier.filter(|(_, view)| is_read(view.name)).map(|(at, _)| at).collect())
    }

    /// Registers what was collected.
    fn close(&mut self) -> Result<(), OracleError> {
        if std::mem::replace(&mut self.is_open, false) {
            let (schema, batches) = std::mem::take(&mut self.transactions)
                .finish()
                .map_err(|error| failed("transactions", error.into()))?;
            self.register("transactions", schema, batches)?;
            if !self.has_mandates {
                self.mandates([])?;
            }
        }
        Ok(())
    }

    fn register(
        &self,
        name: &'static str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<(), OracleError> {
        let table = MemTable::try_new(schema, vec![batches]).map_err(|error| failed(name, error))?;
        let _ = self.context.deregister_table(name).map_err(|error| failed(name, error))?;
        let _ = self.context.register_table(name, Arc::new(table)).map_err(|error| failed(name, error))?;
        Ok(())
    }
}

impl std::fmt::Debug for Oracle<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oracle").field("computed", &self.computed).finish_non_exhaustive()
    }
}

fn failed(view: &'static str, source: DataFusionError) -> OracleError {
    OracleError::DataFusion { view, source: Box::new(source) }
}
