//! How a collection of a cluster is kept: set once, at its creation. A folder has no such options.

use serde::Deserialize;
use std::str::FromStr;

/// How many shards and replicas a collection has, and how its descriptors are kept. What is not set is the cluster's
/// default. As a document every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectionOptions {
    /// Parts of the collection, spread over the nodes: one per node unless set.
    pub shards: Option<u32>,
    /// Copies of each shard: 1 unless set.
    pub replicas: Option<u32>,
    /// Copies that have applied a change before it is acknowledged: 1 unless set.
    pub write_consistency: Option<u32>,
    /// Smaller copies of the descriptors in memory, for the approximate search.
    pub quantization: Quantization,
    /// Keep the descriptors themselves, and the graph, on disk (as mapped files) and not in memory. The local features
    /// and what is known about images are there in any case.
    pub on_disk: bool,
}

impl CollectionOptions {
    /// What cannot be: no shard, or more acknowledgements than copies.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let zero = |value: Option<u32>, what: &str| match value {
            Some(0) => Err(format!("0 {what}; at least 1 is possible")),
            _ => Ok(()),
        };
        zero(self.shards, "shards")?;
        zero(self.replicas, "replicas")?;
        zero(self.write_consistency, "replicas that acknowledge a change")?;
        if let (Some(needed), Some(replicas)) = (self.write_consistency, self.replicas)
            && needed > replicas
        {
            return Err(format!("{needed} replicas that acknowledge a change, of {replicas}"));
        }
        Ok(())
    }
}

/// Smaller copies of the descriptors. Exact search does not use them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// None.
    #[default]
    None,
    /// 8 bits per dimension, in memory: a quarter of the descriptors. The best are scored again by the descriptors.
    Int8,
}

impl FromStr for Quantization {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("{text:?} is no quantization: none or int8")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_options_are_refused() {
        let of = |shards, replicas, write_consistency| CollectionOptions {
            shards,
            replicas,
            write_consistency,
            ..Default::default()
        };
        assert_eq!(of(None, None, None).check(), Ok(()));
        assert_eq!(of(Some(6), Some(2), Some(2)).check(), Ok(()));
        let zeros = [of(Some(0), None, None), of(None, Some(0), None), of(None, None, Some(0))];
        for wrong in zeros.into_iter().chain([of(None, Some(2), Some(3))]) {
            assert!(wrong.check().is_err());
        }
    }
}
