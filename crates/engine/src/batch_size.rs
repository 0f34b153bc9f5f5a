//! How many images or pairs a device computes at once, by its limits and the sizes of the network's tensors.

use r2former_model::device::largest_tensor;
use r2former_model::{BackboneConfig, Device, ModelConfig};

/// Bytes that a batch may need on the device: a graphics API does not say how much memory there is, and twice this, for the batch
/// that is computed and the next one, any GPU that is worth using has beside the weights.
const MEMORY: u64 = 1 << 30;

/// How many tensors of the largest one's size a batch needs at the same time: what goes into a softmax, what comes out, and
/// what is between.
const AT_ONCE: u64 = 4;

/// The limits of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSize {
    /// Bytes of the largest tensor.
    largest: u64,
}

impl BatchSize {
    /// Of a device; only its memory is bounded where a limit is not known. Opens the device.
    pub(crate) fn of(device: &Device) -> Self {
        let known = if *device == Device::flex() { None } else { largest_tensor(device) };
        Self { largest: known.unwrap_or(u64::MAX).min(MEMORY / AT_ONCE) }
    }

    /// Images of this height and width in a batch of the network, at least one.
    pub(crate) fn images(self, config: &ModelConfig, size: [usize; 2]) -> usize {
        self.items(image_tensor(config, size))
    }

    /// Pairs of images with so many local features in a batch of the reranker, at least one.
    pub(crate) fn pairs(self, config: &ModelConfig, features: [usize; 2]) -> usize {
        self.items(pair_tensor(config, features))
    }

    fn items(self, bytes: usize) -> usize {
        usize::try_from(self.largest / bytes.max(1) as u64).unwrap_or(usize::MAX).max(1)
    }
}

fn bytes(values: impl IntoIterator<Item = usize>) -> usize {
    size_of::<f32>() * values.into_iter().max().unwrap_or(0)
}

/// Bytes of an image's largest tensor.
fn image_tensor(config: &ModelConfig, [height, width]: [usize; 2]) -> usize {
    let stride = config.stride();
    let patches = (height / stride) * (width / stride);
    let largest = match &config.backbone {
        BackboneConfig::Vit(vit) => {
            let tokens = vit.prefix_tokens() + patches;
            let hidden = vit.swiglu.map_or(vit.dim * vit.mlp_ratio, |hidden| 2 * hidden);
            [vit.heads * tokens, hidden, 3 * vit.dim].map(|each| tokens * each).into_iter().max().unwrap_or(0)
        }
        // After the first convolution, or the first stage.
        BackboneConfig::ResNet(_) => 16 * height * width,
        BackboneConfig::Vgg16 => 64 * height * width,
    };
    // Local features are selected by comparing all patches.
    let compared = config.local.as_ref().map_or(0, |_| patches * patches);
    bytes([largest, compared, 3 * height * width])
}

/// Bytes of a pair's largest tensor.
fn pair_tensor(config: &ModelConfig, [query, reference]: [usize; 2]) -> usize {
    let Some(reranker) = &config.reranker else { return 0 };
    let all = query + reference;
    let stack = |stacks: usize, tokens: usize| {
        let each = (reranker.heads * tokens).max(reranker.dim * reranker.mlp_ratio.max(3));
        stacks * tokens * each
    };
    let of_features = stack(all, reranker.neighbours + 1);
    bytes([query * reference, of_features, stack(1, all + 1), all * config.local_row()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_model::ModelConfig;

    fn preset(name: &str) -> ModelConfig {
        ModelConfig::preset(name).unwrap()
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn scores_of_attention_bound_large_images_and_pairs() {
        let config = preset("deit-s");
        // 6 heads over 1200 patches and 2 class tokens; 4 heads over 500 features of each side and CLS.
        assert_eq!(image_tensor(&config, [480, 640]), 4 * 6 * 1202 * 1202);
        assert_eq!(pair_tensor(&config, [500, 500]), 4 * 4 * 1001 * 1001);
        let adapter = BatchSize { largest: 128 * MIB };
        assert_eq!(adapter.images(&config, [480, 640]), 3);
        assert_eq!(adapter.pairs(&config, [500, 500]), 8);
        assert_eq!(adapter.pairs(&config, [500, 50]), 27);
    }

    #[test]
    fn hidden_layers_bound_small_ones() {
        let config = preset("deit-s");
        let (heads, hidden) = (4 * 6 * 198 * 198, 4 * 4 * 384 * 198);
        assert!(hidden > heads);
        assert_eq!(image_tensor(&config, [224, 224]), hidden);
        // 60 features of 6 tokens with 4 x 32 hidden values.
        assert_eq!(pair_tensor(&config, [30, 30]), 4 * 60 * 6 * 128);
    }

    #[test]
    fn one_is_always_tried_and_memory_is_bounded() {
        let config = preset("deit-s");
        let none = BatchSize { largest: 1 };
        assert_eq!((none.images(&config, [480, 640]), none.pairs(&config, [500, 500])), (1, 1));
        // Nothing is known of the limits of a CPU.
        let unknown = BatchSize::of(&Device::flex());
        assert_eq!(unknown, BatchSize { largest: 256 * MIB });
        assert_eq!(unknown.pairs(&config, [500, 500]), 16);
    }

    #[test]
    fn convolutions_are_bounded_by_their_first_maps() {
        assert_eq!(image_tensor(&preset("cosplace-r50"), [480, 640]), 4 * 16 * 480 * 640);
        assert_eq!(image_tensor(&preset("cosplace-vgg16"), [480, 640]), 4 * 64 * 480 * 640);
    }
}
