//! What a run's orders are worth: recall, precision, metres, and how far chance may have had a hand in it.

mod error;
mod mean_precision;
mod precision;
mod recall;
mod sampling;

pub use error::{Localisation, localisation};
pub use mean_precision::{MAP_AT, MeanPrecision, mean_precision};
pub use precision::{Precision, PrecisionPoint, precision};
pub use recall::{RECALL_AT, Recall, recall, recall_at};
pub use sampling::{Interval, PairedTest, bootstrap, paired_test};
