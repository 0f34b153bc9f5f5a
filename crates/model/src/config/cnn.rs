//! Convolutional backbones: their sizes and what they cost.

use super::{BackboneConfig, GlobalConfig, LocalConfig, ModelConfig, Pooling, Selection};
use serde::{Deserialize, Serialize};

/// A ResNet of torchvision: 18, 34, 50, 101 or 152 layers, whole or without its last stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Number of layers in its name. Below 50 it has basic blocks of two convolutions, else bottlenecks of three.
    #[serde(default = "fifty")]
    pub depth: usize,
    /// Stages that are computed, 3 or 4: the network is cut after `layer3` (stride 16) or `layer4` (stride 32).
    #[serde(default = "four")]
    pub stages: usize,
    /// Epsilon of the batch norms.
    pub norm_eps: f64,
}

fn fifty() -> usize {
    50
}

fn four() -> usize {
    4
}

impl ResNetConfig {
    /// A ResNet of this depth, cut after this many stages, with torchvision's epsilon.
    pub fn new(depth: usize, stages: usize) -> Self {
        Self { depth, stages, norm_eps: 1e-5 }
    }

    /// Blocks of each stage that is computed; `None` for a depth or a number of stages that no ResNet has.
    pub fn blocks(&self) -> Option<&'static [usize]> {
        let all: &'static [usize] = match self.depth {
            18 => &[2, 2, 2, 2],
            34 | 50 => &[3, 4, 6, 3],
            101 => &[3, 4, 23, 3],
            152 => &[3, 8, 36, 3],
            _ => return None,
        };
        (3..=4).contains(&self.stages).then(|| &all[..self.stages])
    }

    /// The depth of a ResNet from the kind of its blocks and their number in the third stage.
    pub(crate) fn depth_of(bottleneck: bool, third: usize) -> Option<usize> {
        match (bottleneck, third) {
            (false, 2) => Some(18),
            (false, 6) => Some(34),
            (true, 6) => Some(50),
            (true, 23) => Some(101),
            (true, 36) => Some(152),
            _ => None,
        }
    }

    /// Whether blocks are bottlenecks.
    pub fn bottleneck(&self) -> bool {
        self.depth >= 50
    }

    /// Channels after a stage, from 1.
    pub fn width(&self, stage: usize) -> usize {
        let inner = 32 << stage.clamp(1, 4);
        if self.bottleneck() { 4 * inner } else { inner }
    }

    /// Kernel sides of a block's convolutions.
    pub fn kernels(&self) -> &'static [usize] {
        if self.bottleneck() { &[1, 3, 1] } else { &[3, 3] }
    }

    fn flop(&self, [height, width]: [usize; 2]) -> f64 {
        let halved = |[h, w]: [usize; 2]| [h.div_ceil(2), w.div_ceil(2)];
        let product = |[h, w]: [usize; 2], d_in: usize, d_out: usize, side: usize| {
            2.0 * (h * w) as f64 * (d_in * d_out * side * side) as f64
        };
        let mut size = halved([height, width]);
        let mut sum = product(size, 3, 64, 7);
        size = halved(size);
        let mut d_in = 64;
        for (stage, count) in self.blocks().unwrap_or_default().iter().enumerate() {
            let (inner, d_out) = (64 << stage, self.width(stage + 1));
            for block in 0..*count {
                let before = size;
                if block == 0 && stage > 0 {
                    size = halved(size);
                }
                if block == 0 && (d_in != d_out || stage > 0) {
                    sum += product(size, d_in, d_out, 1);
                }
                sum += if self.bottleneck() {
                    product(before, d_in, inner, 1)
                        + product(size, inner, inner, 3)
                        + product(size, inner, d_out, 1)
                } else {
                    product(size, d_in, inner, 3) + product(size, inner, inner, 3)
                };
                d_in = d_out;
            }
        }
        sum
    }
}

/// VGG16's convolutions up to `conv5_3`: its index in torchvision's `features`, channels in and out. A pooling
/// comes before those whose index is two above the last ReLU's.
pub const VGG16: [(usize, usize, usize); 13] = [
    (0, 3, 64),
    (2, 64, 64),
    (5, 64, 128),
    (7, 128, 128),
    (10, 128, 256),
    (12, 256, 256),
    (14, 256, 256),
    (17, 256, 512),
    (19, 512, 512),
    (21, 512, 512),
    (24, 512, 512),
    (26, 512, 512),
    (28, 512, 512),
];

/// Whether a maximum pooling precedes the convolution of this index in VGG16's `features`.
pub fn vgg_pools_before(index: usize) -> bool {
    matches!(index, 5 | 10 | 17 | 24)
}

impl BackboneConfig {
    /// Whether it is a convolutional network, whose map has no class tokens.
    pub fn is_convolutional(&self) -> bool {
        !matches!(self, Self::Vit(_))
    }

    /// Floating-point operations per image of a convolutional network; 0 for a transformer.
    pub(crate) fn convolution_flop(&self, size: [usize; 2]) -> f64 {
        match self {
            Self::Vit(_) => 0.0,
            Self::ResNet(resnet) => resnet.flop(size),
            Self::Vgg16 => {
                let ([mut height, mut width], mut sum) = (size, 0.0);
                for (index, d_in, d_out) in VGG16 {
                    if vgg_pools_before(index) {
                        [height, width] = [height / 2, width / 2];
                    }
                    sum += 2.0 * (height * width) as f64 * (9 * d_in * d_out) as f64;
                }
                sum
            }
        }
    }
}

impl ModelConfig {
    /// Checks what convolutional backbones and the aggregations of their maps need.
    pub(super) fn validate_convolutional(&self) -> Result<(), String> {
        if let BackboneConfig::ResNet(resnet) = &self.backbone
            && resnet.blocks().is_none()
        {
            return Err(format!(
                "backbone.depth {} with {} stages: a ResNet has 18, 34, 50, 101 or 152 layers and 3 or 4 stages",
                resnet.depth, resnet.stages
            ));
        }
        if self.backbone.is_convolutional() {
            if matches!(self.global, GlobalConfig::Pooled { pooling: Pooling::Cls }) {
                return Err("global.pooling cls needs a vision transformer; use mean or gem".into());
            }
            let whole = matches!(&self.backbone, BackboneConfig::ResNet(resnet) if resnet.stages == 4);
            let by_attention = |local: &LocalConfig| local.select == Selection::Attention;
            if self.local.as_ref().is_some_and(by_attention) && !(whole && self.fixed_size().is_none()) {
                return Err(
                    "local.select attention of a convolutional network needs a whole ResNet: use norm".into(),
                );
            }
        }
        let problem = match &self.global {
            GlobalConfig::MixVpr(mix) => mix.problem(),
            GlobalConfig::NetVlad(vlad) => vlad.problem(self.backbone_dim()),
            GlobalConfig::Vlad(vlad) => vlad.problem(self.backbone_dim()),
            _ => None,
        };
        problem.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flop_as_published() {
        // torchvision's documentation, without the classifiers: 1.81, 4.09, 7.80 and 11.51 G multiply-adds at 224x224.
        for (depth, expected) in [(18, 1.81), (50, 4.09), (101, 7.80), (152, 11.51)] {
            let found = ResNetConfig::new(depth, 4).flop([224, 224]) / 2e9;
            assert!((found - expected).abs() < 0.02, "ResNet-{depth}: {found}");
        }
        // 15.47 with 0.12 of the classifier.
        let found = BackboneConfig::Vgg16.convolution_flop([224, 224]) / 2e9;
        assert!((found - 15.35).abs() < 0.02, "VGG16: {found}");
    }

    #[test]
    fn headers_of_earlier_versions_name_a_whole_resnet50() {
        let old = r#"{"type": "res_net50", "norm_eps": 1e-5}"#;
        let read: BackboneConfig = serde_json::from_str(old).expect("an earlier header");
        assert_eq!(read, BackboneConfig::ResNet(ResNetConfig::new(50, 4)));
        let new = serde_json::to_string(&read).expect("plain data");
        assert_eq!(serde_json::from_str::<BackboneConfig>(&new).expect("its own"), read);
        let vgg = serde_json::to_string(&BackboneConfig::Vgg16).expect("plain data");
        assert_eq!(serde_json::from_str::<BackboneConfig>(&vgg).expect("its own"), BackboneConfig::Vgg16);
    }
}
