//! DINOv2's own code: position embeddings at several sizes, and small transformers with registers and SwiGLU.

use crate::common::{Outputs, close, host};
use crate::{data, generate};
use burn::tensor::{Device, Tensor, TensorData};
use r2former_model::backbone::Backbone;
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::layers::fit_position;
use r2former_model::{BackboneConfig, PositionMode, R2Former};

const SIZES: [[usize; 2]; 5] = [[224, 224], [322, 322], [518, 518], [560, 420], [1022, 770]];
const TOLERANCE: f32 = 1e-5;

#[test]
fn positions_at_other_sizes() {
    let outputs = Outputs::open(&data("dinov2.outputs.safetensors"));
    let values = generate::uniform("positions", 1370, -1.0, 1.0)[1..].to_vec();
    let grid = Tensor::<3>::from_data(TensorData::new(values, [1, 1369, 1]), &Device::flex());
    for (name, mode) in [("dinov2", PositionMode::Dinov2), ("antialias", PositionMode::Antialias)] {
        for [height, width] in SIZES {
            let case = format!("{name}.{height}x{width}");
            let found = host(fit_position(grid.clone(), [37, 37], [height / 14, width / 14], mode));
            let expected = outputs.values(&case);
            close(&found, &expected, TOLERANCE, &case);
            // The plain rule is another one at every size but the stored one.
            let plain =
                fit_position(grid.clone(), [37, 37], [height / 14, width / 14], PositionMode::Bicubic);
            let far = host(plain).iter().zip(&expected).fold(0.0f32, |far, (a, b)| far.max((a - b).abs()));
            assert_eq!(far < 0.01, [height, width] == [518, 518], "{case}: {far}");
        }
    }
}

fn check(case: &str, position: PositionMode) -> Imported {
    let outputs = Outputs::open(&data("dinov2.outputs.safetensors"));
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("dinov2.safetensors");
    generate::write(&path, &outputs.shapes(case), str::to_string);
    let imported = import(&path, &ImportOptions::default()).expect(case);
    assert_eq!(imported.leftovers, ["mask_token"]);
    let BackboneConfig::Vit(vit) = &imported.config.backbone else { panic!("a transformer") };
    assert_eq!((vit.position, vit.grid), (position, [37, 37]));
    let model = R2Former::from_tensors(&imported.config, imported.tensors.clone(), &Device::flex());
    let model = model.expect("builds");
    let Backbone::Vit(network) = model.backbone() else { panic!("a transformer") };
    for [height, width] in SIZES {
        let tokens = network.forward(generate::image([height, width])).expect("multiples of the patch");
        assert_eq!(tokens.grid, [height / 14, width / 14]);
        let count = tokens.last.dims()[1] - tokens.last_prefix;
        let case = format!("{case}.{height}x{width}");
        let cls = host(tokens.last.clone().narrow(1, 0, 1));
        close(&cls, &outputs.values(&format!("{case}.cls")), TOLERANCE, &case);
        let mean = host(tokens.last.narrow(1, tokens.last_prefix, count).mean_dim(1));
        close(&mean, &outputs.values(&format!("{case}.mean")), TOLERANCE, &case);
    }
    imported
}

#[test]
fn without_registers() {
    check("plain", PositionMode::Dinov2);
}

#[test]
fn with_registers() {
    check("reg", PositionMode::Antialias);
}

#[test]
fn with_gated_mlps() {
    let imported = check("swiglu", PositionMode::Dinov2);
    let BackboneConfig::Vit(vit) = imported.config.backbone else { panic!("a transformer") };
    assert_eq!(vit.swiglu, Some(128));
}

/// Without its mask token, DINOv2's own file has the names of timm's copy.
#[test]
fn a_file_that_could_be_either_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("dinov2.safetensors");
    let read = |case: &str, position| {
        let mut shapes = Outputs::open(&data("dinov2.outputs.safetensors")).shapes(case);
        shapes.retain(|(name, _)| name != "mask_token");
        generate::write(&path, &shapes, str::to_string);
        let imported = import(&path, &ImportOptions { position, ..Default::default() }).expect(case);
        let BackboneConfig::Vit(vit) = imported.config.backbone else { panic!("a transformer") };
        (vit.position, imported.notes.iter().any(|note| note.contains("--position dinov2")))
    };
    assert_eq!(read("plain", None), (PositionMode::Antialias, true));
    assert_eq!(read("plain", Some(PositionMode::Dinov2)), (PositionMode::Dinov2, false));
    // Registers, and gated MLPs in one matrix of this name, are DINOv2's own.
    assert_eq!(read("reg", None), (PositionMode::Antialias, false));
    assert_eq!(read("swiglu", None), (PositionMode::Dinov2, false));
}
