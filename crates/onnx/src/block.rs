//! A pre-norm transformer block, of backbones and of the reranker.

use crate::adapter;
use crate::backbone::Grid;
use crate::graph::{Graph, Value};
use crate::sizes::{SAME, Size};

/// What a stack's blocks have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSizes {
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    /// Hidden width of a gated MLP.
    pub(crate) gated: Option<usize>,
    pub(crate) layer_scale: bool,
    pub(crate) epsilon: f64,
}

/// What some models add to a block.
#[derive(Default)]
pub(crate) struct Extras<'x> {
    /// Cosines and sines of rotary positions.
    pub(crate) rope: Option<&'x [Value; 2]>,
    /// Names of the adapters after the attention and beside the MLP, and whether those have convolutions.
    pub(crate) serial: Option<String>,
    pub(crate) parallel: Option<(String, bool)>,
    pub(crate) grid: Option<&'x Grid>,
    /// Whether the first token alone is computed.
    pub(crate) first_only: bool,
}

/// What comes out of a block.
pub(crate) struct BlockOutput {
    pub(crate) tokens: Value,
    /// Attention probabilities, `[batch, heads, queries, keys]`.
    pub(crate) probabilities: Value,
}

/// Queries, keys and values of a block, `[batch, tokens, dim]` each.
pub(crate) fn qkv(g: &mut Graph<'_>, x: &Value, name: &str, sizes: &BlockSizes) -> [Value; 3] {
    let normed = g.layer_norm(x, &format!("{name}.norm1"), sizes.epsilon);
    let all = g.linear(&normed, &format!("{name}.attn.qkv"));
    g.split(&all, [sizes.dim; 3], 2)
}

/// Probabilities of the attention of queries (scaled here) to keys, `[batch, heads, queries, keys]`.
pub(crate) fn probabilities(
    g: &mut Graph<'_>,
    [queries, keys]: [&Value; 2],
    sizes: &BlockSizes,
    rope: Option<&[Value; 2]>,
) -> Value {
    let size = sizes.dim / sizes.heads;
    let turned = |g: &mut Graph<'_>, x: &Value| {
        let x = by_head(g, x, sizes);
        match rope {
            Some([cos, sin]) => rotate(g, &x, size, [cos, sin]),
            None => x,
        }
    };
    let (queries, keys) = (turned(g, queries), turned(g, keys));
    let queries = g.scale(&queries, (size as f64).powf(-0.5));
    let keys = g.transpose(&keys, &[0, 1, 3, 2]);
    let scores = g.matmul(&queries, &keys);
    g.softmax(&scores)
}

/// The block of this name.
pub(crate) fn block(
    g: &mut Graph<'_>,
    x: &Value,
    name: &str,
    sizes: &BlockSizes,
    [queries, keys, values]: &[Value; 3],
    extras: &Extras<'_>,
) -> BlockOutput {
    let (x, queries) = match extras.first_only {
        true => (g.slice(x, 1, 0, Some(1)), g.slice(queries, 1, 0, Some(1))),
        false => (x.clone(), queries.clone()),
    };
    let probabilities = probabilities(g, [&queries, keys], sizes, extras.rope);
    let values = by_head(g, values, sizes);
    let context = g.matmul(&probabilities, &values);
    let context = joined(g, &context, sizes.dim);
    let mut attended = g.linear(&context, &format!("{name}.attn.proj"));
    if let Some(adapter) = &extras.serial {
        let more = adapter::linear(g, &attended, adapter);
        attended = g.add(&attended, &more);
    }
    let attended = scaled(g, attended, name, "ls1", sizes);
    let x = g.add(&x, &attended);
    let normed = g.layer_norm(&x, &format!("{name}.norm2"), sizes.epsilon);
    let mut out = mlp(g, &normed, name, sizes);
    if let (Some((adapter, convolutions)), Some(grid)) = (&extras.parallel, extras.grid) {
        let more = match convolutions {
            true => adapter::convolutions(g, &normed, adapter, grid),
            false => adapter::linear(g, &normed, adapter),
        };
        let more = g.scale(&more, r2former_model::layers::PARALLEL);
        out = g.add(&out, &more);
    }
    let out = scaled(g, out, name, "ls2", sizes);
    BlockOutput { tokens: g.add(&x, &out), probabilities }
}

fn mlp(g: &mut Graph<'_>, x: &Value, name: &str, sizes: &BlockSizes) -> Value {
    match sizes.gated {
        Some(hidden) => {
            let both = g.linear(x, &format!("{name}.mlp.w12"));
            let [gate, values] = g.split(&both, [hidden; 2], 2);
            let gate = g.silu(&gate);
            let hidden = g.mul(&gate, &values);
            g.linear(&hidden, &format!("{name}.mlp.w3"))
        }
        None => {
            let hidden = g.linear(x, &format!("{name}.mlp.fc1"));
            let hidden = g.gelu(&hidden);
            g.linear(&hidden, &format!("{name}.mlp.fc2"))
        }
    }
}

/// `[batch, tokens, dim]` as `[batch, heads, tokens, head size]`.
pub(crate) fn by_head(g: &mut Graph<'_>, x: &Value, sizes: &BlockSizes) -> Value {
    let split = g.reshape(x, &[SAME, SAME, sizes.heads.into(), (sizes.dim / sizes.heads).into()]);
    g.transpose(&split, &[0, 2, 1, 3])
}

/// `[batch, heads, tokens, head size]` as `[batch, tokens, dim]`.
pub(crate) fn joined(g: &mut Graph<'_>, x: &Value, dim: usize) -> Value {
    let x = g.transpose(x, &[0, 2, 1, 3]);
    g.reshape(&x, &[SAME, SAME, Size::from(dim)])
}

fn scaled(g: &mut Graph<'_>, x: Value, name: &str, part: &str, sizes: &BlockSizes) -> Value {
    if !sizes.layer_scale {
        return x;
    }
    let gamma = g.weight(&format!("{name}.{part}.gamma"));
    g.mul(&x, &gamma)
}

/// Turns queries or keys by their positions.
fn rotate(g: &mut Graph<'_>, x: &Value, size: usize, [cos, sin]: [&Value; 2]) -> Value {
    let [first, second] = g.split(x, [size / 2; 2], 3);
    let second = g.neg(&second);
    let turned = g.concat(&[&second, &first], 3);
    let (along, across) = (g.mul(x, cos), g.mul(&turned, sin));
    g.add(&along, &across)
}
