//! DINOv2 and DINOv3 under the names of Hugging Face's transformers, as those of the original files.

use super::{dinov3, names};
use crate::Result;
use crate::weights::{RawTensor, Tensors};

/// From a stem of theirs to the original files'.
const STEMS: [(&str, &str); 8] = [
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("embeddings.patch_embeddings.", "patch_embed.proj."),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.", ""),
    ("encoder.layer.", "blocks."),
    ("model.layer.", "blocks."),
    ("layer.", "blocks."),
    ("layernorm.", "norm."),
];

/// Parts of a block, theirs first.
const PARTS: [(&str, &str); 11] = [
    (".attention.output.dense.", ".attn.proj."),
    (".attention.o_proj.", ".attn.proj."),
    (".layer_scale1.lambda1", ".ls1.gamma"),
    (".layer_scale2.lambda1", ".ls2.gamma"),
    (".mlp.weights_in.", ".mlp.w12."),
    (".mlp.weights_out.", ".mlp.w3."),
    (".attention.attention.query.", ".attn.q."),
    (".attention.attention.key.", ".attn.k."),
    (".attention.attention.value.", ".attn.v."),
    (".attention.", ".attn."),
    ("_proj.", "."),
];

/// Whether the names are theirs.
pub(super) fn recognise(tensors: &Tensors) -> bool {
    tensors.keys().any(|name| name.starts_with("embeddings.patch_embeddings."))
        || (tensors.contains_key("embeddings.cls_token")
            && tensors.keys().any(|name| name.contains("layer.0.attention.")))
}

/// Whether they are those of DINOv3, which has no position embedding.
pub(super) fn is_dinov3(tensors: &Tensors) -> bool {
    tensors.keys().any(|name| name.contains("layer.0.attention.") && name.contains("_proj."))
}

/// The same tensors by the original names, queries, keys and values in one.
///
/// # Errors
/// [`crate::ModelError::Config`] naming a tensor that is missing or has another shape.
pub(super) fn original(tensors: Tensors) -> Result<Tensors> {
    let gated = tensors.keys().any(|name| name.contains(".mlp.gate_proj."));
    let mut tensors: Tensors =
        tensors.into_iter().map(|(name, tensor)| (original_name(&name, gated), tensor)).collect();
    for block in 0..names::depth(&tensors, "blocks.") {
        join(&mut tensors, block)?;
        for kind in ["weight", "bias"] {
            dinov3::join(&mut tensors, &format!("blocks.{block}.mlp"), kind)?;
        }
    }
    Ok(tensors)
}

/// A function that puts the file's own names into problems, which begin with the original ones.
pub(super) fn naming(tensors: &Tensors) -> impl Fn(String) -> String + use<> {
    let has = |part: &str| tensors.keys().any(|name| name.contains(part));
    let (dinov3, gated) = (is_dinov3(tensors), has(".mlp.gate_proj."));
    let blocks = ["encoder.layer.", "model.layer."].into_iter().find(|stem| has(stem)).unwrap_or("layer.");
    let pairs: &[(&str, &str)] = match (dinov3, gated) {
        (true, true) => {
            &[(".mlp.w1.", ".mlp.gate_proj."), (".mlp.w2.", ".mlp.up_proj."), (".mlp.w3.", ".mlp.down_proj.")]
        }
        (true, false) => &[(".mlp.fc1.", ".mlp.up_proj."), (".mlp.fc2.", ".mlp.down_proj.")],
        (false, _) => &[(".mlp.w12.", ".mlp.weights_in."), (".mlp.w3.", ".mlp.weights_out.")],
    };
    let attention: [(&str, &str); 5] = if dinov3 {
        [
            ("q", "q_proj"),
            ("k", "k_proj"),
            ("v", "v_proj"),
            ("qkv", "q_proj, k_proj, v_proj"),
            ("proj", "o_proj"),
        ]
    } else {
        [
            ("q", "attention.query"),
            ("k", "attention.key"),
            ("v", "attention.value"),
            ("qkv", "attention.query, key, value"),
            ("proj", "output.dense"),
        ]
    };
    move |problem| {
        let (name, rest) = problem.split_at(problem.find([':', ' ']).unwrap_or(problem.len()));
        let name = name.strip_prefix("backbone.").unwrap_or(name);
        let theirs = if let Some(block) = name.strip_prefix("blocks.") {
            let mut block = format!("{blocks}{block}");
            for (ours, theirs) in pairs {
                block = block.replace(ours, theirs);
            }
            for (ours, theirs) in attention {
                block = block.replace(&format!(".attn.{ours}."), &format!(".attention.{theirs}."));
            }
            block
                .replace(".ls1.gamma", ".layer_scale1.lambda1")
                .replace(".ls2.gamma", ".layer_scale2.lambda1")
        } else if matches!(name, "cls_token" | "mask_token" | "register_tokens") {
            format!("embeddings.{name}")
        } else if name == "pos_embed" {
            "embeddings.position_embeddings".into()
        } else if let Some(part) = name.strip_prefix("patch_embed.proj.") {
            format!("embeddings.patch_embeddings.{}{part}", if dinov3 { "" } else { "projection." })
        } else if let Some(part) = name.strip_prefix("norm.") {
            format!("{}.{part}", if dinov3 { "norm" } else { "layernorm" })
        } else {
            return problem;
        };
        format!("{theirs}{rest}")
    }
}

fn original_name(name: &str, gated: bool) -> String {
    let name = names::renamed(name, &STEMS);
    let Some(rest) = name.strip_prefix("blocks.") else { return name };
    // An ordinary MLP goes up and down, a gated one has a gate before that.
    let mlp: &[(&str, &str)] = if gated {
        &[(".mlp.gate_proj.", ".mlp.w1."), (".mlp.up_proj.", ".mlp.w2."), (".mlp.down_proj.", ".mlp.w3.")]
    } else {
        &[(".mlp.up_proj.", ".mlp.fc1."), (".mlp.down_proj.", ".mlp.fc2.")]
    };
    let mut rest = rest.to_string();
    for (theirs, ours) in mlp.iter().chain(&PARTS) {
        rest = rest.replace(theirs, ours);
    }
    format!("blocks.{rest}")
}

/// `attn.q`, `attn.k` and `attn.v` of a block as `attn.qkv`; keys may have no bias.
fn join(tensors: &mut Tensors, block: usize) -> Result<()> {
    let name = |part: &str| format!("blocks.{block}.attn.{part}");
    for kind in ["weight", "bias"] {
        let mut parts = ["q", "k", "v"].map(|part| tensors.remove(&name(&format!("{part}.{kind}"))));
        if parts.iter().all(Option::is_none) {
            continue;
        }
        if kind == "bias"
            && parts[1].is_none()
            && let Some(query) = &parts[0]
        {
            parts[1] = Some(RawTensor { shape: query.shape.clone(), data: vec![0.0; query.data.len()] });
        }
        let joined = names::stacked(parts, |part| name(&format!("{}.{kind}", ["q", "k", "v"][part])))?;
        tensors.insert(name(&format!("qkv.{kind}")), joined);
    }
    Ok(())
}
