//! CosPlace, EigenPlaces, MixVPR, NetVLAD and BoQ over a ResNet: imports of whole files under the published names, and descriptors beside those of
//! the official code.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::{Device, Tensor, TensorData};
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::{
    BackboneConfig, BoqConfig, GlobalConfig, ModelError, Pooling, R2Former, ResNetConfig, ResizeMode,
};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Shape and values of each tensor by the file's name.
type File = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A value differs by no more from the official code's.
const TOLERANCE: f32 = 3e-6;

/// Values, as in `cnns.py`.
fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let bound = (6.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let (low, high) = match (name.rsplit('.').next(), shape.len()) {
        (Some("num_batches_tracked"), _) => return vec![7.0],
        (Some("p"), _) => (2.5, 3.5),
        _ if name == "pool.conv.weight" => (-4.0, 4.0),
        (Some("running_var"), _) => (0.7, 1.3),
        (_, 2..) => (-bound, bound),
        (Some("weight"), _) => (0.2, 0.5),
        _ => (-0.1, 0.1),
    };
    generate::uniform(name, shape.iter().product(), low, high)
}

/// A normalised picture with structure at every scale, as in `cnns.py`.
fn picture(index: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    let mut out = vec![0.0f32; 3 * height * width];
    for (cell, low) in [(32usize, -1.2), (8, -0.6), (2, -0.3), (1, -0.1)] {
        let [rows, columns] = [height.div_ceil(cell), width.div_ceil(cell)];
        let coarse = generate::uniform(&format!("picture {index} {cell}"), 3 * rows * columns, low, -low);
        for (i, value) in out.iter_mut().enumerate() {
            let [channel, y, x] = [i / (height * width), i / width % height, i % width];
            *value += coarse[(channel * rows + y / cell) * columns + x / cell];
        }
    }
    Tensor::from_data(TensorData::new(out, [1, 3, height, width]), &Device::flex())
}

fn outputs() -> Outputs {
    Outputs::open(&data("cnns.outputs.safetensors"))
}

/// The file of a case under the official names, whose shapes the script put into the header.
fn published(case: &str) -> File {
    let bytes = std::fs::read(data("cnns.outputs.safetensors")).expect("test data");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("test data is whole");
    let text = header.metadata().as_ref().and_then(|m| m.get(case)).expect("the case has shapes");
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_str(text).expect("JSON");
    shapes.into_iter().map(|(name, shape)| (name.clone(), (shape.clone(), weight(&name, &shape)))).collect()
}

fn import_file(file: &File, name: &str) -> Result<Imported, ModelError> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path: PathBuf = folder.path().join(name);
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = file
        .iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("as many bytes as the shape says"))
    });
    safetensors::serialize_to_file(views, None, &path).expect("writes");
    import(&path, &ImportOptions::default())
}

/// Imports a case and compares its descriptors of every picture.
fn check(case: &str) -> Imported {
    let imported = import_file(&published(case), &format!("{case}.safetensors")).expect(case);
    assert!(
        imported.leftovers.iter().all(|name| name.ends_with(".num_batches_tracked")),
        "{:?}",
        imported.leftovers
    );
    let config = &imported.config;
    assert!(config.trained.global && config.local.is_none() && config.reranker.is_none());
    let model = R2Former::from_tensors(config, imported.tensors.clone(), &Device::flex()).expect("builds");
    assert_eq!(model.to_tensors().expect("host"), imported.tensors, "{case}: what is read is written");
    let outputs = outputs();
    let names: Vec<String> =
        outputs.names().into_iter().filter(|n| n.starts_with(&format!("{case}."))).collect();
    assert_eq!(names.len(), 3, "{case}: three pictures");
    for name in names {
        let mut parts = name.rsplit('.');
        let size = parts.next().and_then(|size| size.split_once('x')).expect("HxW");
        let size = [size.0, size.1].map(|side| side.parse::<usize>().expect("a number"));
        let index = parts.next().and_then(|index| index.parse().ok()).expect("a number");
        let found = host(model.extract(picture(index, size)).expect("any size").global);
        let expected = outputs.values(&name);
        let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let cosine: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        eprintln!("{name}: {largest:.1e} at most, cosine 1 - {:.1e}", 1.0 - cosine);
        close(&found, &expected, TOLERANCE, &name);
        assert!(cosine > 0.999_999, "{name}: cosine {cosine}");
    }
    imported
}

#[test]
fn cosplace_over_resnets() {
    for (case, depth, dim) in [
        ("ResNet18_512", 18, 512),
        ("ResNet50_2048", 50, 2048),
        ("ResNet101_128", 101, 128),
        ("ResNet152_64", 152, 64),
    ] {
        let config = check(case).config;
        assert_eq!(config.backbone, BackboneConfig::ResNet(ResNetConfig::new(depth, 4)));
        assert_eq!(config.global, GlobalConfig::Linear { dim, pooling: Pooling::Cls });
        assert_eq!(
            ([config.input.height, config.input.width], config.input.resize),
            ([480, 640], ResizeMode::Antialias)
        );
    }
}

#[test]
fn cosplace_over_vgg16() {
    assert_eq!(check("VGG16_512").config.backbone, BackboneConfig::Vgg16);
}

#[test]
fn mixvpr_of_every_size() {
    for (case, dim) in [("MixVPR_4096", 4096), ("MixVPR_512", 512), ("MixVPR_128", 128)] {
        let config = check(case).config;
        assert_eq!(config.backbone, BackboneConfig::ResNet(ResNetConfig::new(50, 3)));
        assert_eq!(config.global_dim(), dim);
        assert_eq!(config.fixed_size(), Some([320, 320]));
        let error = config.check_size(320, 336).expect_err("one size only").to_string();
        assert!(error.contains("320x320 only"), "{error}");
    }
}

#[test]
fn netvlad_with_and_without_whitening() {
    for (case, dim) in [("NetVLAD_8_128", 128), ("NetVLAD_2_None", 1024)] {
        let config = check(case).config;
        assert_eq!((&config.backbone, config.global_dim()), (&BackboneConfig::Vgg16, dim));
    }
}

#[test]
fn boq_over_a_resnet() {
    let config = check("BoQ_512").config;
    assert_eq!(config.backbone, BackboneConfig::ResNet(ResNetConfig::new(50, 3)));
    let expected = BoqConfig { width: 128, heads: 2, layers: 2, queries: 12, rows: 4 };
    assert_eq!(config.global, GlobalConfig::Boq(expected));
    let input = &config.input;
    assert_eq!(([input.height, input.width], input.resize), ([384, 384], ResizeMode::TensorBicubic));
    assert!(config.provenance["origin"].as_str().is_some_and(|text| text.starts_with("BoQ (")));
}

#[test]
fn names_of_files_and_parallel_training_are_understood() {
    let file = published("ResNet18_512");
    let parallel: File =
        file.iter().map(|(name, tensor)| (format!("module.{name}"), tensor.clone())).collect();
    let origin = |file: &File, name: &str| {
        let config = import_file(file, name).expect(name).config;
        let text = |key: &str| config.provenance[key].as_str().unwrap_or_default().to_string();
        assert!(text("license").starts_with("not stated") && text("code_license") == "MIT");
        text("origin")
    };
    assert!(origin(&file, "ResNet18_512_cosplace.pth").starts_with("CosPlace ("));
    assert!(origin(&parallel, "ResNet18_512_eigenplaces.pth").starts_with("EigenPlaces ("));
    assert!(origin(&file, "model.pth").starts_with("CosPlace or EigenPlaces"));
}

#[test]
fn wrong_tensors_are_named_as_in_the_file() {
    let refused = |file: &File, words: &str| {
        let error = import_file(file, "changed.safetensors").expect_err(words).to_string();
        assert!(
            error.contains("changed.safetensors") && error.contains(words),
            "'{words}' is missing: {error}"
        );
    };
    for (case, names) in [
        (
            "ResNet18_512",
            ["backbone.0.weight", "backbone.7.1.bn2.running_var", "aggregation.1.p", "aggregation.3.weight"],
        ),
        ("VGG16_512", ["backbone.0.weight", "backbone.28.bias", "aggregation.3.bias", "aggregation.1.p"]),
        (
            "MixVPR_128",
            [
                "backbone.model.layer3.5.conv3.weight",
                "aggregator.mix.2.mix.0.weight",
                "aggregator.row_proj.weight",
                "aggregator.channel_proj.bias",
            ],
        ),
        (
            "BoQ_512",
            [
                "backbone.net.0.weight",
                "backbone.net.6.5.bn3.running_var",
                "aggregator.boqs.1.self_attn.out_proj.weight",
                "aggregator.norm_input.bias",
            ],
        ),
        ("NetVLAD_8_128", ["encoder.28.weight", "pool.conv.weight", "pool.centroids", "WPCA.0.weight"]),
    ] {
        let whole = published(case);
        for name in names {
            let mut file = whole.clone();
            let (shape, values) = file.remove(name).expect(name);
            refused(&file, name);
            let longer = [shape, vec![1]].concat();
            file.insert(name.into(), (longer, values));
            refused(&file, name);
        }
        let mut file = whole.clone();
        file.insert("aggregation.9.weight".into(), (vec![1], vec![0.0]));
        refused(&file, "aggregation.9.weight");
    }
    // What is recognised and not supported is named for what it is.
    let file: File = published("VGG16_512")
        .into_iter()
        .map(|(name, tensor)| (name.replace("backbone.0.", "backbone.0.0.0."), tensor))
        .collect();
    refused(&file, "EfficientNet");
    let mut file = published("ResNet18_512");
    file.retain(|name, _| !name.starts_with("backbone.6.1."));
    refused(&file, "1 basic blocks in the third stage");
}

#[test]
fn small_and_odd_images() {
    let Imported { config, tensors, .. } =
        import_file(&published("ResNet18_512"), "r18.pth").expect("imports");
    assert!(config.check_size(97, 75).is_ok() && config.check_size(31, 64).is_err());
    let model = R2Former::from_tensors(&config, tensors, &Device::flex()).expect("builds");
    let global = model.extract(picture(0, [33, 41])).expect("any size").global;
    assert_eq!(global.dims(), [1, 512]);
}

#[test]
fn an_archive_with_a_name_of_21_characters() {
    let error = import(&data("ResNet18_512_cosplace.pth"), &ImportOptions::default())
        .expect_err("one tensor")
        .to_string();
    // The archive was read: the network that it would belong to is missing.
    assert!(error.contains("basic blocks in the third stage"), "{error}");
}
