//! Views of every photograph, extracted once per epoch and drawn from in each step: while the backbone is frozen,
//! nothing before the local head needs to run again. The cache holds the local head's inputs in 16 bits, or its outputs if
//! that is frozen, too, so that the head and the reranker learn as they would from the photographs.

use crate::pool::Excluded;
use burn::tensor::{Tensor, TensorData};
use half::f16;
use half::slice::HalfFloatSliceExt as _;
use r2former_model::{Device, Features, R2Former};

/// Views of all items of a pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct ViewCache {
    /// The epoch of the views.
    pub(crate) epoch: u64,
    /// Views per item.
    pub(crate) views: usize,
    /// Items that could not be read; their views mean nothing.
    pub(crate) excluded: Excluded,
    /// Local features per view.
    count: usize,
    /// Whether the tokens have gone through the local head, which is frozen.
    projected: bool,
    /// View after view, those of an item together: x, y and attention of each local feature,
    places: Vec<f32>,
    /// its token before the local head,
    tokens: Vec<f16>,
    /// and the global descriptor.
    global: Vec<f32>,
}

/// Some views of a cache.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CachedViews {
    places: Vec<f32>,
    tokens: Vec<f32>,
    global: Vec<f32>,
    views: usize,
    count: usize,
    projected: bool,
}

impl ViewCache {
    /// An empty cache for an epoch.
    pub(crate) fn new(views: usize, epoch: u64, projected: bool) -> Self {
        Self { epoch, views, projected, ..Self::default() }
    }

    /// Appends the next view: places, tokens and global descriptor.
    pub(crate) fn push(&mut self, [places, tokens, global]: [Vec<f32>; 3]) {
        self.count = places.len() / 3;
        self.places.extend(places);
        self.tokens.extend(tokens.into_iter().map(f16::from_f32));
        self.global.extend(global);
    }

    /// Number of views.
    pub(crate) fn len(&self) -> usize {
        self.places.len() / (3 * self.count).max(1)
    }

    /// Views by number: item times views per item, plus the view's number within the item.
    pub(crate) fn gather(&self, views: &[usize]) -> CachedViews {
        let [places, tokens, global] =
            [self.places.len(), self.tokens.len(), self.global.len()].map(|all| all / self.len().max(1));
        let mut found = CachedViews {
            places: Vec::with_capacity(views.len() * places),
            tokens: vec![0.0; views.len() * tokens],
            global: Vec::with_capacity(views.len() * global),
            views: views.len(),
            count: self.count,
            projected: self.projected,
        };
        for (view, into) in views.iter().zip(found.tokens.chunks_exact_mut(tokens.max(1))) {
            found.places.extend(&self.places[view * places..][..places]);
            found.global.extend(&self.global[view * global..][..global]);
            self.tokens[view * tokens..][..tokens].convert_to_f32_slice(into);
        }
        found
    }

    /// Readable items with their global descriptors, each the mean of its views', at unit length.
    pub(crate) fn described(&self) -> (Vec<u32>, Vec<f32>) {
        let dim = self.global.len() / self.len().max(1);
        let of_item = |views: &[f32]| {
            let mut sum = vec![0.0; dim];
            for view in views.chunks_exact(dim) {
                sum.iter_mut().zip(view).for_each(|(sum, value)| *sum += value);
            }
            let length = sum.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
            sum.into_iter().map(move |v| v / length)
        };
        let all = self.global.chunks_exact((self.views * dim).max(1)).enumerate();
        let (items, views): (Vec<u32>, Vec<&[f32]>) = all
            .filter(|(item, _)| !self.excluded.contains(item))
            .map(|(item, views)| (item as u32, views))
            .unzip();
        (items, views.into_iter().flat_map(of_item).collect())
    }
}

impl CachedViews {
    /// The model's features of these views, with gradients from the local head on.
    pub(crate) fn features(&self, model: &R2Former, device: &Device) -> Features {
        let whole = |values: &[f32], width: usize| -> Tensor<3> {
            Tensor::from_data(TensorData::new(values.to_vec(), [self.views, self.count, width]), device)
        };
        let width = self.tokens.len() / (self.views * self.count).max(1);
        let (places, tokens) = (whole(&self.places, 3), whole(&self.tokens, width));
        let local = match self.projected {
            true => Some(Tensor::cat(vec![places, tokens], 2)),
            false => model.project_local(places, tokens),
        };
        let dim = self.global.len() / self.views.max(1);
        let global = TensorData::new(self.global.clone(), [self.views, dim]);
        Features { global: Tensor::from_data(global, device), local }
    }
}
