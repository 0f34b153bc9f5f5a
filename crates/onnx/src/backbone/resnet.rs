//! ResNets of every depth.

use super::{Grid, Image, LocalTokens, Tokens};
use crate::graph::{Graph, Value};
use crate::sizes::Size;
use r2former_model::ResNetConfig;

pub(super) fn resnet(g: &mut Graph<'_>, config: &ResNetConfig, image: &Image, local: bool) -> Tokens {
    let stem = conv_norm(g, &image.pixels, ["backbone.conv1", "backbone.bn1"], [7, 2], config.norm_eps);
    let stem = g.relu(&stem);
    let mut x = g.max_pool(&stem, [3, 2, 1]);
    let mut layer3 = x.clone();
    let mut d_in = 64;
    for (layer, count) in config.blocks().unwrap_or_default().iter().enumerate() {
        let d_out = config.width(layer + 1);
        for i in 0..*count {
            let stride = if i == 0 && layer > 0 { 2 } else { 1 };
            let name = format!("backbone.layer{}.{i}", layer + 1);
            let shortcut = stride != 1 || d_in != d_out;
            x = g.within(&name, |g| block(g, &x, &name, config, stride, shortcut));
            d_in = d_out;
        }
        if layer == 2 {
            layer3 = x.clone();
        }
    }
    // The first convolution, the pooling and every stage but the first halve the map; odd sides are rounded up.
    let step = 2 << config.stages;
    let [rows, columns] = [(&image.height, 2), (&image.width, 3)].map(|(side, axis)| match side {
        Size::Known(side) => Size::Known((side + step - 1) / step),
        Size::Computed(_) => g.size_of(&x, axis),
    });
    Tokens {
        last: g.as_tokens(&x),
        grid: Grid { prefix: 0, rows, columns },
        local: local.then(|| LocalTokens {
            tokens: g.as_tokens(&layer3),
            prefix: 0,
            facets: None,
            attention: None,
        }),
    }
}

fn conv_norm(
    g: &mut Graph<'_>,
    x: &Value,
    [conv, norm]: [&str; 2],
    [side, stride]: [usize; 2],
    epsilon: f64,
) -> Value {
    let x = g.conv(x, conv, side, stride, false);
    g.batch_norm(&x, norm, epsilon)
}

fn block(
    g: &mut Graph<'_>,
    x: &Value,
    name: &str,
    config: &ResNetConfig,
    stride: usize,
    shortcut: bool,
) -> Value {
    let (kernels, epsilon) = (config.kernels(), config.norm_eps);
    let strided = kernels.iter().position(|side| *side == 3);
    let mut y = x.clone();
    for (i, side) in kernels.iter().enumerate() {
        if i > 0 {
            y = g.relu(&y);
        }
        let names = [format!("{name}.conv{}", i + 1), format!("{name}.bn{}", i + 1)];
        let stride = if Some(i) == strided { stride } else { 1 };
        y = conv_norm(g, &y, names.each_ref().map(String::as_str), [*side, stride], epsilon);
    }
    let shortcut = match shortcut {
        true => {
            let names = [format!("{name}.downsample.0"), format!("{name}.downsample.1")];
            conv_norm(g, x, names.each_ref().map(String::as_str), [1, stride], epsilon)
        }
        false => x.clone(),
    };
    let sum = g.add(&y, &shortcut);
    g.relu(&sum)
}
