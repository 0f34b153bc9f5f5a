//! Reranking methods.

use crate::geometry::geometric_scores;
use crate::{EngineError, Extractor, LocalRows, Result, rerank};
use r2former_model::ModelConfig;
use serde::{Deserialize, Serialize};

/// A reranking method: what the candidates of the global search are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerankMethod {
    /// The model's reranker: probability of the same place.
    Model,
    /// RANSAC: how many mutual nearest local features fit one homography, or how well one similarity, as the model's file says
    /// ([`Geometry`](r2former_model::Geometry)).
    Ransac,
    /// Mutual matches: the number of local features that are each other's nearest, wherever they lie.
    Mutual,
    /// No reranking: the global ranking by cosine similarity.
    None,
}

impl RerankMethod {
    /// The default for a model: its reranker if that is trained.
    pub fn default_of(config: &ModelConfig) -> Self {
        if config.trained.reranker { Self::Model } else { Self::None }
    }

    /// Refuses a method that needs what the model has not.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a model without a reranker, or without local features.
    pub fn check(self, config: &ModelConfig) -> Result<()> {
        let name = &config.name;
        match self {
            Self::Model if config.reranker.is_none() => {
                Err(EngineError::Request(format!("rerank=model: the model {name} has no reranker")))
            }
            Self::Ransac | Self::Mutual if config.local.is_none() => {
                Err(EngineError::Request(format!("rerank: the model {name} has no local features")))
            }
            _ => Ok(()),
        }
    }

    /// How many of the candidates are scored, those that RANSAC ranks first:
    /// as many as a query asks for, else as the model's file says. `None`: all, and with every method but the model's
    /// reranker.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a query that asks for none, or for such a choice with another method.
    pub fn cascade(self, config: &ModelConfig, asked: Option<usize>) -> Result<Option<usize>> {
        match asked {
            Some(0) => Err(EngineError::Request("cascade=0: at least 1 candidate is reranked".into())),
            Some(_) if self != Self::Model => Err(EngineError::Request(format!(
                "cascade: chooses candidates for the model's reranker; this query is reranked by {}",
                self.name()
            ))),
            _ if self != Self::Model => Ok(None),
            asked => Ok(asked.or_else(|| config.reranker.as_ref()?.cascade)),
        }
    }

    /// Its name, as it is written and read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Ransac => "ransac",
            Self::Mutual => "mutual",
            Self::None => "none",
        }
    }

    /// Scores of candidates, whose local features are in 8 bits as an index stores them (`&[u8]`) or in full precision
    /// (`&[f32]`): the higher, the more likely the same place. Empty for [`RerankMethod::None`].
    ///
    /// # Errors
    /// As [`rerank()`] and [`Verifier::new`](crate::Verifier::new).
    pub fn scores<'a, R>(self, extractor: &Extractor, query: &[f32], candidates: &[R]) -> Result<Vec<f32>>
    where
        R: Copy + Into<LocalRows<'a>> + Sync,
    {
        match self {
            Self::Model => Ok(rerank(extractor, query, candidates)?.iter().map(|pair| pair.score).collect()),
            Self::Ransac => geometric_scores(extractor, query, candidates, |verifier, reference| {
                verifier.score(reference)
            }),
            Self::Mutual => geometric_scores(extractor, query, candidates, |verifier, reference| {
                verifier.mutual(reference) as f32
            }),
            Self::None => Ok(Vec::new()),
        }
    }
}

impl std::str::FromStr for RerankMethod {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "model" => Ok(Self::Model),
            "ransac" => Ok(Self::Ransac),
            "mutual" => Ok(Self::Mutual),
            "none" => Ok(Self::None),
            other => Err(format!("'{other}' is not a reranking method: model, ransac, mutual or none")),
        }
    }
}
