//! Local features of a backbone that was published without any: which patches, what describes them, and how wide.

use crate::weights::{TensorReader, Tensors};
use crate::{
    BackboneConfig, Facet, Geometry, GlobalConfig, LocalConfig, ModelConfig, ModelError, R2Former, Result,
    Selection,
};
use burn::tensor::Device;

/// Features per image where nothing else is asked for.
const COUNT: usize = 500;

/// What local features are to be; `None` leaves the choice to the model, or to what it has already.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalOptions {
    /// Features as a published method has them, which the other options change.
    pub preset: Option<LocalPreset>,
    /// Features per image, at most.
    pub count: Option<usize>,
    /// Transformer blocks before they are taken.
    pub layer: Option<usize>,
    /// What describes a patch.
    pub facet: Option<Facet>,
    /// What patches are ranked by.
    pub select: Option<Selection>,
    /// Dimensions.
    pub dim: Option<LocalDim>,
    /// [`LocalConfig::min_attention`].
    pub min_attention: Option<f32>,
    /// [`LocalConfig::min_similarity`].
    pub min_similarity: Option<f32>,
    /// [`LocalConfig::geometry`].
    pub geometry: Option<Geometry>,
}

/// Dimensions of local features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalDim {
    /// All of the backbone's, as they are.
    All,
    /// A projection to fewer: random, until it is trained.
    Projected(usize),
}

impl std::str::FromStr for LocalDim {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "all" => Ok(Self::All),
            Ok(dim @ 1..=4096) => Ok(Self::Projected(dim)),
            _ => Err(format!("'{text}' is not a number of dimensions: 1 to 4096, or all")),
        }
    }
}

/// Local features by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalPreset {
    /// None: the model ranks by its global descriptor alone.
    None,
    /// Those that suit the model: the default.
    Patches,
    /// `EffoVPR`'s: values of the last block, all dimensions; patches whose query attends to the key of CLS by more than
    /// 0.05; mutual nearest neighbours match above a cosine of 0.65.
    Effovpr,
}

impl std::str::FromStr for LocalPreset {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "patches" => Ok(Self::Patches),
            "effovpr" => Ok(Self::Effovpr),
            other => Err(format!("'{other}' is not a kind of local features: patches, effovpr or none")),
        }
    }
}

impl LocalOptions {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Gives a model these local features: changes its configuration, and the tensors of its local head, which is
    /// initialised at random where it has none of the right shape. A trained local head stays what it was trained for.
    ///
    /// # Errors
    /// [`ModelError::Config`] for options that do not fit the architecture, or a local head that was trained for others.
    pub fn apply(&self, config: &mut ModelConfig, tensors: &mut Tensors) -> Result<()> {
        self.configure(config)?;
        // Local features may change what sizes the network takes.
        config.set_image_size(config.input.image_size())?;
        config.validate()?;
        let Some(local) = &config.local else {
            tensors.retain(|name, _| !name.starts_with("local_head."));
            return Ok(());
        };
        let fits = tensors
            .get("local_head.weight")
            .is_some_and(|weight| local.projected && weight.shape == [local.dim, config.local_dim()]);
        if !fits {
            tensors.retain(|name, _| !name.starts_with("local_head."));
        }
        if local.projected && !fits {
            let mut random = TensorReader::random(SEED, &Device::flex());
            tensors.extend(R2Former::random_local_head(config, &mut random)?);
        }
        Ok(())
    }

    /// The part of [`apply`](Self::apply) that changes the configuration.
    pub(super) fn configure(&self, config: &mut ModelConfig) -> Result<()> {
        if self.preset == Some(LocalPreset::None) {
            if config.reranker.is_some() && config.trained.reranker {
                return Err(ModelError::Config(
                    "a trained reranker needs its local features: --local none is for models without one"
                        .into(),
                ));
            }
            (config.local, config.trained.local, config.reranker) = (None, false, None);
            return Ok(());
        }
        let trained = config.trained.local;
        let asked = self.layer.is_some() || self.facet.is_some() || self.dim.is_some();
        if trained && (asked || self.preset.is_some()) {
            return Err(ModelError::Config(
                "its local head was trained for the tokens that it has: --local, --local-layer, --local-facet and \
                 --local-dim are for models without trained local features"
                    .into(),
            ));
        }
        let own = config.local.take();
        let geometry = own.as_ref().map(|own| own.geometry).unwrap_or_default();
        let mut local = match (self.preset, own) {
            (None, Some(own)) => own,
            (Some(LocalPreset::Effovpr), _) => effovpr(config)?,
            (_, own) => default_of(config, own.map(|own| own.count)),
        };
        local.layer = self.layer.or(local.layer);
        local.facet = self.facet.unwrap_or(local.facet);
        local.select = self.select.unwrap_or(local.select);
        match self.dim {
            Some(LocalDim::All) => (local.projected, local.dim) = (false, config.local_dim()),
            Some(LocalDim::Projected(dim)) => (local.projected, local.dim) = (true, dim),
            None => {}
        }
        local.min_attention = self.min_attention.or(local.min_attention);
        local.min_similarity = self.min_similarity.or(local.min_similarity);
        local.geometry = self.geometry.unwrap_or(geometry);
        local.count = self.count.unwrap_or(match (local.select, local.min_attention) {
            // Weights that sum to one: no more patches than this can be above the threshold.
            (Selection::ClsKey, Some(least)) if least > 0.0 => local.count.min((1.0 / least).ceil() as usize),
            _ => local.count,
        });
        config.local = Some(local);
        Ok(())
    }
}

/// Seed of the random projection.
const SEED: u64 = 0;

/// What suits a model: patches by the weights of its aggregation or the attention of CLS, described by tokens half-way
/// through the blocks, which match more reliably than late ones (`docs/models.md`), or by the values that the descriptor is made
/// of; cells of a convolutional network by their length, unless it is a plain ResNet.
fn default_of(config: &ModelConfig, count: Option<usize>) -> LocalConfig {
    let select = match (&config.global, &config.backbone) {
        (GlobalConfig::Salad(_) | GlobalConfig::Boq(_), _) => Selection::Aggregation,
        (_, BackboneConfig::Vit(_)) | (GlobalConfig::Pooled { .. }, BackboneConfig::ResNet(_)) => {
            Selection::Attention
        }
        _ => Selection::Norm,
    };
    let (layer, facet) = match &config.backbone {
        // The block that it ends in.
        BackboneConfig::Vit(vit) if vit.values => (None, Facet::Value),
        // A backbone without a trained descriptor is a start for training, with the paper's tokens.
        BackboneConfig::Vit(vit) if config.trained.global && vit.depth > 1 => {
            (Some(vit.depth.div_ceil(2)), Facet::Tokens)
        }
        _ => (None, Facet::Tokens),
    };
    LocalConfig { count: count.unwrap_or(COUNT), select, layer, facet, ..LocalConfig::default() }
}

fn effovpr(config: &ModelConfig) -> Result<LocalConfig> {
    if !matches!(config.backbone, BackboneConfig::Vit(_)) {
        return Err(ModelError::Config("EffoVPR's local features need a vision transformer".into()));
    }
    Ok(LocalConfig {
        dim: config.local_dim(),
        count: COUNT,
        facet: Facet::Value,
        select: Selection::ClsKey,
        projected: false,
        min_attention: Some(0.05),
        min_similarity: Some(0.65),
        ..LocalConfig::default()
    })
}

/// Gives an imported model local features: any transformer, and others if asked. Returns a note on them.
pub(super) fn add(config: &mut ModelConfig, options: &LocalOptions) -> Result<Option<String>> {
    // A published R2Former has its own.
    if config.trained.local && options.is_empty() {
        return Ok(None);
    }
    let plain = matches!(config.global, GlobalConfig::Pooled { .. });
    if options.is_empty() && config.backbone.is_convolutional() && !plain {
        return Ok(None);
    }
    options.configure(config)?;
    Ok(config.local.as_ref().filter(|_| config.reranker.is_none()).map(|local| {
        let bytes = config.local_count(config.input.height, config.input.width) * config.local_row();
        format!(
            "local features of up to {} patches, by {}: for --rerank ransac and --rerank mutual, {bytes} bytes per image; \
             no reranker (train rerank adds one)",
            local.count,
            description(local),
        )
    }))
}

/// What local features are, in a few words.
pub fn description(local: &LocalConfig) -> String {
    let by = match local.select {
        Selection::Attention => "attention",
        Selection::Aggregation => "weight in the aggregation",
        Selection::Norm => "length",
        Selection::ClsKey => "attention to the key of CLS",
    };
    let what = match local.facet {
        Facet::Tokens => "tokens".to_string(),
        other => format!("{other}s").replace("querys", "queries"),
    };
    let how = if local.projected { "projected to" } else { "as they are," };
    let above =
        |name: &str, value: Option<f32>| value.map_or_else(String::new, |v| format!(", {name} above {v}"));
    let verified = match local.geometry {
        Geometry::Homography => "",
        Geometry::Similarity => ", verified by a similarity",
    };
    format!(
        "{by}; {what} {how} {} dimensions{}{}{verified}",
        local.dim,
        above("weight", local.min_attention),
        above("cosine", local.min_similarity)
    )
}
