//! Local features: the patches of the highest weight, as rows of x, y, attention and feature.

use crate::backbone::{Grid, Image, LocalTokens, Tokens};
use crate::graph::{Graph, Value, float, text};
use crate::proto::FLOAT;
use crate::sizes::{REST, Size};
use r2former_model::{GlobalConfig, LocalConfig, ModelConfig, Selection};

/// `[batch, count, 3 + dim]`, by descending attention; `aggregated` is the weight of each patch in the aggregation.
pub(crate) fn local(
    g: &mut Graph<'_>,
    config: &ModelConfig,
    local: &LocalConfig,
    image: &Image,
    tokens: &Tokens,
    aggregated: Option<&Value>,
) -> Option<Value> {
    let taken = tokens.local.as_ref()?;
    Some(g.within("local", |g| {
        let stride = config.stride();
        let [rows, columns] = [&image.height, &image.width].map(|side| g.size_div(side, stride));
        let weights = weights(g, config, local, tokens, taken, aggregated);
        let patches = g.size_mul(&rows, &columns);
        let count = g.size_min(&patches, &local.count.into());
        let [values, numbers] = g.topk(&weights, &count);
        let x = place(g, "Mod", &numbers, &columns, image, stride);
        let y = place(g, "Div", &numbers, &columns, image, stride);
        let attention = attention(g, local, &values);
        let described = described(local, taken);
        let numbers = match (local.official_gather, taken.prefix) {
            (true, _) | (_, 0) => numbers,
            (_, prefix) => {
                let prefix = g.ints(&[prefix as i64]);
                g.add(&numbers, &prefix)
            }
        };
        let mut features = g.rows(&described, &numbers);
        if local.projected {
            features = g.linear(&features, "local_head");
        }
        let [x, y, attention] = [x, y, attention].map(|column| g.unsqueeze(&column, 2));
        if local.min_attention.is_some() {
            let kept = g.above(&attention, 0.0);
            features = g.mul(&features, &kept);
        }
        g.concat(&[&x, &y, &attention, &features], 2)
    }))
}

/// The local features of all patches, `[batch, patches, dim]`; `None` for a model without them.
pub(crate) fn projected(g: &mut Graph<'_>, config: &ModelConfig, tokens: &Tokens) -> Option<Value> {
    let (local, taken) = (config.local.as_ref()?, tokens.local.as_ref()?);
    let described = described(local, taken);
    // The published gather is shifted by the prefix: it loses the last patches instead.
    let patches = match local.official_gather {
        true => g.without_last(&described, taken.prefix),
        false => g.after(&described, taken.prefix),
    };
    Some(if local.projected { g.linear(&patches, "local_head") } else { patches })
}

/// What the local head projects of every token.
fn described(local: &LocalConfig, taken: &LocalTokens) -> Value {
    match (local.facet.part(), &taken.facets) {
        (Some(part), Some(facets)) => facets[part].clone(),
        _ => taken.tokens.clone(),
    }
}

/// What patches are ranked by, `[batch, patches]`.
fn weights(
    g: &mut Graph<'_>,
    config: &ModelConfig,
    local: &LocalConfig,
    tokens: &Tokens,
    taken: &LocalTokens,
    aggregated: Option<&Value>,
) -> Value {
    match (local.select, aggregated, &taken.attention, &taken.facets) {
        (Selection::Aggregation, Some(weights), ..) => weights.clone(),
        (Selection::ClsKey, _, _, Some([queries, keys, _])) => {
            let key = g.slice(keys, 1, 0, Some(1));
            let key = g.transpose(&key, &[0, 2, 1]);
            let queries = g.after(queries, taken.prefix);
            let scores = g.matmul(&queries, &key);
            let scores = g.scale(&scores, (config.backbone_dim() as f64).powf(-0.5));
            let scores = g.squeeze(&scores, 2);
            g.softmax(&scores)
        }
        (Selection::Norm, ..) => {
            let described = g.after(&described(local, taken), taken.prefix);
            let lengths = g.length(&described);
            g.squeeze(&lengths, 2)
        }
        (_, _, Some(attention), _) => attention.clone(),
        _ => activations(g, config, &tokens.last, &tokens.grid),
    }
}

/// The attention map of a ResNet: each cell's positive activations of the global head, upsampled bicubically from stride 32
/// to 16.
fn activations(g: &mut Graph<'_>, config: &ModelConfig, last: &Value, grid: &Grid) -> Value {
    let features = g.unit(last);
    let mut features = g.clamp_min(&features, 1e-6);
    if matches!(config.global, GlobalConfig::Linear { .. }) {
        features = g.linear_without_bias(&features, "head");
    }
    let positive = g.clamp_min(&features, 1e-6);
    let map = g.sum(&positive, &[2], false);
    let map = g.reshape(&map, &[REST, 1.into(), grid.rows.clone(), grid.columns.clone()]);
    let (empty, scales) = (Value::named(""), g.floats(&[4], &[1.0, 1.0, 2.0, 2.0]));
    let attributes = vec![
        text("mode", "cubic"),
        text("coordinate_transformation_mode", "half_pixel"),
        float("cubic_coeff_a", -0.75),
    ];
    let map = g.node("Resize", &[&map, &empty, &scales], attributes);
    g.node("Flatten", &[&map], Vec::new())
}

/// The place of patches along an axis, by `Mod` (x) or `Div` (y) of their numbers with the columns: the centre, divided by
/// the image's longer side.
fn place(
    g: &mut Graph<'_>,
    op: &str,
    numbers: &Value,
    columns: &Size,
    image: &Image,
    stride: usize,
) -> Value {
    let columns = g.size_value(columns);
    let cells = g.node(op, &[numbers, &columns], Vec::new());
    let cells = g.cast(&cells, FLOAT);
    let centres = g.scale(&cells, stride as f64);
    let centres = g.with_number("Add", &centres, stride as f64 / 2.0);
    let longer = g.size_max(&image.height, &image.width);
    let longer = g.number(&longer);
    g.with_number("Div", &centres, longer)
}

/// Weights in descending order, divided by the largest; by one if none has any.
fn attention(g: &mut Graph<'_>, local: &LocalConfig, values: &Value) -> Value {
    let largest = g.slice(values, 1, 0, Some(1));
    let none = g.with_number("Equal", &largest, 0.0);
    let one = g.floats(&[1], &[1.0]);
    let largest = g.node("Where", &[&none, &one, &largest], Vec::new());
    let attention = g.div(values, &largest);
    match local.min_attention {
        Some(least) => {
            let kept = g.above(values, least.into());
            g.mul(&attention, &kept)
        }
        None => attention,
    }
}
