//! torchvision's ResNet-50: import of a whole file, pooling, and the R2Former heads.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::Device;
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::weights::{RawTensor, Tensors};
use r2former_model::{GlobalConfig, LocalConfig, Pooling, R2Former};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

const SIZE: [usize; 2] = [64, 96];
/// Fifty layers accumulate rounding in another ranking.
const TOLERANCE: f32 = 2e-5;

/// Values, as in `resnet.py`.
fn generated(name: &str, shape: &[usize]) -> RawTensor {
    let bound = (3.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let (low, high) = match (shape.len(), name.rsplit('.').next()) {
        (1, Some("running_var")) => (0.5, 1.5),
        (1, Some("weight")) => (0.5, 1.2),
        (1, _) => (-0.3, 0.3),
        _ => (-bound, bound),
    };
    RawTensor { shape: shape.to_vec(), data: generate::uniform(name, shape.iter().product(), low, high) }
}

/// torchvision's names and shapes, with the classifier.
fn names() -> Vec<(String, Vec<usize>)> {
    let mut names = Vec::new();
    let norm = |name: &str, dim: usize| {
        ["weight", "bias", "running_mean", "running_var"].map(|part| (format!("{name}.{part}"), vec![dim]))
    };
    names.push(("conv1.weight".into(), vec![64, 3, 7, 7]));
    names.extend(norm("bn1", 64));
    let mut d_in = 64;
    for (layer, count) in [3, 4, 6, 3].into_iter().enumerate() {
        let width = 64 << layer;
        for block in 0..count {
            let part = format!("layer{}.{block}", layer + 1);
            let convs = [[width, d_in, 1, 1], [width, width, 3, 3], [4 * width, width, 1, 1]];
            for (i, shape) in convs.into_iter().enumerate() {
                names.push((format!("{part}.conv{}.weight", i + 1), shape.to_vec()));
                names.extend(norm(&format!("{part}.bn{}", i + 1), shape[0]));
            }
            if block == 0 {
                names.push((format!("{part}.downsample.0.weight"), vec![4 * width, d_in, 1, 1]));
                names.extend(norm(&format!("{part}.downsample.1"), 4 * width));
            }
            d_in = 4 * width;
        }
    }
    names.push(("fc.weight".into(), vec![1000, 2048]));
    names.push(("fc.bias".into(), vec![1000]));
    names
}

/// Writes a whole torchvision file (too large to commit) and imports it.
fn imported() -> Imported {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("resnet50.safetensors");
    let tensors: Vec<(String, Vec<usize>, Dtype, Vec<u8>)> = names()
        .into_iter()
        .flat_map(|(name, shape)| {
            let bytes = generated(&name, &shape).data.iter().flat_map(|v| v.to_le_bytes()).collect();
            let counter = name.strip_suffix(".running_var").map(|norm| {
                (format!("{norm}.num_batches_tracked"), vec![], Dtype::I64, 7i64.to_le_bytes().to_vec())
            });
            [Some((name, shape, Dtype::F32, bytes)), counter].into_iter().flatten()
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, dtype, bytes)| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("as many bytes as the shape says"))
    });
    safetensors::serialize_to_file(views, None, &path).expect("writes");
    import(&path, &ImportOptions::default()).expect("imports")
}

#[test]
fn torchvision_resnet50_with_and_without_head() {
    let outputs = Outputs::open(&data("resnet.outputs.safetensors"));
    let Imported { mut config, mut tensors, leftovers, .. } = imported();
    assert_eq!(leftovers.len(), 2 + 53, "the classifier, and a counter per norm: {leftovers:?}");
    for (name, pooling) in [("mean", Pooling::Mean), ("gem", Pooling::Gem)] {
        config.global = GlobalConfig::Pooled { pooling };
        let model = R2Former::from_tensors(&config, tensors.clone(), &Device::flex()).expect("builds");
        let features = model.extract(generate::image(SIZE)).expect("multiples of 32");
        close(&host(features.global), &outputs.values(name), TOLERANCE, name);
    }

    // The trained variant: channel-wise L2 norm, GeM, linear; its own attention map.
    config.global = GlobalConfig::Linear { dim: 256, pooling: Pooling::Cls };
    config.local = Some(LocalConfig { dim: 128, count: 24, ..Default::default() });
    let heads = [("head", [256, 2048]), ("local_head", [128, 1024])];
    for (name, shape) in heads {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        tensors.insert(weight.clone(), generated(&weight, &shape));
        tensors.insert(bias.clone(), generated(&bias, &shape[..1]));
    }
    for (output, power) in [("global", 3.0), ("global_power", 2.5)] {
        let mut tensors: Tensors = tensors.clone();
        tensors.insert("gem.p".into(), RawTensor { shape: vec![1], data: vec![power] });
        let model = R2Former::from_tensors(&config, tensors, &Device::flex()).expect("builds");
        let features = model.extract(generate::image(SIZE)).expect("multiples of 32");
        close(&host(features.global), &outputs.values(output), TOLERANCE, output);

        let attention = outputs.values("attention");
        let found = host(model.attention(generate::image(SIZE)).expect("multiples of 32"));
        close(&found, &attention, TOLERANCE, "attention");
        let local = host(features.local.expect("configured"));
        check_local(&local, &attention, &outputs.values("local"));
    }
}

/// Rows of x, y, attention and projected layer 3, by attention.
fn check_local(found: &[f32], attention: &[f32], features: &[f32]) {
    let mut ranking: Vec<usize> = (0..attention.len()).collect();
    ranking.sort_by(|a, b| attention[*b].total_cmp(&attention[*a]));
    assert_eq!(found.len(), ranking.len() * 131, "one row per cell of stride 16");
    let columns = SIZE[1] / 16;
    for (row, cell) in found.chunks_exact(131).zip(&ranking) {
        let centre = |i: usize| (16 * i + 8) as f32 / SIZE[1] as f32;
        let place =
            [centre(cell % columns), centre(cell / columns), attention[*cell] / attention[ranking[0]]];
        close(&row[..3], &place, TOLERANCE, &format!("place of cell {cell}"));
        close(
            &row[3..],
            &features[cell * 128..(cell + 1) * 128],
            TOLERANCE,
            &format!("feature of cell {cell}"),
        );
    }
}
