//! Recognition of other projects' tensor names.

use crate::weights::{RawTensor, Tensors};
use crate::{ModelError, Result};

/// Prefix of every name in published R2Former files, which were saved from `DataParallel`.
pub(super) const PUBLISHED: &str = "module.";

pub(super) fn is_published(tensors: &Tensors) -> bool {
    let full = tensors.keys().any(|k| k.trim_start_matches(PUBLISHED).starts_with("Reranker."));
    full || (tensors.keys().all(|k| k.starts_with(PUBLISHED))
        && ["module.patch_embed.proj.weight", "module.blocks.0.attn.qkv.weight"]
            .iter()
            .any(|name| tensors.contains_key(*name)))
}

pub(super) fn is_vit(tensors: &Tensors) -> bool {
    // Either name suffices, so that the error for a file without the other one names it.
    super::transformers::recognise(tensors)
        || tensors.contains_key("blocks.0.attn.qkv.weight")
        || (tensors.contains_key("patch_embed.proj.weight")
            && tensors.keys().any(|k| k.starts_with("blocks.0.attn.")))
}

pub(super) fn is_resnet(tensors: &Tensors) -> bool {
    let any = |stem: &str| tensors.keys().any(|name| name.starts_with(stem));
    any("layer1.0.") && any("layer4.0.")
}

/// The number of blocks `{stem}0.`, `{stem}1.`, ..., by the highest index: a gap is then reported as missing tensors.
pub(super) fn depth(tensors: &Tensors, stem: &str) -> usize {
    let index = |name: &String| name.strip_prefix(stem)?.split_once('.')?.0.parse::<usize>().ok();
    tensors.keys().filter_map(index).max().map_or(0, |last| last.saturating_add(1))
}

/// The length of a tensor's first axis; `None` if it is missing or a scalar.
pub(super) fn rows(tensors: &Tensors, name: &str) -> Option<usize> {
    tensors.get(name)?.shape.first().copied()
}

/// Removes the tensors that `known` recognises and returns their names.
pub(super) fn set_aside(tensors: &mut Tensors, known: impl Fn(&str) -> bool) -> Vec<String> {
    let names: Vec<String> = tensors.keys().filter(|k| known(k)).cloned().collect();
    for name in &names {
        tensors.remove(name);
    }
    names
}

/// Renames by prefix; the first matching rule wins.
pub(super) fn rename(tensors: Tensors, rules: &[(&str, &str)]) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (renamed(&name, rules), tensor)).collect()
}

/// One name by the same rules.
pub(super) fn renamed(name: &str, rules: &[(&str, &str)]) -> String {
    let new = rules.iter().find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")));
    new.unwrap_or_else(|| name.to_string())
}

/// Matrices or vectors of one shape as one, below each other; `name` is that of each part in errors.
pub(super) fn stacked<const N: usize>(
    parts: [Option<RawTensor>; N],
    name: impl Fn(usize) -> String,
) -> Result<RawTensor> {
    let mut whole = RawTensor { shape: Vec::new(), data: Vec::new() };
    for (i, part) in parts.into_iter().enumerate() {
        let RawTensor { shape, data } =
            part.ok_or_else(|| ModelError::Config(format!("{} is missing", name(i))))?;
        if shape.is_empty() || (i > 0 && shape != whole.shape) {
            return Err(ModelError::Config(format!(
                "{} has shape {shape:?}, which does not fit {} of {:?}",
                name(i),
                name(0),
                whole.shape
            )));
        }
        whole.shape = shape;
        whole.data.extend(data);
    }
    if let Some(rows) = whole.shape.first_mut() {
        *rows *= N;
    }
    Ok(whole)
}
