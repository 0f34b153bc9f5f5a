//! Sizes of learned aggregations of patch tokens.

use super::{AdapterConfig, GlobalConfig, PositionMode, ResizeMode, VitConfig};
use crate::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// The longest supported descriptor.
pub(super) const LONGEST: usize = 65_536;

/// Backbone, head, resizing and side of the images of a published model by name: `megaloc`, `salad`, `boq-dinov2`, `cricavpr`,
/// `selavpr`, `selavprplusplus` (base).
pub(super) fn preset(name: &str) -> Option<(VitConfig, GlobalConfig, ResizeMode, usize)> {
    let salad = |dim, linear| SaladConfig { clusters: 64, dim, token: 256, hidden: 512, linear };
    let boq = BoqConfig { width: 384, heads: 6, layers: 2, queries: 64, rows: 32 };
    let gem = |projected, dim| GlobalConfig::Gem(GemConfig { projected, dim });
    let crica = GlobalConfig::Crica(CricaConfig { layers: 2, hidden: 2048 });
    let (parallel, linear, side) = (
        AdapterConfig::Parallel { width: 384 },
        AdapterConfig::Linear { width: 512 },
        AdapterConfig::Side { width: 384, count: 12 },
    );
    let (global, resize, side, adapters) = match name {
        "megaloc" => (GlobalConfig::Salad(salad(256, Some(8448))), ResizeMode::TensorBilinear, 322, None),
        "salad" => (GlobalConfig::Salad(salad(128, None)), ResizeMode::Antialias, 322, None),
        "boq-dinov2" => (GlobalConfig::Boq(boq), ResizeMode::TensorBicubic, 322, None),
        "cricavpr" => (crica, ResizeMode::TensorBilinear, 224, Some(parallel)),
        "selavpr" => (gem(false, None), ResizeMode::TensorBilinear, 224, Some(linear)),
        "selavprplusplus" => (gem(true, Some(2048)), ResizeMode::TensorBilinear, 322, Some(side)),
        _ => return None,
    };
    let vit = VitConfig {
        position: PositionMode::Dinov2,
        final_norm: name != "boq-dinov2",
        adapters,
        ..VitConfig::preset(if name == "selavpr" { "dinov2-l" } else { "dinov2-b" })?
    };
    Some((vit, global, resize, side))
}

/// Sizes of SALAD (Izquierdo and Civera, CVPR 2024): optimal transport of patches to clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaladConfig {
    /// Clusters, beside the one for patches that are not used. An image needs more patches than clusters.
    pub clusters: usize,
    /// Dimensions of each cluster's feature.
    pub dim: usize,
    /// Dimensions of the feature of CLS.
    pub token: usize,
    /// Hidden width of the three projections.
    pub hidden: usize,
    /// Output of a linear layer on the aggregated descriptor (MegaLoc), if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<usize>,
}

impl SaladConfig {
    /// Dimensions before the linear layer: the feature of CLS, then those of the clusters.
    pub fn aggregated(&self) -> usize {
        self.clusters.saturating_mul(self.dim).saturating_add(self.token)
    }

    /// Dimensions of the descriptor.
    pub fn descriptor(&self) -> usize {
        self.linear.unwrap_or_else(|| self.aggregated())
    }

    /// Checks the number of patches of an image.
    ///
    /// # Errors
    /// [`ModelError::Input`] unless there are more patches than clusters: the transport then has no mass for the unused.
    pub fn check_patches(&self, patches: usize) -> Result<()> {
        if patches > self.clusters {
            return Ok(());
        }
        Err(ModelError::Input(format!(
            "an image of {patches} patches is too small: SALAD with {0} clusters needs more than {0} patches, so give a \
             larger image size",
            self.clusters
        )))
    }

    pub(super) fn validate(&self) -> Result<()> {
        let sizes = [self.clusters, self.dim, self.token, self.hidden, self.descriptor()];
        if sizes[..4].iter().any(|size| !(1..=8192).contains(size))
            || !(1..=LONGEST).contains(&self.aggregated())
            || !(1..=LONGEST).contains(&self.descriptor())
        {
            return Err(ModelError::Config(format!(
                "global: SALAD of {} clusters of {} dimensions, token {}, hidden {}, descriptor {} is out of range",
                sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
            )));
        }
        Ok(())
    }
}

/// Sizes of BoQ (Ali-bey et al., Bag of Learnable Queries, CVPR 2024).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoqConfig {
    /// Width of the tokens after the 3 x 3 convolution.
    pub width: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Blocks, each with its own queries.
    pub layers: usize,
    /// Queries of a block.
    pub queries: usize,
    /// Rows onto which all queries are projected.
    pub rows: usize,
}

impl BoqConfig {
    /// Dimensions of the descriptor.
    pub fn descriptor(&self) -> usize {
        self.width.saturating_mul(self.rows)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let sizes = [self.width, self.heads, self.layers, self.queries, self.rows];
        if sizes.iter().any(|size| !(1..=8192).contains(size))
            || self.layers > 64
            || !self.width.is_multiple_of(self.heads)
            || self.descriptor() > LONGEST
        {
            return Err(ModelError::Config(format!(
                "global: BoQ of width {}, {} heads, {} layers of {} queries and {} rows is out of range",
                sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
            )));
        }
        Ok(())
    }
}

/// GeM with a learned power over L2-normalised tokens, between two linear layers where there are some (SelaVPR, SelaVPR++).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GemConfig {
    /// Whether a linear layer of the backbone's width comes before it.
    #[serde(default)]
    pub projected: bool,
    /// Output of a linear layer after it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
}

impl GemConfig {
    pub(super) fn validate(&self) -> Result<()> {
        match self.dim {
            Some(dim) if !(1..=LONGEST).contains(&dim) => {
                Err(ModelError::Config(format!("global.dim {dim} is outside 1 to {LONGEST}")))
            }
            _ => Ok(()),
        }
    }
}

/// Sizes of CricaVPR (Lu et al., CVPR 2024): regions of three scales, then an encoder. The published encoder attends across
/// the images of a batch; here an image is its own batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CricaConfig {
    /// Layers of the encoder.
    pub layers: usize,
    /// Hidden width of the encoder's MLPs.
    pub hidden: usize,
}

impl CricaConfig {
    /// Patches along a side, which the regions suppose.
    pub const GRID: usize = 16;
    /// CLS, 2 x 2 and 3 x 3 regions.
    pub const REGIONS: usize = 14;

    pub(super) fn validate(&self) -> Result<()> {
        if !(1..=64).contains(&self.layers) || !(1..=16_384).contains(&self.hidden) {
            return Err(ModelError::Config(format!(
                "global sizes of CricaVPR exceed every known model: {self:?}"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::ModelConfig;

    #[test]
    fn published_sizes() {
        for (name, descriptor) in [
            ("megaloc", 8448),
            ("salad", 8448),
            ("boq-dinov2", 12_288),
            ("cricavpr", 10_752),
            ("selavpr", 1024),
            ("selavprplusplus", 2048),
        ] {
            let config = ModelConfig::preset(name).unwrap();
            config.validate().unwrap();
            assert_eq!(config.global_dim(), descriptor, "{name}");
            let json = serde_json::to_value(&config).unwrap();
            assert_eq!(serde_json::from_value::<ModelConfig>(json).unwrap(), config);
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for (name, fields) in [
            ("megaloc", &["clusters", "dim", "token", "hidden", "linear"][..]),
            ("boq-dinov2", &["width", "heads", "layers", "queries", "rows"]),
        ] {
            let config = serde_json::to_value(ModelConfig::preset(name).unwrap()).unwrap();
            for field in fields {
                for size in [0, 1_000_000_000, u64::MAX] {
                    let mut config = config.clone();
                    config["global"][field] = size.into();
                    let config: ModelConfig = serde_json::from_value(config).unwrap();
                    assert!(config.validate().is_err(), "{name} {field} {size}");
                }
            }
        }
    }
}
