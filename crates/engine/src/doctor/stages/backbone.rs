//! Pixels to tokens, one block of them, and its attention.

use super::{cases, counted};
use crate::Result;
use crate::doctor::inputs::{images, tokens};
use crate::doctor::{Array, BackboneOutput, Comparison, Kind, Setup, Stage, deviation};
use r2former_model::{ModelConfig, Precision};

/// The whole backbone. Twelve blocks add up what each rounds.
pub(super) struct PixelsToTokens;

/// Sides of images in steps of the model; 0 is the model's own size.
const IMAGES: &[(Kind, usize, usize)] = &[
    (Kind::PhotoLike, 2, 6),
    (Kind::Random, 1, 0),
    (Kind::PhotoLike, 1, 0),
    (Kind::PhotoLike, 2, 0),
    (Kind::PhotoLike, 7, 6),
    (Kind::Random, 100, 2),
];

impl Stage for PixelsToTokens {
    fn name(&self) -> &'static str {
        "pixels to tokens"
    }

    fn has_precision(&self) -> bool {
        true
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        let config = &setup.loaded.config;
        let tolerance = if setup.precision == Precision::F32 { 2e-3 } else { 0.15 };
        let compare = |(seed, (kind, batch, side)): (usize, &(Kind, usize, usize))| {
            let [height, width] = size(config, *side);
            let images = images(config, *kind, *batch, [height, width], 11 + seed as u64);
            let input = format!("{kind}, {} of {height}x{width}", counted(*batch, "image"));
            setup.compare(input, tolerance, |compute| compute.tokens(&images), apart)
        };
        cases(setup.extent, IMAGES, 1).iter().enumerate().map(compare).collect()
    }
}

/// Height and width of a number of steps that the model takes; its own for 0.
fn size(config: &ModelConfig, steps: usize) -> [usize; 2] {
    // Convolutional networks without local features take every size.
    let step = match config.size_step() {
        1 => config.stride(),
        step => step,
    };
    match steps {
        _ if config.fixed_size().is_some() => [config.input.height, config.input.width],
        0 => [config.input.height, config.input.width],
        // ResNet halves its last map once more, so both sides have an even number of patches.
        _ => [steps * step, steps.next_multiple_of(2) * step],
    }
}

fn apart(found: &BackboneOutput, expected: &BackboneOutput) -> f32 {
    // The kernels leave out final tokens that nobody reads.
    let [batch, all, width] = crate::doctor::plain::axes(&expected.last);
    let kept = found.last.row_len() / width.max(1);
    let first = expected.last.rows().flat_map(|row| &row[..(kept * width).min(row.len())]).copied();
    let last: Vec<f32> = first.collect();
    let whole = found.last.dims.first() == Some(&batch) && kept <= all;
    let attention = match (&found.attention, &expected.attention) {
        (Some(found), Some(expected)) => deviation(&found.values, &expected.values),
        (None, None) => 0.0,
        _ => f32::INFINITY,
    };
    let parts = [
        if whole { deviation(&found.last.values, &last) } else { f32::INFINITY },
        deviation(&found.local.values, &expected.local.values),
        attention,
    ];
    parts.into_iter().fold(0.0, f32::max)
}

/// The output of the last block.
pub(super) struct BlockStage;

/// What its class tokens attend to.
pub(super) struct AttentionStage;

/// Tokens of a sequence.
const SEQUENCES: &[(Kind, usize, usize)] = &[
    (Kind::PhotoLike, 2, 197),
    (Kind::Random, 1, 401),
    (Kind::Random, 2, 64),
    (Kind::PhotoLike, 7, 50),
    (Kind::Random, 100, 6),
];

impl Stage for BlockStage {
    fn name(&self) -> &'static str {
        "block"
    }

    fn has_precision(&self) -> bool {
        true
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        over_sequences(setup, 0, if setup.precision == Precision::F32 { 5e-4 } else { 0.03 })
    }
}

impl Stage for AttentionStage {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn has_precision(&self) -> bool {
        true
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        over_sequences(setup, 1, if setup.precision == Precision::F32 { 5e-4 } else { 0.05 })
    }
}

/// Part 0 is the block's output, part 1 its attention.
fn over_sequences(setup: &Setup<'_>, part: usize, tolerance: f32) -> Result<Vec<Comparison>> {
    let width = setup.loaded.config.backbone_dim();
    let mut found = Vec::new();
    for (seed, (kind, batch, count)) in cases(setup.extent, SEQUENCES, 1).iter().enumerate() {
        let sequences = tokens(*kind, [*batch, *count, width], 21 + seed as u64);
        if seed == 0 && setup.reference.block(&sequences)?.is_none() {
            return Ok(found);
        }
        let input = format!("{kind}, {} of {count} tokens", counted(*batch, "sequence"));
        let run = |compute: &dyn crate::doctor::Compute| compute.block(&sequences);
        let apart = |found: &Option<[Array; 2]>, expected: &Option<[Array; 2]>| match (found, expected) {
            (Some(found), Some(expected)) => deviation(&found[part].values, &expected[part].values),
            _ => f32::INFINITY,
        };
        found.push(setup.compare(input, tolerance, run, apart)?);
    }
    Ok(found)
}
