//! What a run's orders are worth: recall, precision, metres, and how far chance may have had a hand in it.

mod error;
mod precision;
mod recall;
mod sampling;

pub use error::{Localisation, localisation};
pub use precision::{Precision, PrecisionPoint, precision};
pub use recall::{RECALL_AT, Recall, recall};
pub use sampling::{Interval, PairedTest, bootstrap, paired_test};
