//! Place-recognition evaluation: protocols, metrics, comparisons, reports.
//!
//! - [`evaluate`] runs a model over a dataset and scores it: recall@N of the global ranking and of each reranking
//!   method, with the protocol that the numbers belong to.
//! - [`read_predictions`] and [`score`] do the same for rankings of any other program, read from a file.
//! - [`compare`] tests whether two runs over the same queries differ by more than chance.
//! - [`recall`], [`mean_average_precision`], [`bootstrap`] and [`paired_test`] are the metrics on their own.
//!
//! # Examples
//!
//! Two rankings of the same four queries, scored and compared:
//!
//! ```
//! use r2former_eval::{bootstrap, paired_test, recall};
//!
//! let positives: [&[u32]; 4] = [&[0], &[1, 2], &[3], &[4]];
//! let global: [&[u32]; 4] = [&[0, 9], &[9, 1], &[9, 8], &[4, 9]];
//! let reranked: [&[u32]; 4] = [&[0, 9], &[1, 9], &[3, 8], &[9, 4]];
//! assert_eq!(recall(global.into_iter().zip(positives)).at(1), 0.5);
//! assert_eq!(recall(reranked.into_iter().zip(positives)).at(1), 0.75);
//!
//! let hits = |rankings: [&[u32]; 4]| -> Vec<bool> {
//!     rankings.iter().zip(positives).map(|(ranking, own)| own.contains(&ranking[0])).collect()
//! };
//! let test = paired_test(&hits(global), &hits(reranked));
//! assert_eq!((test.only_first, test.only_second), (1, 2));
//! assert_eq!(test.p, 1.0, "three discordant queries prove nothing");
//! assert!(bootstrap(&hits(reranked)).low < 0.5);
//! ```

pub mod ablate;
mod breakdown;
mod compare;
mod confidence;
pub mod cost;
mod error;
mod extracted;
mod feature_file;
mod features;
mod layout;
mod metrics;
mod options;
mod output;
mod per_ranking;
pub mod pictures;
mod predictions;
mod protocol;
mod query_preprocessing;
mod query_result;
mod ranking;
mod report;
mod rules;
mod run;
mod search;
mod sentences;
pub mod suite;
mod table;
mod units;
mod view;
mod windows;

pub use ablate::read_datasets;
pub use breakdown::{Breakdown, Group};
pub use compare::{CompareError, Comparison, RecallDifference, compare};
pub use confidence::{
    CalibrateOptions, Calibrated, ConfidenceSummary, JudgedAnswer, LeftOutSet, PositionQuality,
    RankingConfidence, Unknown, calibrate, weigh_inliers,
};
pub use error::{EvalError, Result};
pub use features::{FeatureStorage, UnusableImage};
pub use metrics::{
    CalibrationBin, Interval, Localisation, MAP_AT, MeanAveragePrecision, PairedTest, PrecisionRecall,
    PrecisionRecallPoint, RECALL_AT, Recall, RiskCoveragePoint, Selective, bootstrap, localisation,
    mean_average_precision, paired_test, precision_recall, recall, recall_at, selective,
};
pub use options::EvalOptions;
pub use output::write_output;
pub use per_ranking::{PerRanking, ranking_name};
pub use predictions::{
    PredictionFormat, Predictions, PredictionsError, PredictionsFile, QueryPredictions, ScoreSummary,
    ScoredQuery, ScoredRun, Scores, read_predictions, score,
};
pub use protocol::{EmptyQueries, Grouping, Input, Protocol};
pub use query_preprocessing::QueryPreprocessing;
pub use query_result::{EvaluatedQuery, QueryResult, RankingQuality};
pub use ranking::Ranking;
pub use report::{Environment, PAGE, RESULTS, RunInfo, write_report, write_scores};
pub use rules::Rules;
pub use run::{
    AdaptiveReranking, DatasetRankings, EvalCost, EvalSummary, Evaluation, RecallByRanking, evaluate, rank,
};
pub use search::{nearest, nearest_reference};
pub use table::Table;
pub use windows::{Window, WindowRecall, WindowSummary};
