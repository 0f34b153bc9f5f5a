//! Place-recognition protocols and metrics.
//!
//! [`evaluate`] takes a dataset and a model and reports recall@N of the global order and of the
//! reranked one, with the protocol that the numbers belong to.

pub mod ablate;
mod breakdown;
mod compare;
pub mod cost;
mod error;
mod extracted;
mod features;
mod metrics;
mod outcome;
mod per_order;
pub mod pictures;
mod predictions;
mod protocol;
mod queries_as;
mod ranking;
mod report;
mod rules;
mod run;
mod search;
mod store;
mod table;
mod units;
mod view;

pub use breakdown::{Breakdown, Group};
pub use compare::{CompareError, Difference, Differences, compare};
pub use error::{EvalError, Result};
pub use features::Keeping;
pub use metrics::{
    Interval, Localisation, MAP_AT, MeanPrecision, PairedTest, Precision, PrecisionPoint, RECALL_AT, Recall,
    bootstrap, localisation, mean_precision, paired_test, precision, recall, recall_at,
};
pub use outcome::{Comparison, Outcome, Quality, QueryOutcome};
pub use per_order::{PerOrder, order_name};
pub use predictions::{
    Predicted, PredictionFormat, Predictions, PredictionsError, PredictionsFile, ScoredQuery, ScoredRun,
    Scores, ScoresReport, read_predictions, score,
};
pub use protocol::{EmptyQueries, Input, Protocol};
pub use queries_as::QueriesAs;
pub use ranking::Ranking;
pub use report::{Facts, PAGE, RESULTS, RunFacts, write_report, write_scores};
pub use rules::Rules;
pub use run::{
    Adaptive, EvalCost, EvalOptions, EvalReport, Evaluation, Grouping, Ranked, Stage, evaluate, rank,
};
pub use search::{nearest, nearest_reference};
pub use table::Table;
