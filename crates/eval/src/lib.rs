//! Place-recognition protocols and metrics.
//!
//! [`evaluate`] takes a dataset and a model and reports recall@N of the global order and of the
//! reranked one, with the protocol that the numbers belong to.

mod features;
mod metrics;
mod protocol;
mod ranking;
mod run;
mod search;

pub use metrics::{RECALL_AT, Recall, recall};
pub use protocol::{EmptyQueries, Protocol};
pub use run::{EvalOptions, EvalReport, Grouping, Stage, evaluate};
pub use search::{nearest, nearest_reference};
