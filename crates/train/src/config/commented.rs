//! A preset as a commented TOML file: every key with its meaning, unit and range.

use super::{Stage, TrainConfig};
use crate::{Result, TrainError};
use std::fmt::Write as _;

/// A key, an example of a value if the preset sets none, and the comment.
pub(crate) type Key = (&'static str, Option<&'static str>, &'static str);

/// Keys before the first section.
const TOP: &[Key] = &[
    ("name", None, "name of the resulting model"),
    ("stage", None, "the stage that this configuration is for"),
    ("seed", None, "of batches, views, augmentation and freshly initialised weights"),
    ("start", None, "a model file, or \"r2former-tiny\": the built-in model"),
    ("gradient_checkpointing", None, "recompute blocks in the backward pass: less memory, a third more time"),
];

/// The other sections, each with a comment.
const SECTIONS: &[(&str, &str, &[Key])] = &[
    (
        "model",
        "Changes to the start model.",
        &[
            ("image_size", Some("[320, 320]"), "height and width of the input, pixels; default: the model's"),
            ("global_dim", None, "dimensions of the global descriptor, if the model has no head"),
            ("local_dim", None, "dimensions of a local feature, if the model has no local head"),
            ("local_count", Some("200"), "local features per image, at most; default: the model's, else 500"),
            ("local_layer", Some("11"), "block after which local features are taken; default: the model's"),
            ("freeze_blocks", None, "first transformer blocks that stay frozen, with the patch embedding"),
            (
                "fresh_local_head",
                None,
                "stage local: replace the local head by a PCA of the backbone's tokens",
            ),
            ("freeze_local_head", None, "stages that train the reranker: leave the local head as it is"),
            (
                "precision",
                Some("\"bf16\""),
                "of matrix products: f32 or bf16 (for GPUs); default: the model's",
            ),
            ("fresh_reranker", None, "replace the reranker, and a local head that is not frozen"),
        ],
    ),
    (
        "model.reranker",
        "Sizes and inputs of a freshly initialised reranker.",
        &[
            ("dim", None, "token width; a multiple of 4 and of heads"),
            ("heads", None, "attention heads"),
            ("pair_depth", None, "blocks over a local feature's pairs; 0 averages the pairs"),
            ("depth", None, "blocks over all local features; 0 averages them"),
            ("mlp_ratio", None, "hidden width of the MLPs, times dim"),
            ("neighbours", None, "best matches per local feature, 1 to 64"),
            ("use_xy", None, "input: coordinates of both features"),
            ("use_attention", None, "input: attention values of both features"),
            ("use_correlation", None, "input: correlation of the two features"),
            ("use_position_embedding", None, "add sine-cosine position embeddings"),
            ("norm_eps", None, "epsilon of layer norms"),
        ],
    ),
    (
        "places",
        "When two photographs count as the same place.",
        &[
            ("positive_m", None, "same place: at most this many metres apart"),
            ("negative_m", None, "different places: more than this many metres apart; in between: ignored"),
            (
                "heading_deg",
                None,
                "same place: headings differ by at most this, degrees; 180 ignores headings",
            ),
        ],
    ),
    (
        "batch",
        "Batch composition.",
        &[
            ("kind", None, "triplets (query, positive, negatives), places (several photographs) or warps"),
            ("size", None, "queries, places or pairs of warps per batch"),
            ("negatives", None, "per query; of places: per photograph, for the reranker"),
            ("views", None, "photographs per place (kind = \"places\")"),
            (
                "hard_places",
                None,
                "share of places that are hard negatives of another, 0 to 1 (kind = \"places\")",
            ),
            ("horizontal_flip", None, "share of places flipped horizontally, 0 to 1 (kind = \"places\")"),
            ("accumulate", None, "batches per optimiser step; a multiple of the number of devices"),
            (
                "cached_views",
                None,
                "stage rerank: views per photograph extracted once per epoch; 0: in every step",
            ),
            ("same_photo", None, "share of queries whose positive is another view of their own photograph"),
        ],
    ),
    (
        "warp",
        "Stage local: the random homography between the two pictures of a pair.",
        &[
            ("zoom", None, "smallest and largest magnification"),
            ("shift", None, "largest shift along each axis, share of the side"),
            ("rotation_deg", None, "largest rotation, degrees"),
            ("aspect", None, "largest change of the aspect ratio, as its logarithm"),
            ("corners", None, "largest shift of each corner by itself, share of the side, 0 to 0.4"),
        ],
    ),
    (
        "mining",
        "Negative mining.",
        &[
            ("kind", None, "random, partial, full, global or msls_weighted"),
            ("positive", None, "of a triplet: nearest (by descriptor) or any"),
            ("pool", None, "partial, full: photographs in the random pool"),
            ("refresh", None, "partial, full: queries between two mining passes"),
            ("depth", None, "global: nearest neighbours searched per query"),
            ("hard_negatives", None, "global: hardest negatives per query to draw from"),
            ("import", Some("\"hard.npy\""), "global: negatives mined elsewhere, one row per query"),
        ],
    ),
    (
        "loss",
        "The loss.",
        &[
            ("global", None, "triplet, triplet_squared or multi_similarity (batches of places)"),
            ("margin", None, "of the triplet losses, in descriptor distance (0 to 2)"),
            ("multi_similarity", None, "alpha, beta, lambda, epsilon"),
            ("global_weight", None, "weight of the global loss"),
            ("rerank_weight", None, "weight of the reranker's loss"),
            ("ranking_loss_weight", None, "weight of RankNet beside the reranker's cross-entropy; 0: off"),
            ("max_pairs", None, "pairs per batch for the reranker, at most; 0: all"),
            ("detach_local", None, "stop the reranker's gradient before the backbone"),
            ("temperature", None, "stage local: of the contrastive loss over patches"),
            ("distillation_weight", None, "stage local: weight of keeping the start model's tokens; 0: off"),
        ],
    ),
    (
        "optimizer",
        "The optimiser.",
        &[
            ("kind", None, "adam, adamw or sgd"),
            ("lr", None, "learning rate after warm-up"),
            ("backbone_lr_scale", None, "factor on the backbone's learning rate"),
            ("weight_decay", None, "not applied to norms and biases"),
            ("betas", None, "Adam's beta1 and beta2; the first is SGD's momentum"),
            ("clip", None, "largest gradient norm; 0: no clipping"),
            ("ema_decay", None, "decay of the moving average of the weights, as 0.99; 0: no average"),
        ],
    ),
    (
        "schedule",
        "Duration and learning rate. The run takes epochs x steps steps; `train` estimates the time before step 1.",
        &[
            ("epochs", None, "validation and a checkpoint after each"),
            ("steps", None, "optimiser steps per epoch; one pass: photographs / (batch.size x accumulate)"),
            ("warmup", None, "epochs of linear warm-up; may be a fraction"),
            ("kind", None, "constant, cosine (per epoch) or cosine_steps (per step)"),
            ("patience", None, "stop after this many validations without a better recall; 0: never"),
        ],
    ),
    (
        "augment",
        "Augmentation: the probability of each, 0 to 1, and its strength.",
        &[
            ("crop", None, "probability of a random crop"),
            ("crop_area", None, "smallest share of the area that a crop keeps, 0.05 to 1"),
            ("crop_ratio", None, "largest change of the aspect ratio, 1 to 4"),
            ("perspective", None, "probability of a perspective distortion"),
            ("perspective_shift", None, "largest shift of a corner, share of the side, 0 to 0.4"),
            ("colour", None, "probability of colour jitter"),
            (
                "colour_strength",
                None,
                "largest change of brightness, contrast and saturation: 0.4 is +/- 40 %",
            ),
            ("grey", None, "probability of conversion to greyscale"),
            ("night", None, "probability of a night simulation"),
            ("blur", None, "probability of Gaussian blur"),
            ("blur_radius", None, "largest standard deviation of the blur, pixels, 0 to 20"),
            ("noise", None, "probability of Gaussian noise"),
            ("noise_strength", None, "largest standard deviation of the noise, where white is 1"),
            ("erase", None, "probability of erasing a rectangle"),
            ("erase_area", None, "largest share of the area erased"),
            ("shadow", None, "probability of a shadow"),
            ("haze", None, "probability of haze"),
            ("snow", None, "probability of snow"),
            ("rain", None, "probability of rain"),
            ("low_resolution", None, "probability of a low resolution"),
            ("jpeg", None, "probability of strong JPEG compression"),
            ("fisheye", None, "probability of a fisheye lens's distortion"),
        ],
    ),
    (
        "checkpoint",
        "Checkpoints, for --resume.",
        &[
            ("every", None, "steps between checkpoints, besides one after each epoch; 0: none"),
            ("epochs", None, "past epochs whose checkpoints are kept, besides the latest"),
        ],
    ),
];

/// The section of sources, which no preset can fill in.
const SOURCES: &str = "\
# Training photographs: one or more [[data]] sections.
# [[data]]
# kind = \"photos\"               # photos, pairs, panoramas, vg, msls, folders, matches, gsv-cities or town
# path = \"photos.csv\"           # relative to this file
# weight = 1.0                  # how often places are drawn from here, relative to other sources
";

/// The section of the validation, up to the keys of [`VALIDATION`].
const VALIDATED: &str = "\
# Validation before step 1 and after epochs; without it, best.safetensors is the last model.
# [validation]
# kind = \"photos\"               # any dataset that `r2former eval` reads
# database = \"database.csv\"
# queries = \"queries.csv\"
";

/// The section of the validation as an example.
pub(crate) fn validation_example() -> String {
    let mut text = VALIDATED.to_owned();
    write_keys(&mut text, &toml::Table::new(), VALIDATION);
    text
}

/// Column at which comments begin.
const COLUMN: usize = 31;

impl TrainConfig {
    /// A stage's preset as a TOML file in which every key has a comment with its meaning and unit. With a `[[data]]`
    /// section it is a configuration that [`TrainConfig::read`] reads.
    ///
    /// # Errors
    /// [`TrainError::Config`]; never in practice.
    pub fn commented_preset(stage: Stage) -> Result<String> {
        let head = format!(
            "# Preset of stage {}. A configuration needs only the keys that it changes, and [[data]].\n",
            stage.name()
        );
        Self::preset(stage).commented(&head, &format!("{SOURCES}\n{}", validation_example()))
    }

    /// Every key of a configuration with a comment, below `head`; `data` are the sections [[data]] and [validation].
    pub(crate) fn commented(&self, head: &str, data: &str) -> Result<String> {
        let all = toml::Table::try_from(self).map_err(|e| TrainError::Config(e.to_string()))?;
        let mut text = format!("{head}\n");
        write_keys(&mut text, &all, TOP);
        text.push('\n');
        text.push_str(data);
        for (section, about, keys) in SECTIONS {
            let table = section.split('.').try_fold(&all, |table, name| table.get(name)?.as_table());
            let Some(table) = table else { continue };
            // Writing to a string cannot fail.
            let _ = write!(text, "\n# {about}\n[{section}]\n");
            write_keys(&mut text, table, keys);
        }
        Ok(text)
    }
}

/// Keys of a validation section besides those of its dataset.
pub(crate) const VALIDATION: &[Key] = &[
    ("radius_m", Some("25.0"), "a reference at most this many metres away is a positive"),
    ("candidates", Some("100"), "candidates per query that are reranked"),
    (
        "part",
        Some("[0.0, 1.0]"),
        "shares of the queries in the order of their names: [0.5, 1.0] is the second half",
    ),
    ("max_queries", Some("0"), "evenly sampled; 0: all"),
    ("best_by", Some("5"), "N of the recall@N that selects the best model"),
    ("every_epochs", Some("1"), "epochs between validations"),
];

/// One line `key = value  # comment` per key; without a value, an example that is commented out.
pub(crate) fn write_keys(text: &mut String, table: &toml::Table, keys: &[Key]) {
    for (key, example, meaning) in keys {
        let line = match (table.get(*key), example) {
            (Some(toml::Value::Float(small)), _) if *small != 0.0 && small.abs() < 1e-3 => {
                format!("{key} = {small:e}")
            }
            (Some(value), _) => format!("{key} = {value}"),
            (None, Some(example)) => format!("# {key} = {example}"),
            (None, None) => continue,
        };
        let _ = writeln!(text, "{line:<COLUMN$} # {meaning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dotted names of all values of a table, tables within excepted.
    fn keys(table: &toml::Table, prefix: &str, all: &mut Vec<String>) {
        for (name, value) in table {
            let name = format!("{prefix}{name}");
            match value {
                toml::Value::Table(inner) => keys(inner, &format!("{name}."), all),
                _ => all.push(name),
            }
        }
    }

    #[test]
    fn a_commented_preset_is_the_preset() {
        for stage in Stage::ALL {
            let text = TrainConfig::commented_preset(stage).unwrap();
            let table: toml::Table = text.parse().unwrap();
            assert_eq!(TrainConfig::over(stage, table.clone()).unwrap(), TrainConfig::preset(stage));
            // Nothing is missing, and every line with a key says what it means.
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            keys(&table, "", &mut found);
            keys(&toml::Table::try_from(TrainConfig::preset(stage)).unwrap(), "", &mut expected);
            expected.retain(|key| key != "data");
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
            for line in text.lines().filter(|line| line.contains(" = ")) {
                let comment =
                    line.trim_start_matches("# ").split_once('#').map_or("", |(_, comment)| comment);
                let example = SOURCES.contains(line) || VALIDATED.contains(line);
                assert!(example || comment.len() > 8, "{stage:?}: {line}");
                assert!(line.len() <= 120, "{line}");
            }
        }
    }

    #[test]
    fn commented_examples_are_valid() {
        let text = TrainConfig::commented_preset(Stage::Rerank).unwrap();
        // The examples of keys and of [[data]] and [validation], each without its first '#'.
        let lines = text.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with('[')
                    || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                rest
            }
            _ => line,
        });
        let table: toml::Table = lines.collect::<Vec<_>>().join("\n").parse().unwrap();
        let config = TrainConfig::over(Stage::Rerank, table).unwrap();
        config.check().unwrap();
        assert!(config.validation.is_some() && config.mining.import.is_some());
        assert_eq!(config.model.image_size, Some([320, 320]));
    }
}
