//! hloc's NetVLAD: a MATLAB file in its layout beside what hloc makes of the same weights, and files that are not whole.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::{Device, Tensor, TensorData};
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::{BackboneConfig, GlobalConfig, NetVladConfig, R2Former};
use safetensors::SafeTensors;
use std::collections::BTreeMap;

/// Sizes in MATLAB's order and bound of the values of each array.
type Arrays = BTreeMap<String, (Vec<usize>, f64)>;

const SIZES: [[usize; 2]; 3] = [[64, 96], [97, 75], [128, 128]];
const MEAN: [f32; 3] = [123.5, 116.25, 103.75];

fn arrays() -> Arrays {
    let bytes = std::fs::read(data("hloc.outputs.safetensors")).expect("test data");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("test data is whole");
    let text = header.metadata().as_ref().and_then(|m| m.get("weights")).expect("weights");
    serde_json::from_str(text).expect("JSON")
}

/// Values of 0 to 1, as in `hloc_code.py`.
fn image(index: usize, [height, width]: [usize; 2]) -> Vec<f32> {
    let mut out = vec![0.0f32; 3 * height * width];
    for (cell, share) in [(32usize, 0.5), (8, 0.25), (1, 0.25)] {
        let [rows, columns] = [height.div_ceil(cell), width.div_ceil(cell)];
        let coarse = generate::uniform(&format!("image {index} {cell}"), 3 * rows * columns, 0.0, share);
        for (i, value) in out.iter_mut().enumerate() {
            let [channel, y, x] = [i / (height * width), i / width % height, i % width];
            *value += coarse[(channel * rows + y / cell) * columns + x / cell];
        }
    }
    out
}

/// An element of a file: its tag, and its bytes with padding.
fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut out = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
    out.extend(data);
    out.resize(out.len().div_ceil(8) * 8, 0);
    out
}

fn array(class: u8, shape: &[usize], name: &str, rest: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = shape.iter().flat_map(|size| (*size as i32).to_le_bytes()).collect();
    let flags = [u32::from(class).to_le_bytes(), [0; 4]].concat();
    element(
        14,
        &[element(6, &flags), element(5, &sizes), element(1, name.as_bytes()), rest.to_vec()].concat(),
    )
}

fn single(shape: &[usize], values: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    array(7, shape, "", &element(7, &bytes))
}

fn cell(members: &[Vec<u8>]) -> Vec<u8> {
    array(1, &[1, members.len()], "", &members.concat())
}

fn structure(name: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    const LENGTH: usize = 32;
    let mut names = Vec::new();
    for (field, _) in fields {
        names.extend(field.bytes());
        names.resize(names.len().div_ceil(LENGTH) * LENGTH, 0);
    }
    // The length is a small element.
    let length = [5u16.to_le_bytes(), 4u16.to_le_bytes()].concat();
    let length = [length, (LENGTH as u32).to_le_bytes().to_vec()].concat();
    let members: Vec<u8> = fields.iter().flat_map(|(_, member)| member.clone()).collect();
    array(2, &[1, 1], name, &[length, element(1, &names), members].concat())
}

/// A file of these arrays and a mean image.
fn matlab(arrays: &Arrays, mean: bool) -> Vec<u8> {
    let layer = |i: usize| {
        let weights: Vec<Vec<u8>> = (1..=3)
            .filter_map(|part| {
                let name = format!("net.layers{{{i}}}.weights{{{part}}}");
                let (shape, bound) = arrays.get(&name)?;
                Some(single(shape, &generate::uniform(&name, shape.iter().product(), -bound, *bound)))
            })
            .collect();
        structure("", &[("weights", cell(&weights))])
    };
    let layers: Vec<Vec<u8>> = (1..=35).map(layer).collect();
    let image: Vec<f32> = MEAN.iter().flat_map(|value| [*value; 6]).collect();
    let normalization = match mean {
        true => structure("", &[("averageImage", single(&[2, 3, 3], &image))]),
        false => structure("", &[("keepAspect", single(&[1, 1], &[1.0]))]),
    };
    let meta = structure("", &[("normalization", normalization)]);
    let net = structure("net", &[("layers", cell(&layers)), ("meta", meta)]);
    let mut file = b"MATLAB 5.0 MAT-file".to_vec();
    file.resize(124, b' ');
    file.extend([0, 1, b'I', b'M']);
    file.extend(net);
    file
}

fn import_bytes(bytes: &[u8]) -> Result<Imported, String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("VGG16-NetVLAD-Pitts30K.mat");
    std::fs::write(&path, bytes).expect("writes");
    import(&path, &ImportOptions::default()).map_err(|error| error.to_string())
}

#[test]
fn descriptors_as_hloc_computes_them() {
    let imported = import_bytes(&matlab(&arrays(), true)).expect("imports");
    let config = &imported.config;
    assert_eq!(config.backbone, BackboneConfig::Vgg16);
    assert_eq!(config.global, GlobalConfig::NetVlad(NetVladConfig { clusters: 4, whitened: Some(64) }));
    assert_eq!(imported.leftovers, ["net.meta.normalization.averageImage"]);
    let input = &config.input;
    let model = R2Former::from_tensors(config, imported.tensors.clone(), &Device::flex()).expect("builds");
    assert!(model.to_tensors().expect("reads") == imported.tensors);
    let outputs = Outputs::open(&data("hloc.outputs.safetensors"));
    for (index, [height, width]) in SIZES.into_iter().enumerate() {
        let mut values = image(index, [height, width]);
        for (channel, plane) in values.chunks_exact_mut(height * width).enumerate() {
            plane.iter_mut().for_each(|value| *value = (*value - input.mean[channel]) / input.std[channel]);
        }
        let images = Tensor::from_data(TensorData::new(values, [1, 3, height, width]), &Device::flex());
        let found = host(model.extract(images).expect("any size").global);
        let case = format!("{index}.{height}x{width}");
        close(&found, &outputs.values(&case), 1e-5, &case);
    }
}

#[test]
fn arrays_that_are_missing_or_of_another_shape_are_named() {
    let whole = arrays();
    for (layer, part) in [(1, 1), (29, 2), (31, 1), (31, 2), (34, 1), (34, 2)] {
        let name = format!("net.layers{{{layer}}}.weights{{{part}}}");
        let mut other = whole.clone();
        let (shape, _) = other.get_mut(&name).expect("present");
        shape[0] += 1;
        let error = import_bytes(&matlab(&other, true)).expect_err(&name);
        assert!(error.contains(&name) && error.contains("expected"), "{name}: {error}");
    }
    // Without its first layer's weights, and with one more.
    let mut fewer = whole.clone();
    fewer.retain(|name, _| !name.starts_with("net.layers{1}"));
    let error = import_bytes(&matlab(&fewer, true)).expect_err("missing");
    assert!(error.contains("net.layers{1}.weights{1} is missing"), "{error}");
    let mut more = whole.clone();
    more.insert("net.layers{35}.weights{1}".into(), (vec![1, 2], 1.0));
    let error = import_bytes(&matlab(&more, true)).expect_err("unexpected");
    assert!(error.contains("net.layers{35}.weights{1}: not expected"), "{error}");
    let error = import_bytes(&matlab(&whole, false)).expect_err("no mean");
    assert!(error.contains("averageImage is missing"), "{error}");
    let mut cut = matlab(&whole, true);
    cut.truncate(cut.len() / 2);
    let error = import_bytes(&cut).expect_err("cut");
    assert!(error.contains("VGG16-NetVLAD-Pitts30K.mat") && error.contains("complete"), "{error}");
}
