//! Place-recognition protocols and metrics.
//!
//! [`evaluate`] takes a dataset and a model and reports recall@N of the global order and of the
//! reranked one, with the protocol that the numbers belong to.

pub mod ablate;
mod breakdown;
pub mod cost;
mod error;
mod extracted;
mod features;
mod metrics;
mod outcome;
mod per_order;
pub mod pictures;
mod protocol;
mod queries_as;
mod ranking;
mod report;
mod run;
mod search;
mod store;
mod table;
mod view;

pub use breakdown::{Breakdown, Group};
pub use error::{EvalError, Result};
pub use features::Keeping;
pub use metrics::{
    Interval, Localisation, PairedTest, Precision, PrecisionPoint, RECALL_AT, Recall, bootstrap,
    localisation, paired_test, precision, recall,
};
pub use outcome::{Comparison, Outcome, Quality, QueryOutcome};
pub use per_order::{PerOrder, order_name};
pub use protocol::{EmptyQueries, Protocol};
pub use queries_as::QueriesAs;
pub use report::{Facts, PAGE, RESULTS, write_report};
pub use run::{Adaptive, EvalCost, EvalOptions, EvalReport, Evaluation, Grouping, Stage, evaluate};
pub use search::{nearest, nearest_reference};
pub use table::Table;
