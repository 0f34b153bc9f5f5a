//! NetVLAD as hloc downloads it: a MATLAB file with the layers of VGG16, then NetVLAD and its whitening.

use super::read::SourceFile;
use super::{Draft, GLOBAL_ONLY, ImportOptions, Normalisation, global_only, names};
use crate::catalog;
use crate::config::VGG16;
use crate::weights::{RawTensor, Tensors};
use crate::{
    BackboneConfig, Fit, GlobalConfig, InputConfig, ModelError, NetVladConfig, ResizeMode, Result, Sides,
    SizeRule,
};

/// MATLAB's numbers of the layers of NetVLAD and its whitening.
const NET_VLAD: usize = 31;
const WHITENING: usize = 34;
/// Channels of `conv5_3`.
const WIDTH: usize = 512;
/// The size at which hloc takes photographs.
const SIZE: SizeRule = SizeRule { sides: Sides::Longest(1024), fit: Fit::Resize };
const MEAN: &str = "net.meta.normalization.averageImage";

pub(super) fn recognise(tensors: &Tensors) -> bool {
    tensors.keys().any(|name| name.starts_with("net.layers{"))
}

pub(super) fn draft(file: SourceFile, options: &ImportOptions) -> Result<Draft> {
    let mut theirs = file.tensors;
    let mut tensors = Tensors::new();
    let mut put = |name: String, shape: Vec<usize>, data: Vec<f32>| {
        tensors.insert(name, RawTensor { shape, data });
    };
    for (index, d_in, d_out) in VGG16 {
        let [weight, bias] = [1, 2].map(|part| weights(index + 1, part));
        let kernel = take(&mut theirs, &weight, &[3, 3, d_in, d_out])?;
        put(format!("backbone.{index}.weight"), vec![d_out, d_in, 3, 3], transposed(&kernel));
        put(format!("backbone.{index}.bias"), vec![d_out], take(&mut theirs, &bias, &[d_out])?);
    }
    let [assign, centres] = [1, 2].map(|part| weights(NET_VLAD, part));
    let clusters = columns(&theirs, &assign, WIDTH)?;
    // A column of theirs is a row here.
    put("aggregator.assign".into(), vec![clusters, WIDTH], take(&mut theirs, &assign, &[WIDTH, clusters])?);
    // Theirs are added, not subtracted.
    let opposite = take(&mut theirs, &centres, &[WIDTH, clusters])?.into_iter().map(|value| -value).collect();
    put("aggregator.centroids".into(), vec![clusters, WIDTH], opposite);
    let [weight, bias] = [1, 2].map(|part| weights(WHITENING, part));
    let residuals = WIDTH * clusters;
    let dim = columns(&theirs, &weight, residuals)?;
    let mut whitening = take(&mut theirs, &weight, &[residuals, dim])?;
    for row in whitening.chunks_exact_mut(residuals) {
        by_cluster(row, clusters);
    }
    put("aggregator.whitening.weight".into(), vec![dim, residuals], whitening);
    put("aggregator.whitening.bias".into(), vec![dim], take(&mut theirs, &bias, &[dim])?);
    let mean = mean(&theirs)?;
    // Of what is left, only weights could be missed.
    let leftovers =
        names::set_aside(&mut theirs, |name| !(name.starts_with("net.layers{") && name.contains(".weights")));
    tensors.extend(theirs);

    let global = GlobalConfig::NetVlad(NetVladConfig { clusters, whitened: Some(dim) });
    let mut input = options.input(Normalisation::ImageNet, [768, 1024], ResizeMode::Antialias);
    if options.normalisation.is_none() {
        input = InputConfig { mean, std: [1.0 / 255.0; 3], ..input };
    }
    if options.image_size.is_none() {
        input.rule = Some(SIZE);
    }
    let config = global_only(BackboneConfig::Vgg16, global, input, &catalog::NETVLAD, file.provenance);
    Ok(Draft { config, tensors, leftovers, notes: vec![GLOBAL_ONLY.into()] })
}

fn weights(layer: usize, part: usize) -> String {
    format!("net.layers{{{layer}}}.weights{{{part}}}")
}

/// Sizes without those of one.
fn squeezed(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|size| *size != 1).collect()
}

/// Values of a tensor of this shape, but for sizes of one.
fn take(tensors: &mut Tensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    match tensors.remove(name) {
        Some(tensor) if squeezed(&tensor.shape) == squeezed(shape) => Ok(tensor.data),
        Some(tensor) => {
            Err(ModelError::Config(format!("{name} has shape {:?}, expected {shape:?}", tensor.shape)))
        }
        None => Err(ModelError::Config(format!("{name} is missing (shape {shape:?})"))),
    }
}

/// Columns of a matrix of as many rows.
fn columns(tensors: &Tensors, name: &str, rows: usize) -> Result<usize> {
    let tensor = tensors.get(name).ok_or_else(|| ModelError::Config(format!("{name} is missing")))?;
    match squeezed(&tensor.shape)[..] {
        [found, columns] if found == rows => Ok(columns),
        _ => Err(ModelError::Config(format!("{name} has shape {:?}, expected {rows} rows", tensor.shape))),
    }
}

/// A kernel of 3 x 3 from MATLAB's order (row, column, in, out; the first is the fastest) to PyTorch's.
fn transposed(kernel: &[f32]) -> Vec<f32> {
    let plane = |values: &[f32]| [0, 3, 6, 1, 4, 7, 2, 5, 8].map(|i| values[i]);
    kernel.as_chunks::<9>().0.iter().flat_map(|values| plane(values)).collect()
}

/// A row over residuals, sorted by channel first, as one by cluster first.
fn by_cluster(row: &mut [f32], clusters: usize) {
    let theirs = row.to_vec();
    for (channel, values) in theirs.chunks_exact(clusters).enumerate() {
        for (cluster, value) in values.iter().enumerate() {
            row[cluster * WIDTH + channel] = *value;
        }
    }
}

/// The mean of each channel, from 0 to 1: the first pixel of the mean image of values to 255.
fn mean(tensors: &Tensors) -> Result<[f32; 3]> {
    let image = tensors.get(MEAN).ok_or_else(|| ModelError::Config(format!("{MEAN} is missing")))?;
    match image.shape[..] {
        [rows, columns, 3] if rows * columns > 0 && image.data.len() == 3 * rows * columns => {
            Ok([0, 1, 2].map(|channel| image.data[channel * rows * columns] / 255.0))
        }
        _ => Err(ModelError::Config(format!(
            "{MEAN} has shape {:?}, expected rows, columns and 3",
            image.shape
        ))),
    }
}
