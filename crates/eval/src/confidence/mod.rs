//! Confidence: whether answers are as probable to be correct as they say, and the calibration that makes them so.

mod calibrate;
mod fit;
mod inliers;
mod judge;
mod nothing;

pub use calibrate::{CalibrateOptions, Calibrated, LeftOutSet, calibrate};
pub use inliers::weigh_inliers;
pub(crate) use judge::{Asked, judge_all, position_of, similarities};
pub use judge::{ConfidenceSummary, JudgedAnswer, PositionQuality, RankingConfidence, Unknown};
