//! The rankings that an evaluation compares.

use r2former_engine::RerankMethod;
use serde::Serialize;

/// A value for each ranking: the global one, and one for each reranking method that was run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PerRanking<T> {
    /// Of the global ranking, by global descriptors alone.
    pub global: T,
    /// After reranking by RANSAC; absent if it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ransac: Option<T>,
    /// After reranking by mutual matches; absent if it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutual: Option<T>,
    /// After reranking by the model; absent if it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranked: Option<T>,
}

impl<T> PerRanking<T> {
    /// All values with their reranking methods, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (RerankMethod, &T)> {
        let all = [
            (RerankMethod::None, Some(&self.global)),
            (RerankMethod::Ransac, self.ransac.as_ref()),
            (RerankMethod::Mutual, self.mutual.as_ref()),
            (RerankMethod::Model, self.reranked.as_ref()),
        ];
        all.into_iter().filter_map(|(method, value)| value.map(|value| (method, value)))
    }

    /// Applies `f` to each value.
    pub fn map<U>(&self, mut f: impl FnMut(RerankMethod, &T) -> U) -> PerRanking<U> {
        PerRanking {
            global: f(RerankMethod::None, &self.global),
            ransac: self.ransac.as_ref().map(|value| f(RerankMethod::Ransac, value)),
            mutual: self.mutual.as_ref().map(|value| f(RerankMethod::Mutual, value)),
            reranked: self.reranked.as_ref().map(|value| f(RerankMethod::Model, value)),
        }
    }

    /// The value of one reranking method.
    pub fn get(&self, method: RerankMethod) -> Option<&T> {
        self.iter().find_map(|(m, value)| (m == method).then_some(value))
    }

    /// The value of the final ranking: the reranker's, else RANSAC's, else that of mutual matches, else the global one.
    pub fn last(&self) -> &T {
        self.reranked.as_ref().or(self.ransac.as_ref()).or(self.mutual.as_ref()).unwrap_or(&self.global)
    }

    /// Sets the value of one reranking method.
    pub(crate) fn set(&mut self, method: RerankMethod, value: T) {
        match method {
            RerankMethod::None => self.global = value,
            RerankMethod::Ransac => self.ransac = Some(value),
            RerankMethod::Mutual => self.mutual = Some(value),
            RerankMethod::Model => self.reranked = Some(value),
        }
    }
}

impl<T> PerRanking<Vec<T>> {
    /// Appends one value to each ranking's, where there is one.
    pub(crate) fn extend_each(&mut self, values: PerRanking<Option<T>>) {
        self.global.extend(values.global);
        for (own, value) in [
            (&mut self.ransac, values.ransac),
            (&mut self.mutual, values.mutual),
            (&mut self.reranked, values.reranked),
        ] {
            if let (Some(own), Some(value)) = (own, value) {
                own.extend(value);
            }
        }
    }
}

/// Display name of a ranking.
pub fn ranking_name(method: RerankMethod) -> &'static str {
    match method {
        RerankMethod::None => "global",
        RerankMethod::Ransac => "RANSAC",
        RerankMethod::Mutual => "mutual matches",
        RerankMethod::Model => "reranked",
    }
}
