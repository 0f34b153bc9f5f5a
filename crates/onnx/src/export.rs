//! A model as a graph, with what its user has to know.

use crate::aggregate::global;
use crate::backbone::{Image, backbone};
use crate::error::{OnnxError, Result};
use crate::file::{Contents, LARGEST_MESSAGE};
use crate::graph::{Graph, Value};
use crate::metadata;
use crate::port::{Axis, Port};
use crate::proto::{GraphProto, ModelProto, OperatorSetIdProto};
use crate::{local, reranker};
use r2former_model::checkpoint::{Checkpoint, write_atomically_with};
use r2former_model::{ModelConfig, Precision, R2Former};
use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Version of the operators.
pub const OPSET: i64 = 17;
/// Version of the format that belongs to it.
const IR_VERSION: i64 = 8;

/// What values the input `image` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InputRange {
    /// Pixels from 0 to 1, less the model's mean, divided by its standard deviation: as its training code has them.
    #[default]
    Normalised,
    /// Pixels from 0 to 255; the graph normalises them.
    Pixels,
}

impl InputRange {
    /// Every range with its name.
    pub const ALL: [(&'static str, Self); 2] = [("normalised", Self::Normalised), ("pixels", Self::Pixels)];
}

impl std::fmt::Display for InputRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, value)| value == self).map_or("", |(name, _)| name))
    }
}

impl std::str::FromStr for InputRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found
            .map(|(_, value)| value)
            .ok_or_else(|| format!("'{text}' is not a range of inputs: normalised or pixels"))
    }
}

/// How a model is exported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportOptions {
    /// Height and width of all images. Without it they may differ from run to run, where the model takes other sizes.
    pub image_size: Option<[usize; 2]>,
    /// Whether local features are a second output.
    pub local: bool,
    /// What values the input has.
    pub input: InputRange,
}

/// A graph that is ready to be written; weights stay in the checkpoint.
pub struct Exported<'a> {
    contents: Contents<'a>,
    tensors: BTreeSet<String>,
    /// Inputs of the graph.
    pub inputs: Vec<Port>,
    /// Outputs of the graph.
    pub outputs: Vec<Port>,
    /// `metadata_props` of the file.
    pub metadata: Vec<(String, String)>,
    /// What differs from what might be expected.
    pub notes: Vec<String>,
}

/// The files that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Bytes of the model's file.
    pub bytes: u64,
    /// The file of weights beside it, which has to stay there, and its bytes.
    pub data: Option<(PathBuf, u64)>,
}

impl Exported<'_> {
    /// Names of the checkpoint's tensors that the graph uses.
    pub fn tensors(&self) -> &BTreeSet<String> {
        &self.tensors
    }

    /// Writes the file, atomically. Weights go to a file beside it, `NAME.data`, if `external_data` asks for that or the model
    /// would exceed the 2 GiB that a message of protocol buffers may have.
    ///
    /// # Errors
    /// [`OnnxError::Model`] if a file cannot be written, [`OnnxError::File`] for a name that the model cannot hold.
    pub fn save(&self, path: &Path, external_data: bool) -> Result<Saved> {
        let external = external_data || self.contents.file_bytes(None) > LARGEST_MESSAGE;
        if !external {
            write_file(path, |out| self.contents.write(out, None))?;
            return Ok(Saved { bytes: self.contents.file_bytes(None), data: None });
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            let problem = "a model with its weights in a second file needs a name in UTF-8".into();
            return Err(OnnxError::File { path: path.into(), problem });
        };
        let data_name = format!("{name}.data");
        let data = path.with_file_name(&data_name);
        write_file(&data, |out| self.contents.write_external(out))?;
        write_file(path, |out| self.contents.write(out, Some(&data_name)))?;
        let bytes = self.contents.external_bytes();
        Ok(Saved { bytes: self.contents.file_bytes(Some(&data_name)), data: Some((data, bytes)) })
    }
}

fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    write_atomically_with(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        out.flush()
    })?;
    Ok(())
}

/// The graph from `image` to `descriptor`, and to `local` if asked for.
///
/// # Errors
/// [`OnnxError::Model`] for tensors that do not fit the configuration or an image size that the model does not take,
/// [`OnnxError::Request`] if local features are asked for and the model has none.
pub fn export<'a>(checkpoint: &'a Checkpoint, options: &ExportOptions) -> Result<Exported<'a>> {
    let config = &checkpoint.config;
    R2Former::check(config, &checkpoint.tensors)?;
    if options.local && config.local.is_none() {
        return Err(OnnxError::Request(format!(
            "model {} has no local features to export: leave --local out, or give it some with model copy --local patches",
            config.name
        )));
    }
    let mut notes = Vec::new();
    let size = fixed_size(config, options, &mut notes)?;
    let mut g = Graph::new(&checkpoint.tensors);
    let input = Value::named("image");
    let side = |g: &mut Graph<'_>, i: usize| match size {
        Some(size) => size[i].into(),
        None => g.size_of(&input, i as i64 + 2),
    };
    let batch = g.size_of(&input, 0);
    let (height, width) = (side(&mut g, 0), side(&mut g, 1));
    let pixels = match options.input {
        InputRange::Normalised => input,
        InputRange::Pixels => normalised(&mut g, config, &input),
    };
    let image = Image { pixels, batch, height, width };
    let features = options.local || config.global.is_of_local_features();
    let tokens = backbone(&mut g, config, &image, features);
    let (descriptor, weights) = global(&mut g, config, &tokens);
    g.output(&descriptor, "descriptor");
    let mut outputs = vec![Port {
        name: "descriptor".into(),
        shape: vec![Axis::Named("batch"), Axis::Fixed(config.global_dim())],
        doc: metadata::DESCRIPTOR.into(),
    }];
    if let Some(selected) = config.local.as_ref().filter(|_| options.local) {
        let rows = local::local(&mut g, config, selected, &image, &tokens, weights.as_ref());
        if let Some(rows) = rows {
            g.output(&rows, "local");
        }
        let count = size.map_or(Axis::Named("features"), |[height, width]| {
            Axis::Fixed(config.local_count(height, width))
        });
        outputs.push(Port {
            name: "local".into(),
            shape: vec![Axis::Named("batch"), count, Axis::Fixed(config.local_row())],
            doc: metadata::LOCAL.into(),
        });
        if selected.projected && !config.trained.local {
            notes.push("the local features are a random projection, which was not trained".into());
        }
    }
    if !config.trained.global {
        notes.push("the descriptor was not trained for place recognition".into());
    }
    if config.precision == Precision::Bf16 {
        notes.push("the model computes in bfloat16 by default, the graph in 32-bit floats".into());
    }
    let [rows, columns] = match size {
        Some(size) => size.map(Axis::Fixed),
        None => [Axis::Named("height"), Axis::Named("width")],
    };
    let preprocessing = metadata::preprocessing(config, options.input, size);
    let metadata = metadata::of_model(checkpoint, options, size, &preprocessing);
    let inputs = vec![Port {
        name: "image".into(),
        shape: vec![Axis::Named("batch"), Axis::Fixed(3), rows, columns],
        doc: preprocessing,
    }];
    finish(
        g,
        config,
        "Descriptors of photographs for visual place recognition",
        inputs,
        outputs,
        metadata,
        notes,
    )
}

/// The graph from local features of a query and of references to the reranker's `logits` and `scores`.
///
/// # Errors
/// [`OnnxError::Model`] for tensors that do not fit the configuration, [`OnnxError::Request`] for a model without a reranker.
pub fn export_reranker(checkpoint: &Checkpoint) -> Result<Exported<'_>> {
    let config = &checkpoint.config;
    R2Former::check(config, &checkpoint.tensors)?;
    let Some(reranker) = &config.reranker else {
        return Err(OnnxError::Request(format!("model {} has no reranker to export", config.name)));
    };
    let mut g = Graph::new(&checkpoint.tensors);
    let row = config.local_row();
    let sides = [Value::named("query"), Value::named("references")];
    let logits = reranker::reranker(&mut g, reranker, sides.each_ref(), row);
    g.output(&logits, "logits");
    let [different, same] = g.split(&logits, [1; 2], 1);
    let difference = g.sub(&same, &different);
    let scores = g.sigmoid(&difference);
    let scores = g.squeeze(&scores, 1);
    g.output(&scores, "scores");
    let port = |name: &str, shape: Vec<Axis>, doc: &str| Port { name: name.into(), shape, doc: doc.into() };
    let inputs = vec![
        port("query", vec![Axis::Named("query_features"), Axis::Fixed(row)], metadata::LOCAL),
        port(
            "references",
            vec![Axis::Named("references"), Axis::Named("reference_features"), Axis::Fixed(row)],
            metadata::LOCAL,
        ),
    ];
    let outputs = vec![
        port("logits", vec![Axis::Named("references"), Axis::Fixed(2)], metadata::LOGITS),
        port("scores", vec![Axis::Named("references")], metadata::SCORES),
    ];
    let mut notes = Vec::new();
    if !config.trained.reranker {
        notes.push("the reranker is not trained: its scores mean nothing".into());
    }
    if reranker.inliers.is_some() {
        notes.push(
            "scores are the network's alone: RANSAC's inliers, which this model weighs beside its logits, are not in the graph"
                .into(),
        );
    }
    let metadata = metadata::of_reranker(checkpoint);
    finish(
        g,
        config,
        "Whether two photographs show the same place, by their local features",
        inputs,
        outputs,
        metadata,
        notes,
    )
}

/// Height and width, where the graph takes one size only.
fn fixed_size(
    config: &ModelConfig,
    options: &ExportOptions,
    notes: &mut Vec<String>,
) -> Result<Option<[usize; 2]>> {
    if let Some([height, width]) = options.image_size {
        config.check_size(height, width)?;
        return Ok(Some([height, width]));
    }
    if let Some(size) = config.fixed_size() {
        notes.push(format!("this model takes {}x{} only", size[0], size[1]));
        return Ok(Some(size));
    }
    Ok(None)
}

/// Pixels from 0 to 255 as the model takes them.
fn normalised(g: &mut Graph<'_>, config: &ModelConfig, image: &Value) -> Value {
    let input = &config.input;
    let channels = |f: &dyn Fn(usize) -> f64| -> Vec<f32> { (0..3).map(|i| f(i) as f32).collect() };
    let scale = channels(&|i| 1.0 / (255.0 * f64::from(input.std[i])));
    let offset = channels(&|i| f64::from(input.mean[i]) / f64::from(input.std[i]));
    let (scale, offset) = (g.floats(&[1, 3, 1, 1], &scale), g.floats(&[1, 3, 1, 1], &offset));
    let scaled = g.mul(image, &scale);
    g.sub(&scaled, &offset)
}

fn finish<'a>(
    mut g: Graph<'a>,
    config: &ModelConfig,
    doc: &str,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    metadata: Vec<(String, String)>,
    notes: Vec<String>,
) -> Result<Exported<'a>> {
    g.finish()?;
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("r2former".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: Some(doc.into()),
        graph: None,
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: metadata.iter().map(|(key, value)| crate::file::entry(key, value)).collect(),
    };
    let graph = GraphProto {
        node: g.nodes,
        // A graph has to have a name.
        name: Some(if config.name.is_empty() { "model".into() } else { config.name.clone() }),
        initializer: Vec::new(),
        doc_string: None,
        input: inputs.iter().map(Port::info).collect(),
        output: outputs.iter().map(Port::info).collect(),
    };
    let contents = Contents { model, graph, initializers: g.initializers };
    Ok(Exported { contents, tensors: g.used, inputs, outputs, metadata, notes })
}
