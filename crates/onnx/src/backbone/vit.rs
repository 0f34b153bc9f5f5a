//! Vision transformers: DeiT, timm ViT, DINOv2, DINOv3, and the adapters of some.

use super::position::position;
use super::rope::rope;
use super::{Grid, Image, LocalTokens, Tokens, local_needs};
use crate::adapter;
use crate::block::{BlockSizes, Extras, block, probabilities, qkv};
use crate::graph::{Graph, Value};
use r2former_model::{AdapterConfig, ModelConfig, VitConfig};

pub(super) fn vit(
    g: &mut Graph<'_>,
    config: &ModelConfig,
    c: &VitConfig,
    image: &Image,
    local: bool,
) -> Tokens {
    let [rows, columns] = [&image.height, &image.width].map(|side| g.size_div(side, c.patch));
    let grid = Grid { prefix: c.prefix_tokens(), rows, columns };
    let mut x = embed(g, c, image, &grid);
    let rope = (!c.rotary.is_empty()).then(|| g.within("rope", |g| rope(g, &c.rotary, &grid)));
    let sizes = BlockSizes {
        dim: c.dim,
        heads: c.heads,
        gated: c.swiglu,
        layer_scale: c.layer_scale,
        epsilon: c.norm_eps,
    };
    let side_from = match c.adapters {
        Some(AdapterConfig::Side { count, .. }) => Some(c.depth.saturating_sub(count)),
        _ => None,
    };
    let layer = config.local.as_ref().map(|local| c.local_layer(local.layer));
    let (wants_facets, wants_attention) = local_needs(config);
    let mut taken = None;
    // The path of adapters beside the last blocks, whose end takes the place of theirs.
    let mut side: Option<Value> = None;
    for index in 0..c.depth {
        let name = format!("backbone.blocks.{index}");
        let last = index + 1 == c.depth;
        x = g.within(&format!("blocks.{index}"), |g| {
            if Some(index) == side_from {
                side = Some(x.clone());
            }
            let parts = qkv(g, &x, &name, &sizes);
            if local && Some(index) == layer {
                let facets = wants_facets.then(|| parts.clone());
                taken = Some(LocalTokens { tokens: x.clone(), prefix: grid.prefix, facets, attention: None });
            }
            let wanted = last && local && wants_attention;
            let (out, attended) = if last && c.values {
                let [queries, keys, values] = parts;
                let attended = wanted.then(|| probabilities(g, [&queries, &keys], &sizes, rope.as_ref()));
                (values, attended)
            } else {
                let extras = extras(c, &name, rope.as_ref(), &grid);
                let out = block(g, &x, &name, &sizes, &parts, &extras);
                (out.tokens, wanted.then_some(out.probabilities))
            };
            if let (Some(taken), Some(attended)) = (&mut taken, attended) {
                taken.attention = Some(attention(g, &attended, c));
            }
            out
        });
        if let (Some(path), Some(from)) = (&side, side_from) {
            let name = format!("backbone.adapters.{}", index - from);
            let sum = g.add(path, &x);
            let more = adapter::convolutions(g, &sum, &name, &grid);
            side = Some(g.add(path, &more));
        }
    }
    let mut last = side.unwrap_or(x);
    if c.final_norm {
        last = g.layer_norm(&last, "backbone.norm", c.norm_eps);
    }
    Tokens { last, grid, local: taken }
}

fn extras<'x>(c: &VitConfig, name: &str, rope: Option<&'x [Value; 2]>, grid: &'x Grid) -> Extras<'x> {
    let (serial, parallel) = match c.adapters {
        Some(AdapterConfig::Linear { .. }) => {
            (Some(format!("{name}.adapter1")), Some((format!("{name}.adapter2"), false)))
        }
        Some(AdapterConfig::Parallel { .. }) => (None, Some((format!("{name}.adapter"), true))),
        _ => (None, None),
    };
    Extras { rope, serial, parallel, grid: Some(grid), first_only: false }
}

/// The attention of the class tokens to the patches, summed over heads and class tokens.
fn attention(g: &mut Graph<'_>, probabilities: &Value, c: &VitConfig) -> Value {
    let rows = g.slice(probabilities, 2, 0, Some(c.class_tokens()));
    let sum = g.sum(&rows, &[1, 2], false);
    g.slice(&sum, 1, c.prefix_tokens(), None)
}

/// The input of the first block.
fn embed(g: &mut Graph<'_>, c: &VitConfig, image: &Image, grid: &Grid) -> Value {
    let map = g.conv_padded(&image.pixels, "backbone.patch_embed.proj", [c.patch, c.patch, 0], true);
    let mut patches = g.as_tokens(&map);
    let mut prefix = g.read("backbone.cls_token").to_vec();
    if c.distilled {
        prefix.extend(g.read("backbone.dist_token"));
    }
    if c.rotary.is_empty() {
        let places = g.read("backbone.pos_embed");
        prefix.iter_mut().zip(places).for_each(|(value, place)| *value += place);
        let places = g.within("position", |g| position(g, c, grid));
        patches = g.add(&patches, &places);
    }
    if c.registers > 0 {
        prefix.extend(g.read("backbone.register_tokens"));
    }
    let prefix = g.computed_weight("backbone.prefix_tokens", vec![1, grid.prefix, c.dim], prefix);
    let prefix = g.expand(&prefix, &[image.batch.clone(), 1.into(), 1.into()]);
    g.concat(&[&prefix, &patches], 1)
}
