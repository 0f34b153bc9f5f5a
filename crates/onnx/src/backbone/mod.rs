//! Backbones: from normalised pixels to tokens.

mod official;
mod position;
mod resnet;
mod rope;
mod vgg;
mod vit;

use crate::graph::{Graph, Value};
use crate::sizes::Size;
use r2former_model::{BackboneConfig, LocalConfig, ModelConfig, Selection};

/// The input of the graph.
pub(crate) struct Image {
    /// `[batch, 3, height, width]`, normalised.
    pub(crate) pixels: Value,
    pub(crate) batch: Size,
    pub(crate) height: Size,
    pub(crate) width: Size,
}

/// Patches, or cells of a feature map, and the tokens before them.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) prefix: usize,
    pub(crate) rows: Size,
    pub(crate) columns: Size,
}

impl Grid {
    /// The number of patches.
    pub(crate) fn patches(&self, g: &mut Graph<'_>) -> Size {
        g.size_mul(&self.rows, &self.columns)
    }
}

/// Output of a backbone.
pub(crate) struct Tokens {
    /// Input of the global head, `[batch, tokens, width]`.
    pub(crate) last: Value,
    pub(crate) grid: Grid,
    pub(crate) local: Option<LocalTokens>,
}

/// What local features are made from.
pub(crate) struct LocalTokens {
    /// `[batch, tokens, width]`.
    pub(crate) tokens: Value,
    pub(crate) prefix: usize,
    /// Query, key and value of each token in the next block, where they are asked for.
    pub(crate) facets: Option<[Value; 3]>,
    /// The attention of the class tokens in the last block, `[batch, patches]`, where it is asked for.
    pub(crate) attention: Option<Value>,
}

/// Which parts of [`LocalTokens`] a model's local features need: facets, attention of the last block.
pub(crate) fn local_needs(config: &ModelConfig) -> (bool, bool) {
    let local = config.local.as_ref();
    let attention = local.is_some_and(|local| local.select == Selection::Attention);
    (local.is_some_and(LocalConfig::needs_facets), attention)
}

/// Adds the backbone; `local` asks for what local features need.
pub(crate) fn backbone(g: &mut Graph<'_>, config: &ModelConfig, image: &Image, local: bool) -> Tokens {
    g.within("backbone", |g| match &config.backbone {
        BackboneConfig::Vit(vit) => vit::vit(g, config, vit, image, local),
        BackboneConfig::ResNet(resnet) => resnet::resnet(g, resnet, image, local),
        BackboneConfig::Vgg16 => vgg::vgg16(g, image, local),
    })
}
