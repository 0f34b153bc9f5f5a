//! Images through a device that wants many at once: batches of equal size, within the device's limits.

use crate::extract::of_batch;
use crate::host::Reading;
use crate::{Extractor, ImageFeatures, Result};
use std::cell::RefCell;
use std::collections::VecDeque;

/// An image on its way.
struct Input<V> {
    /// Its group, and its place there.
    group: usize,
    place: usize,
    values: V,
    size: [usize; 2],
}

/// Descriptors of one group of inputs after the other, in their order; the first batch of a group is given to the device before
/// the results of the group before are waited for.
///
/// # Errors
/// As [`Extractor::extract`], and those of `each`.
pub(crate) fn extract<V: AsRef<[f32]>>(
    extractor: &Extractor,
    groups: impl Iterator<Item = Vec<(V, [usize; 2])>>,
    mut each: impl FnMut(Vec<ImageFeatures>) -> Result<()>,
) -> Result<()> {
    let open = RefCell::new(Open::default());
    let batches = groups.flat_map(|inputs| {
        let group = open.borrow_mut().add(inputs.len());
        let numbered = inputs.into_iter().enumerate();
        let inputs = numbered.map(|(place, (values, size))| Input { group, place, values, size });
        alike(inputs.collect(), |size| extractor.batch_size.images(extractor.config(), size))
    });
    let start = |batch: &[Input<V>]| {
        let size = batch[0].size;
        let values = batch.iter().map(|input| extractor.checked(input.values.as_ref(), size));
        Ok((batch.len(), extractor.start_batch(&values.collect::<Result<Vec<_>>>()?, size)?))
    };
    let finish = |(count, reading): (usize, Reading)| Ok(of_batch(count, reading.finish()?));
    let mut hand_over = || -> Result<()> {
        loop {
            let Some(features) = open.borrow_mut().take() else { return Ok(()) };
            each(features)?;
        }
    };
    extractor.image_limit.run(batches, start, finish, |batch, features| {
        for (input, features) in batch.iter().zip(features) {
            open.borrow_mut().put(input.group, input.place, features);
        }
        hand_over()
    })?;
    // Groups without inputs at the end.
    hand_over()
}

/// Batches of one size each, with at most as many inputs as `most` says of the size.
fn alike<V>(mut inputs: Vec<Input<V>>, most: impl Fn([usize; 2]) -> usize) -> Vec<Vec<Input<V>>> {
    inputs.sort_by_key(|input| input.size);
    let mut batches: Vec<Vec<Input<V>>> = Vec::new();
    for input in inputs {
        match batches.last_mut() {
            Some(batch) if batch[0].size == input.size && batch.len() < most(input.size) => batch.push(input),
            _ => batches.push(vec![input]),
        }
    }
    batches
}

/// Groups whose descriptors are not all there, in order.
#[derive(Default)]
struct Open {
    groups: VecDeque<Group>,
    /// The number of the first one.
    first: usize,
}

struct Group {
    missing: usize,
    features: Vec<ImageFeatures>,
}

impl Open {
    /// The number of a new group.
    fn add(&mut self, inputs: usize) -> usize {
        self.groups.push_back(Group { missing: inputs, features: vec![ImageFeatures::default(); inputs] });
        self.first + self.groups.len() - 1
    }

    fn put(&mut self, group: usize, place: usize, features: ImageFeatures) {
        if let Some(group) = self.groups.get_mut(group - self.first) {
            group.features[place] = features;
            group.missing -= 1;
        }
    }

    /// The first group, if its descriptors are all there.
    fn take(&mut self) -> Option<Vec<ImageFeatures>> {
        self.groups.front().filter(|group| group.missing == 0)?;
        self.first += 1;
        Some(self.groups.pop_front()?.features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadedModel, Settings};
    use r2former_model::{BackboneConfig, Device, ModelConfig};

    #[test]
    fn groups_come_back_in_order_whatever_the_sizes() {
        let mut config = ModelConfig::preset("vit-s").unwrap();
        if let BackboneConfig::Vit(vit) = &mut config.backbone {
            // Kernels, which take a model's blocks, do not cover heads of this size.
            (vit.depth, vit.heads) = (1, 1);
        }
        let loaded = LoadedModel::random(&config, 1).unwrap();
        let settings = Settings { height: 48, width: 48, ..Settings::of(&loaded.config) };
        let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
        let image = |seed: usize, [height, width]: [usize; 2]| {
            let values: Vec<f32> = (0..3 * height * width).map(|i| ((i * seed) % 97) as f32 / 97.0).collect();
            (values, [height, width])
        };
        let [a, b] = [[48, 48], [32, 64]];
        let groups = [
            vec![image(3, a), image(5, b), image(7, a)],
            vec![],
            vec![image(11, b)],
            vec![image(13, a), image(17, a)],
            vec![],
        ];
        let run = |by_size: bool| {
            let mut found = Vec::new();
            let each = |features| {
                found.push(features);
                Ok(())
            };
            let groups = groups.clone().into_iter();
            match by_size {
                true => extract(&extractor, groups, each).unwrap(),
                false => extractor.extract_groups(groups, each).unwrap(),
            }
            found
        };
        let (found, expected) = (run(true), run(false));
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 0, 1, 2, 0]);
        for (found, expected) in found.concat().iter().zip(expected.concat()) {
            let apart = found.global.iter().zip(&expected.global).map(|(f, e)| (f - e).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-4);
        }
    }

    #[test]
    fn batches_are_of_one_size_and_within_the_limit() {
        let input = |place, size| Input { group: 0, place, values: (), size };
        let sizes = [[2, 2], [1, 2], [2, 2], [2, 2], [1, 2]];
        let inputs = sizes.iter().enumerate().map(|(place, size)| input(place, *size)).collect();
        let batches = alike(inputs, |_| 2);
        let places: Vec<Vec<usize>> = batches.iter().map(|b| b.iter().map(|i| i.place).collect()).collect();
        assert_eq!(places, [vec![1, 4], vec![0, 2], vec![3]]);
    }
}
