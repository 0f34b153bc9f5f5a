//! A single wrong tensor, whichever it is, is named in the error.

use super::{data, write};
use pytorch_reader::PytorchReader;
use r2former_model::import::{ImportOptions, import};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

/// Shape and 32-bit values of each tensor.
type Raw = BTreeMap<String, Shaped>;
type Shaped = (Vec<usize>, Vec<u8>);

fn read(path: &Path) -> Raw {
    if path.extension().is_some_and(|e| e == "safetensors") {
        let bytes = std::fs::read(path).expect("test data");
        let file = SafeTensors::deserialize(&bytes).expect("test data is whole");
        return file
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, (view.shape().to_vec(), view.data().to_vec())))
            .collect();
    }
    let tensors = PytorchReader::new(path).expect("test data").into_tensors();
    let nests = ["model_state_dict.", "model."];
    let nest = nests.into_iter().find(|nest| tensors.keys().any(|k| k.starts_with(nest))).unwrap_or("");
    tensors
        .iter()
        .filter_map(|(name, tensor)| {
            let name = name.strip_prefix(nest)?.to_string();
            Some((name, (tensor.shape().to_vec(), tensor.read().expect("test data").to_vec())))
        })
        .collect()
}

fn imported(tensors: &Raw) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let views = tensors
        .iter()
        .map(|(name, (shape, data))| (name, TensorView::new(Dtype::F32, shape.clone(), data).expect("fits")));
    let path =
        write(&folder, "changed.safetensors", &safetensors::serialize(views, None).expect("serialises"));
    import(&path, &ImportOptions::default()).map(|_| ()).map_err(|e| {
        assert!(e.to_string().contains("changed.safetensors"), "the file is not named: {e}");
        e.to_string()
    })
}

/// The name without the parts that importing renames.
fn core(name: &str) -> &str {
    let name = name.trim_start_matches("module.").trim_start_matches("backbone.");
    name.trim_start_matches("Reranker.").trim_start_matches("reg_token")
}

/// Damages every tensor that the model uses, one at a time, in every way.
fn check(file: &str, unused: &[&str]) {
    let whole = read(&data(file));
    imported(&whole).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut failures = Vec::new();
    let mut must_name = |what: &str, name: &str, tensors: &Raw| match imported(tensors) {
        Ok(()) => failures.push(format!("{what} {name}: imported without an error")),
        Err(error) if !error.contains(core(name)) => failures.push(format!("{what} {name}: {error}")),
        Err(_) => {}
    };
    for name in whole.keys().filter(|name| !unused.contains(&core(name))) {
        let changed = |change: &dyn Fn(&mut Raw, Shaped)| {
            let mut tensors = whole.clone();
            let tensor = tensors.remove(name).expect("listed");
            change(&mut tensors, tensor);
            tensors
        };
        must_name("dropped", name, &changed(&|_, _| ()));
        must_name(
            "renamed",
            name,
            &changed(&|all, tensor| {
                all.insert(format!("{name}_old"), tensor);
            }),
        );
        must_name(
            "flattened or nested",
            name,
            &changed(&|all, (shape, data)| {
                let count = shape.iter().product();
                let shape = if shape.len() == 1 { vec![1, count] } else { vec![count] };
                all.insert(name.clone(), (shape, data));
            }),
        );
        must_name(
            "longer",
            name,
            &changed(&|all, (mut shape, mut data)| {
                let last = shape.last_mut().expect("no scalars");
                *last *= 2;
                data.extend(data.clone());
                all.insert(name.clone(), (shape, data));
            }),
        );
        for value in [f32::NAN, f32::INFINITY] {
            must_name(
                "not finite",
                name,
                &changed(&|all, (shape, mut data)| {
                    let at = data.len() - 4;
                    data[at..].copy_from_slice(&value.to_le_bytes());
                    all.insert(name.clone(), (shape, data));
                }),
            );
        }
    }
    let prefix = if whole.keys().all(|k| k.starts_with("module.")) { "module." } else { "" };
    for extra in ["extra", "blocks.1.extra.weight", "fc_norm.weight"] {
        let mut tensors = whole.clone();
        tensors.insert(format!("{prefix}{extra}"), (vec![1], vec![0; 4]));
        must_name("extra", extra, &tensors);
    }
    assert!(failures.is_empty(), "{file}: {}", failures.join("\n"));
}

#[test]
fn published_model() {
    check("golden/tiny.pth", &["decoder_pos_embed", "ratio"]);
}

#[test]
fn published_global_only_model() {
    check("parity/global_only.pth", &[]);
}

#[test]
fn timm_vit() {
    check("parity/timm_vit.safetensors", &["head.weight", "head.bias"]);
}

#[test]
fn distilled_deit() {
    check("parity/deit.pth", &["head.weight", "head.bias", "head_dist.weight", "head_dist.bias"]);
}

#[test]
fn dinov2_with_registers() {
    // Without its register tokens the file is a complete model without registers.
    check("parity/dinov2_reg.pth", &["mask_token", "register_tokens"]);
}
