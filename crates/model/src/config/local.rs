//! Which patches become local features, and what describes them.

use super::{BackboneConfig, GlobalConfig, ModelConfig};
use serde::{Deserialize, Serialize};

/// Selection and description of local features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// Dimensions of a feature, without x, y and attention.
    pub dim: usize,
    /// Local features per image, at most.
    pub count: usize,
    /// Reproduces the published gather, which takes token i for patch i although prefix tokens come first. For published
    /// checkpoints only.
    pub official_gather: bool,
    /// Number of transformer blocks before features are taken, 1 to `depth - 1`. `None`: all but the last block, as in
    /// the paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// What describes a patch of a transformer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub facet: Facet,
    /// What patches are ranked by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub select: Selection,
    /// Whether a linear layer (`local_head`) projects to `dim` dimensions. Otherwise the backbone's features are stored as
    /// they are, and `dim` is their width.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub projected: bool,
    /// Patches whose weight (which `select` names, not divided by the largest) is not above this are no local features:
    /// their rows are zero, and match nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_attention: Option<f32>,
    /// Mutual nearest neighbours match only if their cosine is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_similarity: Option<f32>,
    /// What geometric verification fits to mutual nearest neighbours.
    #[serde(default, skip_serializing_if = "is_default")]
    pub geometry: Geometry,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for LocalConfig {
    /// The paper's: up to 500 features of 128 dimensions.
    fn default() -> Self {
        Self {
            dim: 128,
            count: 500,
            official_gather: false,
            layer: None,
            facet: Facet::Tokens,
            select: Selection::Attention,
            projected: true,
            min_attention: None,
            min_similarity: None,
            geometry: Geometry::Homography,
        }
    }
}

impl LocalConfig {
    /// Mutual nearest neighbours match if their cosine is above this. Rows without a feature have a cosine of 0 with
    /// every other.
    pub fn match_above(&self) -> f32 {
        let without = if self.min_attention.is_some() { 0.0 } else { f32::NEG_INFINITY };
        self.min_similarity.unwrap_or(without)
    }

    /// Whether queries, keys or values of a transformer's block are needed, not its tokens alone.
    pub fn needs_facets(&self) -> bool {
        self.facet != Facet::Tokens || self.select == Selection::ClsKey
    }
}

/// What describes a patch of a transformer: its token between two blocks, or what the attention of the next block makes
/// of it, all heads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    /// The token.
    #[default]
    Tokens,
    /// Its query.
    Query,
    /// Its key.
    Key,
    /// Its value.
    Value,
}

impl Facet {
    /// Every facet with its name.
    pub const ALL: [(&'static str, Self); 4] =
        [("tokens", Self::Tokens), ("query", Self::Query), ("key", Self::Key), ("value", Self::Value)];

    /// The place among query, key and value; `None` for the token itself.
    pub fn part(self) -> Option<usize> {
        match self {
            Self::Tokens => None,
            Self::Query => Some(0),
            Self::Key => Some(1),
            Self::Value => Some(2),
        }
    }
}

/// What patches are ranked by; the best become local features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The attention of the class tokens in the last block; of a ResNet, the global head's activations.
    #[default]
    Attention,
    /// The weight of each patch in the aggregation: what SALAD assigns to its clusters rather than to the dust bin, or the
    /// attention of BoQ's queries.
    Aggregation,
    /// The length of its feature before any projection.
    Norm,
    /// The attention of its query to the key of CLS in the block after `layer`, all heads as one: softmax over patches,
    /// as `EffoVPR` ranks them.
    ClsKey,
}

impl Selection {
    /// Every selection with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("attention", Self::Attention),
        ("aggregation", Self::Aggregation),
        ("norm", Self::Norm),
        ("cls_key", Self::ClsKey),
    ];
}

/// The transformation of geometric verification (`--rerank ransac`): photographs of one place agree under one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Geometry {
    /// A homography, by the number of its inliers, as in the paper: what a plane looks like from two places.
    #[default]
    Homography,
    /// A similarity (rotation, scale, shift), by how well its inliers agree: of half the parameters, so that fewer matches agree by chance.
    Similarity,
}

impl Geometry {
    /// Every transformation with its name.
    pub const ALL: [(&'static str, Self); 2] =
        [("homography", Self::Homography), ("similarity", Self::Similarity)];
}

macro_rules! by_name {
    ($type:ty, $what:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let name = Self::ALL.iter().find(|(_, value)| value == self);
                f.write_str(name.map_or("", |(name, _)| name))
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
                found.map(|(_, value)| value).ok_or_else(|| {
                    let names = Self::ALL.map(|(name, _)| name).join(", ");
                    format!(concat!("'{}' is not ", $what, ": {}"), text, names)
                })
            }
        }
    };
}

by_name!(Facet, "a facet");
by_name!(Selection, "a selection of patches");
by_name!(Geometry, "a transformation");

impl ModelConfig {
    /// What does not fit this architecture.
    pub(super) fn local_problem(&self, local: &LocalConfig) -> Option<String> {
        let vit = match &self.backbone {
            BackboneConfig::Vit(vit) => Some(vit),
            BackboneConfig::ResNet(_) | BackboneConfig::Vgg16 => None,
        };
        if !(1..=4096).contains(&local.dim) || !(1..=16_384).contains(&local.count) {
            return Some(format!("local.dim {} or local.count {} is out of range", local.dim, local.count));
        }
        if let Some(layer) = local.layer {
            let Some(vit) = vit else {
                return Some(format!("local.layer {layer} needs a vision transformer"));
            };
            if !(1..vit.depth).contains(&layer) {
                return Some(format!("local.layer {layer} is outside 1 to {}", vit.depth.saturating_sub(1)));
            }
        }
        if local.facet != Facet::Tokens && vit.is_none() {
            return Some(format!("local.facet {} needs a vision transformer", local.facet));
        }
        let fits = match local.select {
            Selection::Attention | Selection::Norm => true,
            Selection::ClsKey => vit.is_some(),
            Selection::Aggregation => matches!(self.global, GlobalConfig::Salad(_) | GlobalConfig::Boq(_)),
        };
        if !fits {
            return Some(match local.select {
                Selection::Aggregation => {
                    "local.select aggregation needs a model with SALAD or BoQ: use attention or norm".into()
                }
                other => format!("local.select {other} needs a vision transformer: use norm"),
            });
        }
        if local.official_gather && (local.facet, local.select) != <(Facet, Selection)>::default() {
            return Some("local.official_gather takes tokens by attention only".into());
        }
        let width = self.local_dim();
        if !local.projected && local.dim != width {
            return Some(format!("local.dim {} without a projection: the backbone's is {width}", local.dim));
        }
        let above = |value: Option<f32>| value.is_some_and(|v| !(0.0..1.0).contains(&v));
        if above(local.min_attention) && local.select != Selection::Norm {
            return Some("local.min_attention is outside 0 to 1".into());
        }
        if local.min_attention.is_some_and(|v| !v.is_finite() || v < 0.0) || above(local.min_similarity) {
            return Some("local.min_attention must be at least 0, local.min_similarity 0 to 1".into());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_earlier_versions_mean_projected_tokens_by_attention() {
        let old = r#"{"dim": 128, "count": 200, "official_gather": false, "layer": 6}"#;
        let read: LocalConfig = serde_json::from_str(old).expect("an earlier header");
        assert_eq!(read, LocalConfig { count: 200, layer: Some(6), ..LocalConfig::default() });
        // And such features are written as before.
        let written = serde_json::to_value(&read).expect("plain data");
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(old).expect("JSON"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        type Change = fn(&mut LocalConfig);
        let cases: [(&str, Change); 8] = [
            ("local.dim", |l| l.projected = false),
            ("local.layer", |l| l.layer = Some(12)),
            ("aggregation needs", |l| l.select = Selection::Aggregation),
            ("official_gather", |l| (l.official_gather, l.facet) = (true, Facet::Key)),
            ("min_attention", |l| l.min_attention = Some(1.5)),
            ("min_attention", |l| l.min_attention = Some(f32::NAN)),
            ("min_similarity", |l| l.min_similarity = Some(-0.5)),
            ("local.count", |l| l.count = 0),
        ];
        for (named, change) in cases {
            let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
            change(config.local.as_mut().expect("it has local features"));
            let error = config.validate().expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
