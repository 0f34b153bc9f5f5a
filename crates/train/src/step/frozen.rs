//! A frozen backbone.

use crate::Result;
use burn::tensor::{Tensor, TensorData};
use r2former_engine::FusedBackbone;
use r2former_kernels::{Level, MatmulPrecision};
use r2former_model::backbone::Tokens;
use r2former_model::{Checkpoint, Device, GlobalConfig, ModelError, Pooling, R2Former, Selection};
use rayon::prelude::*;

/// A model whose backbone is frozen: on a CPU it runs on the inference kernels, where they support it.
pub(crate) struct Frozen {
    model: R2Former,
    kernels: Option<FusedBackbone>,
    size: [usize; 2],
    device: Device,
    /// Whether views are described by the local head's output, not its input.
    projecting: bool,
}

impl Frozen {
    /// A copy of the model on a device without autodiff; `size` is height and width of its images.
    pub(crate) fn new(model: &R2Former, size: [usize; 2], device: &Device) -> Result<Self> {
        let plain = R2Former::from_tensors(model.config(), model.to_tensors()?, device)?;
        let level = Level::current().unwrap_or_else(|_| Level::best());
        let on_cpu = *device == Device::flex();
        let kernels =
            on_cpu.then(|| FusedBackbone::new(&plain, level, MatmulPrecision::F32, size).ok()).flatten();
        Ok(Self { model: plain, kernels, size, device: device.clone(), projecting: false })
    }

    /// A start model as a teacher: its tokens of every patch, whatever the global head uses.
    pub(crate) fn teacher(start: &Checkpoint, size: [usize; 2], device: &Device) -> Result<Self> {
        let (mut config, mut tensors) = (start.config.clone(), start.tensors.clone());
        config.global = GlobalConfig::Pooled { pooling: Pooling::Mean };
        if let Some(local) = &mut config.local {
            local.select = Selection::Attention;
        }
        let heads = ["head.", "head_dist.", "aggregator."];
        tensors.retain(|name, _| !heads.iter().any(|head| name.starts_with(head)));
        Self::new(&R2Former::from_tensors(&config, tensors, device)?, size, device)
    }

    /// With a frozen local head: describes views by its output.
    pub(crate) fn projecting(self, projecting: bool) -> Self {
        Self { projecting, ..self }
    }

    /// Whether views are described by the local head's output.
    pub(crate) fn is_projecting(&self) -> bool {
        self.projecting
    }

    /// Tokens of images, each `[3, height, width]`, as inputs of the trained parts.
    pub(crate) fn tokens(&self, images: &[Vec<f32>]) -> Result<Tokens> {
        let found = self.inner_tokens(images)?;
        Ok(Tokens {
            last: found.last.autodiff(),
            local: found.local.autodiff(),
            attention: found.attention.map(Tensor::autodiff),
            ..found
        })
    }

    /// What the local head projects of every patch.
    pub(crate) fn described(&self, tokens: &Tokens) -> Result<Tensor<3>> {
        Ok(self.model.described_patches(tokens)?)
    }

    /// What the global head projects of images, row by row.
    pub(crate) fn pooled(&self, images: &[Vec<f32>]) -> Result<Vec<f32>> {
        values(self.model.pooled(&self.inner_tokens(images)?))
    }

    /// For each image: x, y and attention of its local features, their tokens before the local head (or after it, if that
    /// is frozen, too), and the global descriptor.
    pub(crate) fn describe(&self, images: &[Vec<f32>]) -> Result<Vec<[Vec<f32>; 3]>> {
        let describe = |tokens: Tokens| -> Result<[Vec<f32>; 3]> {
            let none = || ModelError::Config("the model has no local features to train".into());
            let (places, selected) = self.model.select_local(&tokens, self.size)?.ok_or_else(none)?;
            let selected = match self.projecting {
                true => {
                    let rows = self.model.project_local(places.clone(), selected).ok_or_else(none)?;
                    let width = rows.dims()[2];
                    rows.narrow(2, 3, width - 3)
                }
                false => selected,
            };
            let global = self.model.global(tokens);
            Ok([values(places)?, values(selected)?, values(global)?])
        };
        match &self.kernels {
            // One core per image.
            Some(kernels) => images.par_iter().map(|image| describe(kernels.tokens(image)?)).collect(),
            None => {
                images.iter().map(|image| describe(self.inner_tokens(std::slice::from_ref(image))?)).collect()
            }
        }
    }

    fn inner_tokens(&self, images: &[Vec<f32>]) -> Result<Tokens> {
        let Some(kernels) = &self.kernels else {
            let shape = [images.len(), 3, self.size[0], self.size[1]];
            let images = Tensor::<4>::from_data(TensorData::new(images.concat(), shape), &self.device);
            return Ok(self.model.backbone().forward(images)?);
        };
        let each = images.par_iter().map(|image| kernels.tokens(image)).collect::<Result<Vec<_>, _>>()?;
        let (last_prefix, local_prefix, grid) =
            each.first().map_or((0, 0, [0; 2]), |t| (t.last_prefix, t.local_prefix, t.grid));
        let cat = |of: fn(&Tokens) -> Tensor<3>| Tensor::cat(each.iter().map(of).collect(), 0);
        let attention = each.iter().map(|t| t.attention.clone()).collect::<Option<Vec<_>>>();
        Ok(Tokens {
            last: cat(|t| t.last.clone()),
            last_prefix,
            grid,
            local: cat(|t| t.local.clone()),
            local_prefix,
            attention: attention.map(|all| Tensor::cat(all, 0)),
        })
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    Ok(tensor.into_data().try_to_vec().map_err(|error| ModelError::Config(format!("{error:?}")))?)
}
