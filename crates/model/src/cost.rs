//! What a model costs: parameters, arithmetic, bytes.

use crate::{BackboneConfig, CricaConfig, GlobalConfig, ModelConfig};

/// Cost per image and per pair, computed from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Cost {
    /// Floating-point operations to extract the descriptors of one image; a multiply-add counts as two.
    pub extract_flop: f64,
    /// Floating-point operations to rerank one pair of images with all their local features.
    pub rerank_flop: f64,
    /// Bytes stored per image: the global descriptor in 32 bits, local features in 8.
    pub stored_bytes: usize,
    /// Local features per image.
    pub local_count: usize,
}

/// The cost of a model at an image size in pixels.
///
/// ```
/// use r2former_model::ModelConfig;
/// use r2former_model::cost::cost;
///
/// let config = ModelConfig::preset("deit-s").expect("a known preset");
/// let cost = cost(&config, 480, 640);
/// // 256 floats, and 500 local features of 128 + 3 bytes.
/// assert_eq!(cost.stored_bytes, 4 * 256 + 500 * 131);
/// assert_eq!(cost.local_count, 500);
/// ```
pub fn cost(config: &ModelConfig, height: usize, width: usize) -> Cost {
    let local_count = config.local_count(height, width);
    let cells = (height / config.stride()) * (width / config.stride());
    Cost {
        extract_flop: backbone_flop(config, height, width) + head_flop(config, local_count, cells as f64),
        rerank_flop: rerank_flop(config, local_count),
        stored_bytes: 4 * config.global_dim() + local_count * config.local_row(),
        local_count,
    }
}

/// Floating-point operations of the matrix products of one block over `n` tokens, of which `outputs` are computed.
fn block_flop(n: f64, outputs: f64, dim: f64, ratio: f64) -> f64 {
    let qkv = 2.0 * dim * dim * (outputs + 2.0 * n);
    let attention = 4.0 * outputs * n * dim;
    let rest = 2.0 * outputs * dim * dim * (1.0 + 2.0 * ratio);
    qkv + attention + rest
}

fn backbone_flop(config: &ModelConfig, height: usize, width: usize) -> f64 {
    match &config.backbone {
        BackboneConfig::Vit(v) => {
            let patches = ((height / v.patch) * (width / v.patch)) as f64;
            let n = patches + v.prefix_tokens() as f64;
            let dim = v.dim as f64;
            let embed = 2.0 * patches * 3.0 * (v.patch * v.patch) as f64 * dim;
            // A gated MLP has three products instead of two.
            let ratio = v.swiglu.map_or(v.mlp_ratio as f64, |hidden| 1.5 * hidden as f64 / dim);
            let blocks = (v.depth - usize::from(v.values)) as f64 * block_flop(n, n, dim, ratio);
            let adapters = v.adapters.map_or(0.0, |adapters| adapters.flop(n, dim, v.depth));
            embed + blocks + adapters + if v.values { 6.0 * n * dim * dim } else { 0.0 }
        }
        convolutional => convolutional.convolution_flop([height, width]),
    }
}

fn head_flop(config: &ModelConfig, local_count: usize, cells: f64) -> f64 {
    let width = config.backbone_dim() as f64;
    let global = match &config.global {
        GlobalConfig::Linear { dim, .. } => 2.0 * width * *dim as f64,
        GlobalConfig::Pooled { .. } => 0.0,
        GlobalConfig::Salad(s) => {
            let [clusters, dim, hidden, token] = [s.clusters, s.dim, s.hidden, s.token].map(|n| n as f64);
            let each = 2.0 * width * hidden + hidden * (dim + clusters) + dim * clusters;
            let linear = s.linear.map_or(0.0, |out| s.aggregated() as f64 * out as f64);
            2.0 * (cells * each + hidden * (width + token) + linear)
        }
        GlobalConfig::Boq(b) => {
            let [dim, layers, queries, rows] = [b.width, b.layers, b.queries, b.rows].map(|n| n as f64);
            let encoder = block_flop(cells, cells, dim, 4.0);
            let query = 4.0 * cells * dim * dim + 4.0 * queries * cells * dim + 2.0 * queries * dim * dim;
            2.0 * cells * 9.0 * width * dim + layers * (encoder + query) + 2.0 * layers * queries * dim * rows
        }
        GlobalConfig::MixVpr(mix) => mix.flop(width),
        GlobalConfig::NetVlad(vlad) => vlad.flop(width, cells),
        GlobalConfig::Vlad(vlad) => vlad.flop(width, cells),
        GlobalConfig::LocalVlad(vlad) => {
            let flop = |local| vlad.flop(local, config.local_dim() as f64, cells);
            config.local.as_ref().map_or(0.0, flop)
        }
        GlobalConfig::Gem(gem) => {
            let projected = if gem.projected { cells * width } else { 0.0 };
            2.0 * width * (projected + gem.dim.unwrap_or(0) as f64)
        }
        GlobalConfig::Crica(c) => {
            let each = 2.0 * width * (width + 2.0 * c.hidden as f64);
            (c.layers * CricaConfig::REGIONS) as f64 * each
        }
    };
    global
        + 2.0
            * local_count as f64
            * config.local_dim() as f64
            * config.local.as_ref().map_or(0.0, |l| l.dim as f64)
}

fn rerank_flop(config: &ModelConfig, count: usize) -> f64 {
    let (Some(r), Some(local)) = (&config.reranker, &config.local) else { return 0.0 };
    let (n, dim, ratio) = (count as f64, r.dim as f64, r.mlp_ratio as f64);
    let k = r.neighbours.min(count) as f64;
    let stack = |depth: usize, tokens: f64| match depth {
        0 => 0.0,
        _ => {
            (depth - 1) as f64 * block_flop(tokens, tokens, dim, ratio) + block_flop(tokens, 1.0, dim, ratio)
        }
    };
    let correlation = 2.0 * n * n * local.dim as f64;
    let pairs = 2.0 * n * (2.0 * k * r.channels() as f64 * dim + 2.0 * dim * dim);
    correlation + pairs + 2.0 * n * stack(r.pair_depth, k + 1.0) + stack(r.depth, 2.0 * n + 1.0)
}
