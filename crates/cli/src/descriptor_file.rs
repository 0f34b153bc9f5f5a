//! The file that `extract` writes: descriptors of photographs as safetensors.

use anyhow::{Context, Result, bail, ensure};
use r2former_data::dataset::Shard;
use r2former_model::checkpoint::write_atomically;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Which rows of a whole run's file a shard has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rows {
    pub(crate) shard: u32,
    pub(crate) of: u32,
    /// For each row its number among all photographs.
    pub(crate) rows: Vec<usize>,
    /// How many photographs there are.
    pub(crate) total: usize,
}

impl Rows {
    pub(crate) fn of(shard: Shard, rows: Vec<usize>, total: usize) -> Self {
        Self { shard: shard.index(), of: shard.count(), rows, total }
    }
}

/// Names and shapes of tensors.
pub(crate) struct Shapes(pub(crate) Vec<(&'static str, Vec<usize>)>);

impl Shapes {
    pub(crate) fn json(&self) -> Map<String, Value> {
        self.0.iter().map(|(name, shape)| ((*name).to_owned(), json!(shape))).collect()
    }
}

/// Descriptors in memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DescriptorFile {
    pub(crate) names: Vec<String>,
    /// Name of the model.
    pub(crate) model: String,
    /// Settings as JSON.
    pub(crate) settings: String,
    /// Of all photographs, one after the other.
    pub(crate) global: Vec<f32>,
    /// Values of a global descriptor.
    pub(crate) dim: usize,
    /// Local features of each photograph.
    pub(crate) locals: Vec<Vec<f32>>,
    /// Values of a local feature; 0 of a model without.
    pub(crate) row: usize,
    /// Of a shard.
    pub(crate) part: Option<Rows>,
}

impl DescriptorFile {
    /// Writes it, and returns its tensors.
    pub(crate) fn write(&self, out: &Path) -> Result<Shapes> {
        let (n, row) = (self.names.len(), self.row);
        // Photographs of different sizes may have fewer patches than others: rows of zeros follow.
        let longest = self.locals.iter().map(Vec::len).max().unwrap_or(0);
        let mut local = Vec::with_capacity(n * longest);
        for values in &self.locals {
            local.extend(values);
            local.resize(local.len() + longest - values.len(), 0.0);
        }
        let as_bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let (global_bytes, local_bytes) = (as_bytes(&self.global), as_bytes(&local));
        let mut shapes = vec![("global", vec![n, self.dim], &global_bytes)];
        if let Some(rows) = longest.checked_div(row) {
            shapes.push(("local", vec![n, rows, row], &local_bytes));
        }
        let views = shapes
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>>>()?;
        let mut header = HashMap::from([
            ("names".to_string(), serde_json::to_string(&self.names)?),
            ("model".to_string(), self.model.clone()),
            ("settings".to_string(), self.settings.clone()),
        ]);
        if let Some(part) = &self.part {
            header.insert("shard".to_string(), serde_json::to_string(part)?);
        }
        write_atomically(out, &safetensors::serialize(views, Some(header))?)?;
        Ok(Shapes(shapes.into_iter().map(|(name, shape, _)| (name, shape)).collect()))
    }

    /// Reads one.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
        Self::parse(&bytes).with_context(|| format!("{}: is no file of r2former extract", file.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes)?;
        let (_, about) = SafeTensors::read_metadata(bytes)?;
        let header = about.metadata().clone().unwrap_or_default();
        let text = |key: &str| header.get(key).cloned().with_context(|| format!("its header has no {key}"));
        let names: Vec<String> = serde_json::from_str(&text("names")?)?;
        let part = header.get("shard").map(|text| serde_json::from_str(text)).transpose()?;
        let values = |view: &TensorView<'_>| -> Result<Vec<f32>> {
            ensure!(view.dtype() == Dtype::F32, "its tensors are {:?}, not F32", view.dtype());
            Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        };
        let global = tensors.tensor("global")?;
        let &[n, dim] = global.shape() else { bail!("its tensor global has the shape {:?}", global.shape()) };
        ensure!(n == names.len(), "it has {n} descriptors and {} names", names.len());
        let (mut locals, mut row) = (vec![Vec::new(); n], 0);
        if let Ok(local) = tensors.tensor("local") {
            let &[count, rows, width] = local.shape() else {
                bail!("its tensor local has the shape {:?}", local.shape())
            };
            ensure!(count == n, "it has local features of {count} images and {n} names");
            row = width;
            if rows * width > 0 {
                locals = values(&local)?.chunks_exact(rows * width).map(<[f32]>::to_vec).collect();
            }
        }
        let (model, settings) = (text("model")?, text("settings")?);
        Ok(Self { names, model, settings, global: values(&global)?, dim, locals, row, part })
    }
}
