//! Local features by every selection and facet: the CPU kernels beside the model's own operations, and matches counted as
//! `EffoVPR` describes it, by `crates/model/tests/parity/local.py`.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

#[path = "../../model/tests/parity/generate.rs"]
#[allow(dead_code, reason = "written for other tests")]
mod generate;

use burn::tensor::{Device, Tensor, TensorData};
use r2former_engine::{Extractor, FusedBackbone, LoadedModel, Settings, Verifier};
use r2former_kernels::{Level, MatmulPrecision};
use r2former_model::import::{ImportOptions, LocalOptions, LocalPreset, import};
use r2former_model::quantize::quantize;
use r2former_model::{
    AdapterConfig, BackboneConfig, BoqConfig, Facet, GlobalConfig, ImageSize, LocalConfig, ModelConfig,
    Pooling, R2Former, SaladConfig, Selection, VitConfig, VladConfig,
};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;

fn model(global: GlobalConfig, local: LocalConfig, registers: usize, change: fn(&mut VitConfig)) -> R2Former {
    let mut config = ModelConfig::preset("dinov2-s").unwrap();
    let BackboneConfig::Vit(vit) = &mut config.backbone else { unreachable!("a transformer") };
    (vit.dim, vit.depth, vit.heads, vit.registers) = (48, 3, 3, registers);
    change(vit);
    (config.global, config.reranker, config.local) = (global, None, Some(local));
    [config.input.height, config.input.width] = [70, 56];
    let mut tensors = R2Former::random(&config, 3, &Device::flex()).unwrap().to_tensors().unwrap();
    for (name, tensor) in &mut tensors {
        *tensor = generate::weight(name, &tensor.shape);
    }
    R2Former::from_tensors(&config, tensors, &Device::flex()).unwrap()
}

/// Rows by place: patches of nearly equal weight may change ranks.
fn by_place(local: Tensor<3>) -> Vec<Vec<f32>> {
    let width = local.dims()[2];
    let values = local.try_into_vec_as::<f32>().unwrap();
    let mut rows: Vec<Vec<f32>> = values.chunks_exact(width).map(<[f32]>::to_vec).collect();
    rows.sort_by(|a, b| a[1].total_cmp(&b[1]).then(a[0].total_cmp(&b[0])));
    rows
}

#[test]
fn kernels_select_and_describe_as_the_model_does() {
    let pooled = || GlobalConfig::Pooled { pooling: Pooling::Cls };
    let salad =
        || GlobalConfig::Salad(SaladConfig { clusters: 8, dim: 4, token: 6, hidden: 12, linear: None });
    let boq = || GlobalConfig::Boq(BoqConfig { width: 64, heads: 1, layers: 2, queries: 5, rows: 3 });
    let whole = |facet, layer| LocalConfig { facet, layer, dim: 48, projected: false, ..Default::default() };
    let by = |select| LocalConfig { select, dim: 16, ..Default::default() };
    let vlad = || GlobalConfig::Vlad(VladConfig { clusters: 5 });
    let cases = [
        ("tokens", pooled(), LocalConfig::default(), 0),
        ("keys of an early block", pooled(), whole(Facet::Key, Some(1)), 4),
        ("queries", pooled(), whole(Facet::Query, None), 0),
        (
            "values by the key of CLS",
            pooled(),
            LocalConfig { select: Selection::ClsKey, ..whole(Facet::Value, None) },
            4,
        ),
        ("a threshold", pooled(), LocalConfig { min_attention: Some(0.06), ..by(Selection::ClsKey) }, 4),
        ("projected values", pooled(), LocalConfig { facet: Facet::Value, ..by(Selection::Norm) }, 1),
        ("SALAD", salad(), by(Selection::Aggregation), 0),
        ("BoQ", boq(), by(Selection::Aggregation), 4),
        ("all patches of few", boq(), LocalConfig { count: 7, ..by(Selection::Attention) }, 0),
        (
            "AnyLoc, values of its block",
            vlad(),
            LocalConfig { facet: Facet::Value, ..by(Selection::Attention) },
            0,
        ),
        ("AnyLoc, keys of an early block", vlad(), whole(Facet::Key, Some(1)), 4),
        ("AnyLoc, tokens by the key of CLS", vlad(), by(Selection::ClsKey), 0),
        ("adapters", pooled(), LocalConfig { facet: Facet::Value, ..by(Selection::Attention) }, 4),
    ];
    for (what, global, local, registers) in cases {
        let model = model(
            global,
            local,
            registers,
            match what {
                "adapters" => |vit| vit.adapters = Some(AdapterConfig::Side { width: 16, count: 2 }),
                _ if what.starts_with("AnyLoc") => |vit| (vit.values, vit.final_norm) = (true, false),
                _ => |_| (),
            },
        );
        // 20 patches, an odd number of tokens with CLS, and 35.
        for [height, width] in [[70, 56], [98, 70]] {
            let pixels = generate::uniform(what, 3 * height * width, -2.0, 2.0);
            let data = TensorData::new(pixels.clone(), [1, 3, height, width]);
            let expected = model.extract(Tensor::from_data(data, &Device::flex())).unwrap();
            let expected_rows = by_place(expected.local.unwrap());
            for level in Level::available() {
                let backbone =
                    FusedBackbone::new(&model, level, MatmulPrecision::F32, [height, width]).unwrap();
                let found = model.features(backbone.tokens(&pixels).unwrap(), [height, width]).unwrap();
                let rows = by_place(found.local.unwrap());
                assert_eq!(rows.len(), expected_rows.len(), "{what}");
                for (a, b) in rows.iter().flatten().zip(expected_rows.iter().flatten()) {
                    assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{what} {level}: {a}, not {b}");
                }
            }
        }
    }
}

#[test]
fn matches_are_counted_as_effovpr_describes_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/parity/local.outputs.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["reg"]).unwrap();
    let shapes: Vec<_> = shapes.into_iter().collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dinov2_reg.safetensors");
    generate::write(&file, &shapes, str::to_string);

    let size = [98, 126];
    let noise = |name: &str| generate::uniform(name, 3 * size[0] * size[1], -2.0, 2.0);
    let first = noise("view 0");
    let half = first.iter().zip(noise("view 1")).map(|(a, b)| 0.5 * a + 0.5 * b).collect();
    let views: [Vec<f32>; 3] = [first, half, noise("view 2")];

    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let counts = stored.tensor("effovpr").unwrap();
    let counts = counts.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b) as usize);
    let counts: Vec<usize> = counts.collect();
    let thresholds = [0.0, 0.01, 0.02].into_iter().flat_map(|a| [0.1, 0.4, 0.6].map(|s| (a, s)));
    let mut compared = 0;
    for ((attention, similarity), expected) in thresholds.zip(counts.chunks_exact(3)) {
        let local = LocalOptions {
            preset: Some(LocalPreset::Effovpr),
            count: Some(63),
            min_attention: Some(attention),
            min_similarity: Some(similarity),
            ..Default::default()
        };
        let imported = import(
            &file,
            &ImportOptions { image_size: Some(ImageSize::Fixed(size)), local, ..Default::default() },
        )
        .unwrap();
        let loaded = LoadedModel::of(&imported.config, &imported.tensors).unwrap();
        let settings = Settings::of(&loaded.config);
        let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
        let features = extractor.extract(&views).unwrap();
        let row = extractor.config().local_row();
        let kept = features[0].local.chunks_exact(row).filter(|row| row[2] > 0.0).count();
        assert_eq!(kept, expected[0], "{attention}");
        let verifier = Verifier::new(&extractor, &features[0].local).unwrap();
        for (reference, expected) in features[1..].iter().zip(&expected[1..]) {
            assert_eq!(verifier.mutual(reference.local.as_slice()), *expected, "{attention} {similarity}");
            // In 8 bits, as an index stores them, a pair at the threshold may fall on the other side.
            let stored = quantize(&reference.local, row);
            assert!(verifier.mutual(stored.as_slice()).abs_diff(*expected) <= 1, "{attention} {similarity}");
            // RANSAC is on the same pairs.
            assert_eq!(verifier.verify(reference.local.as_slice()).pairs.len(), *expected);
            compared += 1;
        }
    }
    assert_eq!(compared, 18);
}
