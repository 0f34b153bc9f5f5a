//! The reranker as a graph of its own.

use crate::block::{BlockSizes, Extras, block, qkv};
use crate::graph::{Graph, Value};
use crate::sizes::{REST, SAME, Size};
use r2former_model::RerankerConfig;
use r2former_model::layers::frequencies;

/// One side of the pairs: x, y and attention `[pairs, count, 3]`, and features of unit length.
struct Side {
    places: Value,
    features: Value,
    count: Size,
}

/// Logits of each pair, `[pairs, 2]`: different place, same place. `query` is `[count, row]`, `references`
/// `[pairs, count, row]`, with rows of this many values.
pub(crate) fn reranker(
    g: &mut Graph<'_>,
    c: &RerankerConfig,
    [query, references]: [&Value; 2],
    row: usize,
) -> Value {
    let pairs = g.size_of(references, 0);
    let query = g.unsqueeze(query, 0);
    let (mut query, references) = (side(g, &query, row), side(g, references, row));
    // Features broadcast.
    query.places = g.expand(&query.places, &[pairs.clone(), 1.into(), 1.into()]);
    let features = g.transpose(&references.features, &[0, 2, 1]);
    let correlation = g.matmul(&query.features, &features);
    let transposed = g.transpose(&correlation, &[0, 2, 1]);
    let of_query = g.within("query", |g| matches(g, c, &correlation, [&query, &references], false));
    let of_references = g.within("references", |g| matches(g, c, &transposed, [&references, &query], true));
    let tokens = g.concat(&[&of_query, &of_references], 1);
    let cls = first_of(g, c, &tokens, "blocks", "cls_token", c.depth, &pairs);
    let cls = g.squeeze(&cls, 1);
    g.linear(&cls, "reranker.decoder_pred")
}

fn side(g: &mut Graph<'_>, rows: &Value, row: usize) -> Side {
    let count = g.size_of(rows, 1);
    let [places, features] = g.split(rows, [3, row.saturating_sub(3)], 2);
    Side { places: g.clamp(&places, [0.0, 1.0]), features: g.unit(&features), count }
}

/// One token for each feature of a side, by its best matches on the other, `[pairs, count, dim]`. The query's channels come
/// first, also in the tokens of the reference.
fn matches(
    g: &mut Graph<'_>,
    c: &RerankerConfig,
    correlation: &Value,
    [own, other]: [&Side; 2],
    swapped: bool,
) -> Value {
    let k = g.size_min(&other.count, &c.neighbours.into());
    let [values, numbers] = g.topk(correlation, &k);
    let numbers = g.reshape(&numbers, &[SAME, REST]);
    let theirs = g.rows(&other.places, &numbers);
    let values = g.reshape(&values, &[SAME, REST, 1.into()]);
    let ours = g.unsqueeze(&own.places, 2);
    let ours = g.expand(&ours, &[1.into(), 1.into(), k.clone(), 1.into()]);
    let ours = g.reshape(&ours, &[SAME, REST, 3.into()]);
    let (query, reference) = if swapped { (&theirs, &ours) } else { (&ours, &theirs) };
    let mut channels = Vec::with_capacity(5);
    for side in [query, reference] {
        let [xy, attention] = g.split(side, [2, 1], 2);
        if c.use_xy {
            channels.push(xy);
        }
        if c.use_attention {
            channels.push(attention);
        }
    }
    if c.use_correlation {
        channels.push(values);
    }
    let channels: Vec<&Value> = channels.iter().collect();
    let channels = g.concat(&channels, 2);
    let mut x = g.linear(&channels, "reranker.pair_head");
    if c.use_position_embedding {
        let places = sine_cosine(g, reference, c.dim);
        x = g.add(&x, &places);
    }
    let x = g.reshape(&x, &[REST, k.clone(), c.dim.into()]);
    let groups = g.size_of(&x, 0);
    let x = first_of(g, c, &x, "blocks_2", "cls_token_2", c.pair_depth, &groups);
    let x = g.reshape(&x, &[REST, own.count.clone(), c.dim.into()]);
    let x = g.linear(&x, "reranker.pair_head_2");
    if !c.use_position_embedding {
        return x;
    }
    // The query's place in the best match of each group.
    let grouped = g.reshape(query, &[SAME, own.count.clone(), k, 3.into()]);
    let best = g.slice(&grouped, 2, 0, Some(1));
    let best = g.squeeze(&best, 2);
    let places = sine_cosine(g, &best, c.dim);
    g.add(&x, &places)
}

/// The normalised CLS token after a stack, `[batch, 1, dim]`; without blocks, the normalised mean of the tokens.
fn first_of(
    g: &mut Graph<'_>,
    c: &RerankerConfig,
    x: &Value,
    stack: &str,
    cls: &str,
    depth: usize,
    batch: &Size,
) -> Value {
    if depth == 0 {
        let mean = g.mean(x, 1, true);
        return g.layer_norm(&mean, "reranker.decoder_norm", c.norm_eps);
    }
    let sizes =
        BlockSizes { dim: c.dim, heads: c.heads, gated: None, layer_scale: false, epsilon: c.norm_eps };
    let cls = g.weight(&format!("reranker.{cls}"));
    let cls = g.expand(&cls, &[batch.clone(), 1.into(), 1.into()]);
    let mut x = g.concat(&[&cls, x], 1);
    for i in 0..depth {
        let name = format!("reranker.{stack}.{i}");
        x = g.within(&format!("{stack}.{i}"), |g| {
            let parts = qkv(g, &x, &name, &sizes);
            let extras = Extras { first_only: i + 1 == depth, ..Extras::default() };
            block(g, &x, &name, &sizes, &parts, &extras).tokens
        });
    }
    g.layer_norm(&x, "reranker.decoder_norm", c.norm_eps)
}

/// Sines and cosines of x, then of y, of places `[pairs, count, 2 or more]`.
fn sine_cosine(g: &mut Graph<'_>, places: &Value, dim: usize) -> Value {
    let frequencies = g.floats(&[dim / 4], &frequencies(dim));
    let halves = [0, 1].map(|axis| {
        let place = g.slice(places, 2, axis, Some(axis + 1));
        let angles = g.mul(&place, &frequencies);
        let (sin, cos) = (g.sin(&angles), g.cos(&angles));
        g.concat(&[&sin, &cos], 2)
    });
    g.concat(&halves.each_ref(), 2)
}
