//! BoQ: learned queries that attend to the patches.

use super::part;
use crate::backbone::Grid;
use crate::block::{BlockSizes, by_head, joined};
use crate::graph::{Graph, Value};
use r2former_model::BoqConfig;
use r2former_model::aggregate::EPSILON;

/// The descriptor, and the attention of the queries, `[batch, patches]`.
pub(super) fn boq(g: &mut Graph<'_>, c: &BoqConfig, patches: &Value, grid: &Grid) -> (Value, Value) {
    let map = g.as_map(patches, grid);
    let map = g.conv(&map, &part("proj_c"), 3, 1, true);
    let tokens = g.as_tokens(&map);
    let mut x = g.layer_norm(&tokens, &part("norm_input"), EPSILON);
    let sizes =
        BlockSizes { dim: c.width, heads: c.heads, gated: None, layer_scale: false, epsilon: EPSILON };
    let (mut outputs, mut attention) = (Vec::new(), None);
    for i in 0..c.layers {
        let name = part(&format!("boqs.{i}"));
        let (tokens, output, attended) = g.within(&format!("boqs.{i}"), |g| {
            let x = encode(g, &x, &format!("{name}.encoder"), &sizes);
            let (output, attended) = query(g, &x, &name, c, &sizes);
            (x, output, attended)
        });
        x = tokens;
        outputs.push(output);
        let attended = g.scale(&attended, 1.0 / c.layers as f64);
        attention = Some(match attention {
            Some(before) => g.add(&before, &attended),
            None => attended,
        });
    }
    let outputs: Vec<&Value> = outputs.iter().collect();
    let found = g.concat(&outputs, 1);
    let found = g.transpose(&found, &[0, 2, 1]);
    let projected = g.linear(&found, &part("fc"));
    let descriptor = g.node("Flatten", &[&projected], Vec::new());
    // A model has at least one layer.
    let attention = attention.unwrap_or_else(|| descriptor.clone());
    (descriptor, attention)
}

/// The encoder layer: post-norm, ReLU.
fn encode(g: &mut Graph<'_>, x: &Value, name: &str, sizes: &BlockSizes) -> Value {
    let qkv = g.linear(x, &format!("{name}.self_attn.in_proj"));
    let [queries, keys, values] = g.split(&qkv, [sizes.dim; 3], 2);
    let queries = by_head(g, &queries, sizes);
    let (context, _) = attend(g, [&queries, &keys, &values], sizes);
    let context = g.linear(&context, &format!("{name}.self_attn.out_proj"));
    let x = g.add(x, &context);
    let x = g.layer_norm(&x, &format!("{name}.norm1"), EPSILON);
    let hidden = g.linear(&x, &format!("{name}.linear1"));
    let hidden = g.relu(&hidden);
    let hidden = g.linear(&hidden, &format!("{name}.linear2"));
    let x = g.add(&x, &hidden);
    g.layer_norm(&x, &format!("{name}.norm2"), EPSILON)
}

/// What the queries find, `[batch, queries, width]`, and their attention.
fn query(g: &mut Graph<'_>, x: &Value, name: &str, c: &BoqConfig, sizes: &BlockSizes) -> (Value, Value) {
    let kv = g.linear(x, &format!("{name}.cross_attn.kv"));
    let [keys, values] = g.split(&kv, [c.width; 2], 2);
    let queries = g.weight(&format!("{name}.query"));
    let queries = by_head(g, &queries, sizes);
    let (context, probabilities) = attend(g, [&queries, &keys, &values], sizes);
    let attended = g.sum(&probabilities, &[2], false);
    let attended = g.mean(&attended, 1, false);
    let out = g.linear(&context, &format!("{name}.cross_attn.out_proj"));
    (g.layer_norm(&out, &format!("{name}.norm_out"), EPSILON), attended)
}

/// Attention of queries by head to keys and values, heads concatenated, and its probabilities.
fn attend(g: &mut Graph<'_>, [queries, keys, values]: [&Value; 3], sizes: &BlockSizes) -> (Value, Value) {
    let queries = g.scale(queries, ((sizes.dim / sizes.heads) as f64).powf(-0.5));
    let (keys, values) = (by_head(g, keys, sizes), by_head(g, values, sizes));
    let keys = g.transpose(&keys, &[0, 1, 3, 2]);
    let scores = g.matmul(&queries, &keys);
    let probabilities = g.softmax(&scores);
    let context = g.matmul(&probabilities, &values);
    (joined(g, &context, sizes.dim), probabilities)
}
