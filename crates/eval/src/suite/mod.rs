//! Suites: models on several datasets at once, as one table with the mean and the worst of all, against a baseline.

mod baseline;
mod config;
mod evaluate;
mod report;
mod results;

pub use baseline::Baseline;
pub use config::{BaselineEntry, SuiteConfig, SuiteModelEntry};
pub use evaluate::{SuiteOptions, suite};
pub use results::{
    BaselineOrigin, Difference, ModelResults, Overall, PartResults, RankingResults, SetResults,
    SkippedDataset, Suite, Worst,
};
