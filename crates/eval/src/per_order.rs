//! The orders that an evaluation compares.

use r2former_engine::RerankMethod;
use serde::Serialize;

/// Something of each order: by global descriptors, and by each way of reranking that was asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PerOrder<T> {
    /// By global descriptors alone.
    pub global: T,
    /// After reranking by RANSAC; absent when that was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ransac: Option<T>,
    /// After reranking by the model; absent when that was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranked: Option<T>,
}

impl<T> PerOrder<T> {
    /// What there is, with the way of reranking, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (RerankMethod, &T)> {
        let all = [
            (RerankMethod::None, Some(&self.global)),
            (RerankMethod::Ransac, self.ransac.as_ref()),
            (RerankMethod::Model, self.reranked.as_ref()),
        ];
        all.into_iter().filter_map(|(method, value)| value.map(|value| (method, value)))
    }

    /// Something else of each.
    pub fn map<U>(&self, mut f: impl FnMut(RerankMethod, &T) -> U) -> PerOrder<U> {
        PerOrder {
            global: f(RerankMethod::None, &self.global),
            ransac: self.ransac.as_ref().map(|value| f(RerankMethod::Ransac, value)),
            reranked: self.reranked.as_ref().map(|value| f(RerankMethod::Model, value)),
        }
    }

    /// The one of a way of reranking.
    pub fn get(&self, method: RerankMethod) -> Option<&T> {
        self.iter().find_map(|(m, value)| (m == method).then_some(value))
    }

    /// The last word: the reranker's, else RANSAC's, else the global order's.
    pub fn last(&self) -> &T {
        self.reranked.as_ref().or(self.ransac.as_ref()).unwrap_or(&self.global)
    }

    /// Sets the one of a way of reranking.
    pub(crate) fn set(&mut self, method: RerankMethod, value: T) {
        match method {
            RerankMethod::None => self.global = value,
            RerankMethod::Ransac => self.ransac = Some(value),
            RerankMethod::Model => self.reranked = Some(value),
        }
    }
}

/// What people call an order.
pub fn order_name(method: RerankMethod) -> &'static str {
    match method {
        RerankMethod::None => "global",
        RerankMethod::Ransac => "RANSAC",
        RerankMethod::Model => "reranked",
    }
}
