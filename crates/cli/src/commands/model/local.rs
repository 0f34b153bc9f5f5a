//! Options of local features, for `model import` and `model copy`.

use clap::Args;
use r2former_model::import::{LocalDim, LocalOptions, LocalPreset};
use r2former_model::{Facet, Geometry, Selection};

#[derive(Debug, Args)]
#[command(next_help_heading = "Local features, for --rerank ransac, mutual and model")]
pub(super) struct LocalArgs {
    /// patches (those that suit the model), effovpr (as EffoVPR: values of the last block where patches attend to CLS, and
    /// a threshold of cosines), or none [default: patches; copy: unchanged].
    #[arg(long, value_name = "KIND")]
    local: Option<LocalPreset>,
    /// Maximum number of local features per image [default: as the reranker was trained, else 500; copy: unchanged].
    #[arg(long, value_name = "N")]
    num_local: Option<usize>,
    /// What patches are ranked by: attention (of CLS in the last block), aggregation (their weight in SALAD or BoQ), norm
    /// (the length of their feature; any network), or cls_key (their query's attention to the key of CLS) [default:
    /// aggregation where there is one, else attention].
    #[arg(long, value_name = "BY")]
    local_select: Option<Selection>,
    /// Transformer blocks before features are taken [default: half of them; all but the last, as in the paper, for a
    /// backbone without a trained descriptor].
    #[arg(long, value_name = "N")]
    local_layer: Option<usize>,
    /// What describes a patch: its token, or its query, key or value in the next block [default: tokens].
    #[arg(long, value_name = "FACET")]
    local_facet: Option<Facet>,
    /// Dimensions: a number, by a random projection until train local or train rerank fit one, or all, which stores the
    /// backbone's as they are [default: 128].
    #[arg(long, value_name = "D")]
    local_dim: Option<LocalDim>,
    /// Leave out patches whose weight is not above this [default: none are left out].
    #[arg(long, value_name = "W")]
    local_min_attention: Option<f32>,
    /// Mutual nearest neighbours match only above this cosine [default: any].
    #[arg(long, value_name = "COSINE")]
    local_min_similarity: Option<f32>,
    /// What RANSAC fits to matches: a homography, ranked by the number of its inliers, as published; or a similarity (rotation, scale,
    /// shift), ranked by how well they agree [default: homography; copy: unchanged].
    #[arg(long, value_name = "KIND")]
    local_geometry: Option<Geometry>,
}

impl LocalArgs {
    pub(super) fn options(&self) -> LocalOptions {
        LocalOptions {
            preset: self.local,
            count: self.num_local,
            layer: self.local_layer,
            facet: self.local_facet,
            select: self.local_select,
            dim: self.local_dim,
            min_attention: self.local_min_attention,
            min_similarity: self.local_min_similarity,
            geometry: self.local_geometry,
        }
    }
}
