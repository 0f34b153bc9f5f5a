//! How a dataset is evaluated.

use crate::ranking::Reranked;
use crate::{EvalError, FeatureStorage, QueryPreprocessing, Result, Rules, Unknown, Window};
use r2former_engine::RerankMethod;
use r2former_model::ModelConfig;

/// Options of [`crate::evaluate`] and [`crate::rank`].
///
/// # Examples
///
/// ```
/// use r2former_eval::{EvalOptions, Rules};
///
/// let options = EvalOptions::new(Rules { radius_m: 10.0, ..Rules::default() });
/// assert_eq!(options.candidates, 100);
/// assert!(options.rerank.is_empty(), "global retrieval alone");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EvalOptions {
    /// Ground truth, and which queries count.
    pub rules: Rules,
    /// Reranking methods; each is evaluated beside the global ranking. Empty for global retrieval alone.
    pub rerank: Vec<RerankMethod>,
    /// Candidates of the global ranking that are reranked.
    pub candidates: usize,
    /// Of the candidates those that the model's reranker scores, chosen by RANSAC.
    /// `None`: as many as the model's file says, or all.
    pub cascade: Option<usize>,
    /// Adaptive reranking: skip queries whose [top-1 margin](crate::EvaluatedQuery::top1_margin) is at least this.
    /// `None`: rerank every query.
    pub adaptive: Option<f32>,
    /// Where extracted features are stored during the run.
    pub storage: FeatureStorage,
    /// How queries are resized or cropped.
    pub query_preprocessing: QueryPreprocessing,
    /// Make a part of the queries unknown, to measure how well confidence separates them; `None`: confidence is not
    /// measured.
    pub unknown: Option<Unknown>,
    /// Measure recall@1 with windows of several queries in a row, fused as frames of a sequence; `None`: not measured.
    pub window: Option<Window>,
}

impl EvalOptions {
    /// Global retrieval alone under these rules, 100 candidates, features in memory.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            rerank: Vec::new(),
            candidates: 100,
            cascade: None,
            adaptive: None,
            storage: FeatureStorage::default(),
            query_preprocessing: QueryPreprocessing::default(),
            unknown: None,
            window: None,
        }
    }

    /// Reranks by each of these methods.
    #[must_use]
    pub fn rerank(mut self, methods: Vec<RerankMethod>) -> Self {
        self.rerank = methods;
        self
    }

    /// Reranks this many candidates of the global ranking.
    #[must_use]
    pub fn candidates(mut self, candidates: usize) -> Self {
        self.candidates = candidates;
        self
    }

    /// Has geometry choose the candidates that the model's reranker scores, this many; `None`: as many as the model's file
    /// says, or all.
    #[must_use]
    pub fn cascade(mut self, candidates: Option<usize>) -> Self {
        self.cascade = candidates;
        self
    }

    /// Skips queries whose top-1 margin is at least this; `None` reranks every query.
    #[must_use]
    pub fn adaptive(mut self, top1_margin: Option<f32>) -> Self {
        self.adaptive = top1_margin;
        self
    }

    /// Stores extracted features there.
    #[must_use]
    pub fn storage(mut self, storage: FeatureStorage) -> Self {
        self.storage = storage;
        self
    }

    /// Resizes or crops queries this way.
    #[must_use]
    pub fn query_preprocessing(mut self, preprocessing: QueryPreprocessing) -> Self {
        self.query_preprocessing = preprocessing;
        self
    }

    /// Makes a part of the queries unknown; `None` leaves confidence unmeasured.
    #[must_use]
    pub fn unknown(mut self, unknown: Option<Unknown>) -> Self {
        self.unknown = unknown;
        self
    }

    /// Measures such windows; `None`: none.
    #[must_use]
    pub fn window(mut self, window: Option<Window>) -> Self {
        self.window = window;
        self
    }

    /// How deep the reranking goes.
    pub(crate) fn reranked(&self) -> Reranked {
        Reranked { candidates: self.candidates, cascade: self.cascade }
    }

    /// Refuses what would be ignored, or cannot be done by a model.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<()> {
        if self.cascade.is_some() && !self.rerank.contains(&RerankMethod::Model) {
            return Err(EvalError::Request(
                "cascade: chooses candidates for the model's reranker, which is not among the methods".into(),
            ));
        }
        RerankMethod::Model.cascade(config, self.cascade)?;
        if self.adaptive.is_some() && self.rerank.iter().all(|method| *method == RerankMethod::None) {
            return Err(EvalError::Request(
                "adaptive: says which queries are not reranked, and no reranking method is evaluated".into(),
            ));
        }
        Ok(())
    }
}

impl Default for EvalOptions {
    /// [`EvalOptions::new`] under the default rules.
    fn default() -> Self {
        Self::new(Rules::default())
    }
}
