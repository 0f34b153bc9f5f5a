//! The global descriptor that is made of local features.

use crate::LocalConfig;
use serde::{Deserialize, Serialize};

/// Longest descriptor.
const LONGEST: usize = 65_536;

/// VLAD (Jégou et al., CVPR 2010) of the local features of all patches, with a soft assignment and whitening: clusters and
/// whitening are fitted to photographs without labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalVladConfig {
    /// Cluster centres.
    pub clusters: usize,
    /// Dimensions after whitening.
    pub dim: usize,
    /// Factor of a feature's cosines to the centres before the softmax that assigns it: large assigns it to the nearest one.
    pub softness: f64,
}

impl LocalVladConfig {
    /// Dimensions of the residuals before whitening.
    pub fn residuals(&self, local: usize) -> usize {
        self.clusters * local
    }

    pub(crate) fn flop(&self, local: &LocalConfig, width: f64, patches: f64) -> f64 {
        let (residuals, dim) = (self.residuals(local.dim) as f64, local.dim as f64);
        2.0 * patches * width * dim + 4.0 * patches * residuals + 2.0 * residuals * self.dim as f64
    }

    pub(super) fn problem(&self, local: Option<&LocalConfig>) -> Option<String> {
        let Some(local) = local else {
            return Some("global: VLAD of local features needs local features".into());
        };
        let known = (1..=1024).contains(&self.clusters)
            && self.residuals(local.dim) <= 4 * LONGEST
            && (1..=LONGEST.min(self.residuals(local.dim))).contains(&self.dim);
        let soft = self.softness.is_finite() && self.softness > 0.0;
        (!known || !soft).then(|| {
            format!(
                "global: VLAD of local features takes 1 to 1024 clusters, at most as many dimensions as clusters x {} and a positive \
                 softness: {self:?}",
                local.dim
            )
        })
    }
}
