//! The results of a suite.

use super::config::SuiteConfig;
use crate::ablate::RANKS;
use crate::metrics::{Interval, PairedTest, mean_of_sets};
use crate::{Protocol, UnusableImage};
use r2former_engine::RerankMethod;
use r2former_model::{ImageSize, Precision};
use serde::Serialize;
use std::path::PathBuf;

/// The results of a suite.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suite {
    /// The configuration.
    pub config: SuiteConfig,
    /// The models.
    pub models: Vec<ModelResults>,
    /// Each dataset or pool of datasets.
    pub sets: Vec<SetResults>,
    /// Mean and worst of all sets, for each ranking of each model.
    pub overall: Vec<Overall>,
    /// What the models were compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineOrigin>,
    /// Datasets that were skipped because their files are absent.
    pub skipped: Vec<SkippedDataset>,
    /// What else limits a comparison with the baseline.
    pub notes: Vec<String>,
}

/// A model of a suite.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelResults {
    /// Its name in tables.
    pub name: String,
    /// SHA-256 of its file.
    pub fingerprint: String,
    /// Height and width of the network's input in pixels, or the rule by which they follow from the photograph's.
    pub image_size: ImageSize,
    /// Arithmetic of its products.
    pub precision: Precision,
}

/// Where the rankings of the baseline come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaselineOrigin {
    /// The file; `None` for a model of this suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The model.
    pub model: String,
}

/// A dataset that was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedDataset {
    /// Its name in the configuration, or else its path.
    pub name: String,
    /// Why, with the path.
    pub reason: String,
}

/// All models on one dataset, or on datasets whose queries are pooled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetResults {
    /// Its name in tables.
    pub name: String,
    /// The dataset, or those of the pool.
    pub parts: Vec<PartResults>,
    /// Names of the queries that count, in a pool after that of their dataset and a colon.
    pub queries: Vec<String>,
    /// Each ranking of each model.
    pub rankings: Vec<RankingResults>,
}

/// One dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartResults {
    /// Its name.
    pub name: String,
    /// The protocol that the numbers belong to; image size and precision are the first model's.
    pub protocol: Protocol,
    /// Images that are listed but absent, or that the dataset's reader could not use.
    pub left_out: usize,
    /// Images that could not be used.
    pub unusable: Vec<UnusableImage>,
}

/// One ranking of one model on a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankingResults {
    /// The model's name.
    pub model: String,
    /// The reranking method; none for the global ranking.
    pub rerank: RerankMethod,
    /// Recall@1, @5 and @10 with 95 % bootstrap intervals.
    pub recall: [(usize, Interval); 3],
    /// For each query the smallest N of 1, 5 and 10 at which it counts as correct; `None` if it does not.
    pub correct_at: Vec<Option<usize>>,
    /// Recall@1 minus that of the baseline's ranking by the same method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

/// A ranking compared with the baseline's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Queries that both have.
    pub queries: usize,
    /// The paired test over them, the baseline first.
    #[serde(flatten)]
    pub test: PairedTest,
    /// For each of them the hit (1 or 0) minus the baseline's.
    #[serde(skip)]
    pub(super) by_query: Vec<f64>,
}

/// One ranking of one model over all sets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overall {
    /// The model's name.
    pub model: String,
    /// The reranking method; none for the global ranking.
    pub rerank: RerankMethod,
    /// Mean over sets of recall@1, @5 and @10, every set counting the same, with 95 % bootstrap intervals.
    pub mean: [(usize, Interval); 3],
    /// The set with the lowest recall@1.
    pub worst: Worst,
    /// Mean over sets of the difference of recall@1 from the baseline; `None` without a baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_difference: Option<Interval>,
    /// The set with the largest loss, or else the smallest gain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_difference: Option<Worst>,
}

/// The lowest value of all sets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worst {
    /// The set's name.
    pub set: String,
    /// Its value.
    pub value: f64,
}

impl RankingResults {
    /// Which queries are correct at N.
    pub fn hits(&self, n: usize) -> Vec<bool> {
        self.correct_at.iter().map(|at| at.is_some_and(|at| at <= n)).collect()
    }
}

impl Suite {
    /// Whether all datasets and images were used.
    pub fn is_whole(&self) -> bool {
        let mut parts = self.sets.iter().flat_map(|set| &set.parts);
        self.skipped.is_empty() && parts.all(|part| part.unusable.is_empty() && part.left_out == 0)
    }
}

/// Mean and worst of each ranking of each model; every set has the same rankings.
pub(super) fn overall(sets: &[SetResults]) -> Vec<Overall> {
    let Some(first) = sets.first() else { return Vec::new() };
    let lowest = |values: Vec<(&SetResults, f64)>| {
        let lowest = values.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
        lowest.map(|(set, value)| Worst { set: set.name.clone(), value })
    };
    let of = |i: usize| {
        let rankings = || sets.iter().map(move |set| (set, &set.rankings[i]));
        let mean = RANKS.map(|n| {
            let hits = |ranking: &RankingResults| -> Vec<f64> {
                ranking.hits(n).into_iter().map(|hit| f64::from(u8::from(hit))).collect()
            };
            (n, mean_of_sets(&rankings().map(|(_, ranking)| hits(ranking)).collect::<Vec<_>>()))
        });
        let differences = || rankings().filter_map(|(set, r)| Some((set, r.difference.as_ref()?)));
        let by_query: Vec<&[f64]> = differences().map(|(_, found)| &*found.by_query).collect();
        let values = differences().map(|(set, found)| (set, found.test.difference.value));
        let ranking = &first.rankings[i];
        let worst = lowest(rankings().map(|(set, r)| (set, r.recall[0].1.value)).collect());
        Some(Overall {
            model: ranking.model.clone(),
            rerank: ranking.rerank,
            mean,
            worst: worst?,
            mean_difference: (!by_query.is_empty()).then(|| mean_of_sets(&by_query)),
            worst_difference: lowest(values.collect()),
        })
    };
    (0..first.rankings.len()).filter_map(of).collect()
}
