//! Files that are known and not supported, named for what they are.

use crate::ModelError;
use crate::weights::Tensors;

/// A known model: parts that names contain, all of them, and what to say.
struct Known {
    parts: &'static [&'static str],
    words: &'static str,
}

const KNOWN: [Known; 4] = [
    Known {
        parts: &["tokenizer1.", "transformer.blocks."],
        words: "is a TransVPR checkpoint, which is not supported: its network of four convolutions and six blocks is missing here",
    },
    Known {
        parts: &["downsample_layers.0.", "stages.0."],
        words: "is a ConvNeXt, such as DINOv3's, which is not supported: DINOv3's vision transformers are",
    },
    Known {
        parts: &["blocks.0.gamma_1", "reg_token"],
        words: "is timm's copy of DINOv3, which is not supported: import the original file, or the folder of a hub in the names \
                of transformers",
    },
    Known {
        parts: &["visual.transformer.resblocks."],
        words: "is a CLIP model, which is not supported: ViT, DeiT, DINOv2 and DINOv3 backbones are",
    },
];

/// The error for one of them.
pub(super) fn named(tensors: &Tensors) -> Option<ModelError> {
    let has = |part: &&str| tensors.keys().any(|name| name.contains(*part));
    let known = KNOWN.iter().find(|known| known.parts.iter().all(has))?;
    Some(ModelError::Config(known.words.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::RawTensor;

    #[test]
    fn known_files_are_named() {
        for (names, words) in [
            (
                &["module.tokenizer1.conv_layer.weight", "module.transformer.blocks.0.norm1.bias"][..],
                "TransVPR",
            ),
            (&["downsample_layers.0.0.weight", "stages.0.0.dwconv.weight"], "ConvNeXt"),
            (&["reg_token", "blocks.0.gamma_1", "blocks.0.attn.qkv.weight"], "timm's copy of DINOv3"),
        ] {
            let one = RawTensor { shape: vec![1], data: vec![0.0] };
            let tensors = names.iter().map(|name| ((*name).to_string(), one.clone())).collect();
            assert!(named(&tensors).is_some_and(|error| error.to_string().contains(words)), "{words}");
        }
        assert!(named(&Tensors::new()).is_none());
    }
}
