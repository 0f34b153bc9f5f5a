//! A vision transformer without its last blocks.

use crate::weights::Tensors;
use crate::{BackboneConfig, ModelConfig, ModelError, Result};

/// Keeps the first `blocks` blocks of a model whose global descriptor is made of its local features
/// ([`GlobalConfig::LocalVlad`](crate::GlobalConfig::LocalVlad)): what the others compute is only what patches are ranked by, the attention of the last
/// block, which is then an earlier block's. Descriptors of patches stay as they are; which patches are local features
/// changes, and so does what the reranker sees, so that a calibration is dropped.
///
/// # Errors
/// [`ModelError::Config`]: a model of another kind, more blocks than it has, or none after those of the local features.
pub fn keep_blocks(config: &mut ModelConfig, tensors: &mut Tensors, blocks: usize) -> Result<()> {
    let BackboneConfig::Vit(vit) = &mut config.backbone else {
        return Err(ModelError::Config("only a vision transformer can be shortened".into()));
    };
    if !config.global.is_of_local_features() {
        return Err(ModelError::Config(
            "the global descriptor is made of the last block's tokens: give the model one that is made of its local \
             features first (`model vlad`)"
                .into(),
        ));
    }
    let layer = vit.local_layer(config.local.as_ref().and_then(|local| local.layer));
    if !(layer + 1..=vit.depth).contains(&blocks) {
        return Err(ModelError::Config(format!(
            "{blocks} blocks: local features come after block {layer} of {}, so {} to {} can be kept",
            vit.depth,
            layer + 1,
            vit.depth
        )));
    }
    vit.depth = blocks;
    tensors.retain(|name, _| block_of(name).is_none_or(|block| block < blocks));
    config.forget_measured();
    Ok(())
}

/// The block that a tensor belongs to.
fn block_of(name: &str) -> Option<usize> {
    name.strip_prefix("backbone.blocks.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, GlobalConfig, ImageSize, LocalVladConfig, R2Former};
    use burn::tensor::{Distribution, Tensor};

    /// Local features after the second of four blocks, and a descriptor made of them.
    fn config() -> ModelConfig {
        let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
        let BackboneConfig::Vit(vit) = &mut config.backbone else { unreachable!("a transformer") };
        vit.depth = 4;
        config.global = GlobalConfig::LocalVlad(LocalVladConfig { clusters: 4, dim: 32, softness: 8.0 });
        config.local.as_mut().expect("local features").layer = Some(2);
        config.set_image_size(ImageSize::Fixed([64, 64])).expect("a size");
        config
    }

    #[test]
    fn descriptors_stay_and_the_attention_is_that_of_the_last_block_kept() {
        let device = Device::flex();
        let whole = config();
        let model = R2Former::random(&whole, 3, &device).expect("a model");
        let (mut short, mut tensors) = (whole, model.to_tensors().expect("tensors"));
        keep_blocks(&mut short, &mut tensors, 3).expect("one block after the local features");
        assert!(tensors.keys().any(|name| name.starts_with("backbone.blocks.2.")));
        assert!(!tensors.keys().any(|name| name.starts_with("backbone.blocks.3.")));
        let short =
            R2Former::from_tensors(&short, tensors, &device).expect("every tensor that is left is used");

        let images = Tensor::<4>::random([1, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
        let [a, b] = [model, short].map(|model| model.extract(images.clone()).expect("features"));
        let values = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().expect("floats");
        assert_eq!(values(a.global), values(b.global));
        // All 16 patches are features, whatever ranks them: sorted by place they are the same, but for their attention.
        let rows = |local: Option<Tensor<3>>| {
            let values = local.expect("local features").into_data().try_to_vec::<f32>().expect("floats");
            let mut rows: Vec<Vec<f32>> = values.chunks_exact(131).map(<[f32]>::to_vec).collect();
            rows.sort_by(|a, b| a[..2].partial_cmp(&b[..2]).expect("places are numbers"));
            rows
        };
        let (a, b) = (rows(a.local), rows(b.local));
        assert_eq!(a.len(), 16);
        assert!(a.iter().zip(&b).all(|(a, b)| a[..2] == b[..2] && a[3..] == b[3..]));
        assert!(a.iter().zip(&b).any(|(a, b)| a[2] != b[2]));
    }

    #[test]
    fn what_cannot_be_shortened_is_said() {
        let refused = |config: &mut ModelConfig, blocks: usize, named: &str| {
            let error = keep_blocks(config, &mut Tensors::default(), blocks).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        };
        refused(&mut config(), 2, "3 to 4 can be kept");
        refused(&mut config(), 5, "3 to 4 can be kept");
        let mut paper = ModelConfig::preset("vit-tiny").expect("a preset");
        refused(&mut paper, 8, "model vlad");
    }
}
