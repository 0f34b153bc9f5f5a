//! VGG16 up to `conv5_3` without its ReLU.

use super::{Grid, Image, LocalTokens, Tokens};
use crate::graph::Graph;
use r2former_model::config::{VGG16, vgg_pools_before};

pub(super) fn vgg16(g: &mut Graph<'_>, image: &Image, local: bool) -> Tokens {
    let mut x = image.pixels.clone();
    for (i, (index, ..)) in VGG16.into_iter().enumerate() {
        if i > 0 {
            x = g.relu(&x);
        }
        if vgg_pools_before(index) {
            x = g.max_pool(&x, [2, 2, 0]);
        }
        x = g.conv(&x, &format!("backbone.{index}"), 3, 1, true);
    }
    let last = g.as_tokens(&x);
    let [rows, columns] = [&image.height, &image.width].map(|side| g.size_div(side, 16));
    let local = local.then(|| LocalTokens { tokens: last.clone(), prefix: 0, facets: None, attention: None });
    Tokens { last, grid: Grid { prefix: 0, rows, columns }, local }
}
