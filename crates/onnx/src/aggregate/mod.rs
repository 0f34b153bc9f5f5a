//! From tokens to the descriptor before its last normalisation.

mod boq;
mod crica;
mod gem;
mod mixvpr;
mod salad;
mod vlad;

use crate::backbone::Tokens;
use crate::graph::{Graph, Value};
use crate::local::projected;
use r2former_model::aggregate::NAME;
use r2former_model::{BackboneConfig, GlobalConfig, ModelConfig, Pooling};

/// The descriptor `[batch, dim]`, of unit length, and the weight of each patch in an aggregation, `[batch, patches]`.
pub(crate) fn global(g: &mut Graph<'_>, config: &ModelConfig, tokens: &Tokens) -> (Value, Option<Value>) {
    let (descriptor, weights) = g.within("global", |g| {
        let (patches, grid) = (patches(g, tokens), &tokens.grid);
        let plain = |descriptor: Value| (descriptor, None);
        match &config.global {
            GlobalConfig::Linear { .. } | GlobalConfig::Pooled { .. } => plain(head(g, config, tokens)),
            GlobalConfig::Salad(c) => {
                let token = first(g, &tokens.last);
                let (descriptor, used) = salad::salad(g, c, &patches, &token, grid);
                (descriptor, Some(used))
            }
            GlobalConfig::Boq(c) => {
                let (descriptor, attention) = boq::boq(g, c, &patches, grid);
                (descriptor, Some(attention))
            }
            GlobalConfig::MixVpr(c) => plain(mixvpr::mixvpr(g, c, &patches)),
            GlobalConfig::NetVlad(c) => plain(vlad::netvlad(g, c, &patches)),
            GlobalConfig::LocalVlad(c) => {
                let features = projected(g, config, tokens).unwrap_or(patches);
                plain(vlad::local_vlad(g, c, &features))
            }
            GlobalConfig::Vlad(c) => plain(vlad::vlad(g, c, &patches)),
            GlobalConfig::Gem(c) => plain(gem::gem(g, c, &patches)),
            GlobalConfig::Crica(c) => {
                let token = g.slice(&tokens.last, 1, 0, Some(1));
                plain(crica::crica(g, c, &patches, &token, config.backbone_dim()))
            }
        }
    });
    (g.unit(&descriptor), weights)
}

/// The tokens after the prefix.
fn patches(g: &mut Graph<'_>, tokens: &Tokens) -> Value {
    g.after(&tokens.last, tokens.grid.prefix)
}

/// The first token, `[batch, width]`.
fn first(g: &mut Graph<'_>, tokens: &Value) -> Value {
    let token = g.slice(tokens, 1, 0, Some(1));
    g.squeeze(&token, 1)
}

/// Pooled tokens, by the linear heads of the model if it has some.
fn head(g: &mut Graph<'_>, config: &ModelConfig, tokens: &Tokens) -> Value {
    let linear = matches!(config.global, GlobalConfig::Linear { .. });
    if linear
        && let BackboneConfig::Vit(vit) = &config.backbone
        && vit.distilled
    {
        let token = first(g, &tokens.last);
        let dist = g.slice(&tokens.last, 1, 1, Some(2));
        let dist = g.squeeze(&dist, 1);
        let (token, dist) = (g.linear(&token, "head"), g.linear(&dist, "head_dist"));
        let sum = g.add(&token, &dist);
        return g.scale(&sum, 0.5);
    }
    let pooled = pooled(g, config, tokens);
    if linear { g.linear(&pooled, "head") } else { pooled }
}

fn pooled(g: &mut Graph<'_>, config: &ModelConfig, tokens: &Tokens) -> Value {
    let (GlobalConfig::Pooled { pooling } | GlobalConfig::Linear { pooling, .. }) = &config.global else {
        return first(g, &tokens.last);
    };
    let linear = matches!(config.global, GlobalConfig::Linear { .. });
    if linear && config.backbone.is_convolutional() {
        let patches = patches(g, tokens);
        let patches = g.unit(&patches);
        return g.gem(&patches, Some("gem.p"));
    }
    match pooling {
        Pooling::Cls => first(g, &tokens.last),
        Pooling::Mean => {
            let patches = patches(g, tokens);
            g.mean(&patches, 1, false)
        }
        Pooling::Gem => {
            let patches = patches(g, tokens);
            g.gem(&patches, None)
        }
    }
}

/// The name of a part of the aggregation.
fn part(name: &str) -> String {
    format!("{NAME}.{name}")
}
