//! Sizes of learned aggregations of feature maps.

use super::aggregate::LONGEST;
use super::{BackboneConfig, GlobalConfig, Pooling, ResNetConfig};
use serde::{Deserialize, Serialize};

/// Backbone, head and image size of a published model by name: `cosplace-r50`, `cosplace-vgg16`, `mixvpr`.
pub(super) fn preset(name: &str) -> Option<(BackboneConfig, GlobalConfig, [usize; 2])> {
    let resnet = |stages| BackboneConfig::ResNet(ResNetConfig::new(50, stages));
    let cosplace = |dim| GlobalConfig::Linear { dim, pooling: Pooling::Gem };
    Some(match name {
        "cosplace-r50" => (resnet(4), cosplace(2048), [480, 640]),
        "cosplace-vgg16" => (BackboneConfig::Vgg16, cosplace(512), [480, 640]),
        "mixvpr" => {
            let mix = MixVprConfig { grid: [20, 20], depth: 4, hidden: 400, channels: 1024, rows: 4 };
            (resnet(3), GlobalConfig::MixVpr(mix), [320, 320])
        }
        _ => return None,
    })
}

/// MixVPR (Ali-bey et al., WACV 2023): layers that mix the positions of a feature map, then two projections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixVprConfig {
    /// Rows and columns of the feature map: the layers have one weight per position, so images have one size.
    pub grid: [usize; 2],
    /// Mixing layers.
    pub depth: usize,
    /// Hidden width of a mixing layer's MLP.
    pub hidden: usize,
    /// Channels after the first projection.
    pub channels: usize,
    /// Rows after the second projection: a descriptor has `channels * rows` dimensions.
    pub rows: usize,
}

impl MixVprConfig {
    /// Positions of the feature map.
    pub fn positions(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Dimensions of the descriptor.
    pub fn dim(&self) -> usize {
        self.channels * self.rows
    }

    pub(crate) fn flop(&self, width: f64) -> f64 {
        let positions = self.positions() as f64;
        let mix = 4.0 * self.depth as f64 * width * positions * self.hidden as f64;
        mix + 2.0 * positions * width * self.channels as f64 + 2.0 * positions * self.dim() as f64
    }

    pub(super) fn problem(&self) -> Option<String> {
        let [rows, columns] = self.grid;
        let sizes = [rows, columns, self.hidden, self.channels, self.rows];
        (sizes.contains(&0)
            || rows.max(columns) > 256
            || self.depth > 64
            || self.hidden > 16_384
            || self.channels > 16_384
            || self.rows > 1024
            || self.dim() > LONGEST)
            .then(|| format!("global sizes of MixVPR are 0 or exceed every known model: {self:?}"))
    }
}

/// NetVLAD (Arandjelović et al., CVPR 2016) with whitening: residuals to cluster centres, weighted by a soft assignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetVladConfig {
    /// Cluster centres.
    pub clusters: usize,
    /// Dimensions after whitening; `None` leaves the `clusters * width` dimensions of the residuals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whitened: Option<usize>,
}

impl NetVladConfig {
    /// Dimensions of the descriptor over features of this width.
    pub fn dim(&self, width: usize) -> usize {
        self.whitened.unwrap_or(self.clusters * width)
    }

    pub(crate) fn flop(&self, width: f64, cells: f64) -> f64 {
        let residuals = self.clusters as f64 * width;
        4.0 * cells * residuals + self.whitened.map_or(0.0, |dim| 2.0 * residuals * dim as f64)
    }

    pub(super) fn problem(&self, width: usize) -> Option<String> {
        let known = (1..=1024).contains(&self.clusters) && (1..=LONGEST).contains(&self.dim(width));
        (!known).then(|| format!("global sizes of NetVLAD are 0 or exceed every known model: {self:?}"))
    }
}

/// VLAD (Jégou et al., CVPR 2010) as AnyLoc has it: residuals to the centre that is nearest by angle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VladConfig {
    /// Cluster centres.
    pub clusters: usize,
}

impl VladConfig {
    /// Dimensions of the descriptor over features of this width.
    pub fn dim(&self, width: usize) -> usize {
        self.clusters.saturating_mul(width)
    }

    pub(crate) fn flop(&self, width: f64, cells: f64) -> f64 {
        4.0 * cells * self.clusters as f64 * width
    }

    pub(super) fn problem(&self, width: usize) -> Option<String> {
        let known = (1..=1024).contains(&self.clusters) && (1..=LONGEST).contains(&self.dim(width));
        (!known).then(|| format!("global sizes of VLAD are 0 or exceed every known model: {self:?}"))
    }
}
