//! Metrics of rankings: recall@N, mAP@k, precision-recall curves, localisation error, and the sampling error of all of
//! these.

mod localisation;
mod mean_average_precision;
mod precision_recall;
mod recall;
mod selective;
mod significance;

pub(crate) use localisation::quantile;
pub use localisation::{Localisation, localisation};
pub use mean_average_precision::{MAP_AT, MeanAveragePrecision, mean_average_precision};
pub use precision_recall::{PrecisionRecall, PrecisionRecallPoint, precision_recall};
pub use recall::{RECALL_AT, Recall, recall, recall_at};
pub use selective::{CalibrationBin, RiskCoveragePoint, Selective, selective};
pub(crate) use significance::mean_of_sets;
pub use significance::{Interval, PairedTest, bootstrap, paired_test};
