//! What a file says about its inputs and outputs: `metadata_props` and the texts of inputs and outputs.

use crate::export::{ExportOptions, InputRange};
use r2former_model::checkpoint::Checkpoint;
use r2former_model::{Fit, GlobalConfig, ImageSize, ModelConfig, ResizeMode, SizeRule};

/// Of the output `descriptor`.
pub(crate) const DESCRIPTOR: &str = "Global descriptors of unit length: the dot product of two is their similarity, and the nearest are the candidates.";
/// Of the output `local` and the inputs of the reranker.
pub(crate) const LOCAL: &str = "Local features by descending attention, a row each: x and y of the patch's centre divided by the image's longer side, \
     attention divided by the image's largest, and the feature (not normalised).";
/// Of the reranker's first output.
pub(crate) const LOGITS: &str = "For each reference: different place, same place.";
/// Of its second output.
pub(crate) const SCORES: &str =
    "For each reference the softmax of its logits at \"same place\", by which references are reranked.";

/// What has to be done to a photograph, in words.
pub(crate) fn preprocessing(config: &ModelConfig, input: InputRange, size: Option<[usize; 2]>) -> String {
    let input_size = size.map_or(config.input.image_size(), ImageSize::Fixed);
    let step = match (input_size, config.size_step()) {
        (ImageSize::Rule(SizeRule { fit: Fit::Resize, .. }), step @ 2..) => {
            format!(" to multiples of {step}")
        }
        _ => String::new(),
    };
    let filter = match config.input.resize {
        ResizeMode::Direct => "by a bilinear filter without antialiasing, after the normalisation",
        ResizeMode::Antialias => "by a bilinear filter with antialiasing on 8-bit pixels (PIL's BILINEAR)",
        ResizeMode::AntialiasBicubic => {
            "by a bicubic filter with antialiasing on 8-bit pixels (PIL's BICUBIC)"
        }
        ResizeMode::TensorBilinear => {
            "by a bilinear filter with antialiasing on floats (torchvision's Resize of a tensor)"
        }
        ResizeMode::TensorBicubic => {
            "by a bicubic filter with antialiasing on floats (torchvision's Resize of a tensor)"
        }
    };
    let range = match input {
        InputRange::Normalised => format!(
            "divided by 255, less the mean {:?}, divided by the standard deviation {:?}",
            config.input.mean, config.input.std
        ),
        InputRange::Pixels => "from 0 to 255".into(),
    };
    format!(
        "RGB photographs, turned upright, of {}, resized{step} {filter}; pixels {range}; channels, rows, columns.",
        input_size.described()
    )
}

/// Of the graph of descriptors; `preprocessing` is the [text](preprocessing).
pub(crate) fn of_model(
    checkpoint: &Checkpoint,
    options: &ExportOptions,
    size: Option<[usize; 2]>,
    preprocessing: &str,
) -> Vec<(String, String)> {
    let config = &checkpoint.config;
    let input_size = size.map_or(config.input.image_size(), ImageSize::Fixed);
    let mut found = Entries::default();
    found.add("name", &config.name);
    found.add("image_size", &input_size.to_string());
    if size.is_none() {
        found.add("image_size_multiple_of", &config.size_step().to_string());
    }
    if let (None, GlobalConfig::Salad(salad)) = (size, &config.global) {
        found.add("least_patches", &(salad.clusters + 1).to_string());
    }
    found.add("resize", &config.input.resize.to_string());
    found.add("input", &options.input.to_string());
    found.add("mean", &numbers(config.input.mean));
    found.add("std", &numbers(config.input.std));
    found.add("preprocessing", preprocessing);
    found.add("descriptor", DESCRIPTOR);
    if options.local {
        found.add("local", LOCAL);
    }
    found.common(checkpoint);
    found.0
}

/// Of the reranker's graph.
pub(crate) fn of_reranker(checkpoint: &Checkpoint) -> Vec<(String, String)> {
    let mut found = Entries::default();
    found.add("name", &checkpoint.config.name);
    found.add("local", LOCAL);
    found.add("logits", LOGITS);
    found.add("scores", SCORES);
    found.common(checkpoint);
    found.0
}

#[derive(Default)]
struct Entries(Vec<(String, String)>);

impl Entries {
    fn add(&mut self, key: &str, value: &str) {
        self.0.push((key.into(), value.into()));
    }

    /// Where the weights come from, and the whole configuration.
    fn common(&mut self, checkpoint: &Checkpoint) {
        let config = &checkpoint.config;
        for key in ["license", "origin", "code_license"] {
            if let Some(text) = config.stated(key) {
                self.add(key, text);
            }
        }
        self.add("fingerprint", &checkpoint.fingerprint);
        // A configuration is plain data.
        if let Ok(json) = serde_json::to_string(config) {
            self.add("r2former", &json);
        }
    }
}

/// Three numbers as JSON, the same as the 32-bit floats.
fn numbers(values: [f32; 3]) -> String {
    serde_json::to_string(&values).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preprocessing_in_words() {
        let mut config = ModelConfig::preset("megaloc").expect("a preset");
        let mut text = |rule: Option<&str>| {
            config.input.rule = rule.map(|rule| rule.parse().expect("a rule"));
            preprocessing(&config, InputRange::Pixels, None)
        };
        let begins = |text: String, with: &str| {
            let expected = format!("RGB photographs, turned upright, of {with} by a bilinear filter");
            assert!(text.starts_with(&expected), "{text}");
        };
        begins(text(None), "322x322 pixels (height x width), resized");
        let shape = "own shape, longer side at most 1024 pixels";
        begins(text(Some("longest:1024")), &format!("{shape}, resized to multiples of 14"));
        begins(text(Some("longest:1024:crop")), &format!("{shape}, cut to multiples of the patch, resized"));
    }
}
