//! Weights that kernels take out of a network, so that they are not in memory twice.

use super::R2Former;
use crate::aggregate::Aggregate;
use crate::backbone::Backbone;
use crate::weights::{StoredTensors, StoredValues, TensorReader};
use crate::{LocalConfig, ModelConfig, Result};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};

impl R2Former {
    /// [`from_tensors`](Self::from_tensors) of tensors as they are stored. Weights of linear layers that have 16 bits stay so, for kernels that take them
    /// out of the network: [`expand`](Self::expand) what is left before the network itself computes.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_stored(config: &ModelConfig, tensors: StoredTensors, device: &Device) -> Result<Self> {
        Self::load(config, TensorReader::from_stored(tensors, device).keeping_halves())
    }

    /// Expands weights of 16 bits ([`from_stored`](Self::from_stored)) to 32.
    #[must_use]
    pub fn expand(self) -> Self {
        self.map(&mut Expand)
    }

    /// Frees the weights of a vision transformer's blocks from `first` on, of which kernels hold a copy. The heads work on;
    /// the backbone's own forward pass fails from then on.
    pub fn release_blocks(&mut self, first: usize) {
        let facets = self.config.local.as_ref().is_some_and(LocalConfig::needs_facets);
        if let Backbone::Vit(vit) = &mut self.backbone {
            vit.release_blocks(first, facets);
        }
    }

    /// Takes the weight `[d_out, d_in]` and the bias of the linear layer on SALAD's descriptor (MegaLoc), of which kernels hold
    /// the only copy then: [`features`](Self::features) fails from then on. `None` for a model without it.
    pub fn take_linear(&mut self) -> Option<[StoredValues; 2]> {
        match &mut self.aggregate {
            Some(Aggregate::Salad(salad)) => salad.take_linear(),
            _ => None,
        }
    }
}

/// Makes all parameters f32.
struct Expand;

impl ModuleMapper for Expand {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| if value.dtype() == DType::F16 { value.cast(FloatDType::F32) } else { value })
    }
}
