//! `r2former model export`: a model for other programs.

use crate::common::{ensure_ending, ensure_writable, ensure_writable_folder, load_model, parse_size};
use crate::exit::{ExitStatus, usage};
use crate::output::{self, escaped, print_json};
use anyhow::{Context, Result};
use clap::Args;
use r2former_model::hub;
use r2former_onnx::{Axis, ExportOptions, Exported, InputRange, OPSET, Port, Saved, export, export_reranker};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  r2former model export megaloc.safetensors --onnx megaloc.onnx
  r2former model export megaloc.safetensors --onnx megaloc.onnx --image-size 322x322 --input pixels
  r2former model export megaloc.safetensors --hf megaloc
The built-in model, both stages:
  r2former model export --onnx tiny.onnx --local --reranker tiny-reranker.onnx")]
pub(crate) struct ExportArgs {
    /// Model file [default: the one built in].
    file: Option<PathBuf>,
    /// File to write: the network from `image` to `descriptor`.
    #[arg(long, value_name = "OUT", required_unless_present_any = ["reranker", "hf"])]
    onnx: Option<PathBuf>,
    /// File to write: the reranker, from local features of a query (`query`, [Nq,3+D]) and of N references (`references`, [N,K,3+D])
    /// to `logits` [N,2] (different place, same place) and `scores` [N].
    #[arg(long, value_name = "OUT")]
    reranker: Option<PathBuf>,
    /// Folder to write for a hub (Hugging Face): model.safetensors, byte for byte, config.json and README.md; `model import FOLDER` takes
    /// it back.
    #[arg(long, value_name = "FOLDER")]
    hf: Option<PathBuf>,
    /// Local features as a second output, `local` [N,K,3+D]: x, y, attention and feature, by descending attention, as `extract` writes them.
    #[arg(long, requires = "onnx")]
    local: bool,
    /// Height x width of all images, as in 480x640 [default: any that the model takes].
    #[arg(long, value_name = "HxW", requires = "onnx", value_parser = parse_size)]
    image_size: Option<[usize; 2]>,
    /// Values of the images: normalised (0 to 1, less the mean, divided by the standard deviation), or pixels (0 to 255; the graph
    /// normalises them).
    #[arg(long, value_name = "RANGE", requires = "onnx", default_value_t)]
    input: InputRange,
    /// Write weights to a second file, OUT.data, which has to stay beside the first. Models above 2 GB are always written so.
    #[arg(long)]
    external_data: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitStatus> {
    let files: Vec<&PathBuf> = [&args.onnx, &args.reranker].into_iter().flatten().collect();
    if let [first, second] = files[..]
        && first == second
    {
        usage!("--onnx and --reranker name the same file: {}", escaped(&first.display().to_string()));
    }
    for (option, file) in [("--onnx", &args.onnx), ("--reranker", &args.reranker)] {
        let Some(file) = file else { continue };
        ensure_ending(option, file, "ONNX", "onnx")?;
        ensure_writable(file)?;
    }
    let loaded = load_model(args.file.as_deref())?;
    if let Some(folder) = &args.hf {
        ensure_writable_folder(folder)?;
    }
    let options = ExportOptions { image_size: args.image_size, local: args.local, input: args.input };
    let file = args.hf.as_ref().map(|_| loaded.file()).transpose()?;
    let checkpoint = loaded.into_checkpoint();
    // Both are built before either is written.
    let mut graphs: Vec<(&Path, Exported<'_>)> = Vec::new();
    if let Some(path) = &args.onnx {
        graphs.push((path, export(&checkpoint, &options)?));
    }
    if let Some(path) = &args.reranker {
        graphs.push((path, export_reranker(&checkpoint)?));
    }
    let mut written = Vec::new();
    for (path, graph) in graphs {
        let saved = graph.save(path, args.external_data).with_context(|| path.display().to_string())?;
        written.push((path, graph, saved));
    }
    if let (Some(folder), Some(file)) = (&args.hf, file) {
        hub::write_folder(folder, &checkpoint.config, file)?;
    }
    if args.json {
        let files: Vec<_> =
            written.iter().map(|(path, graph, saved)| described(path, graph, saved)).collect();
        return print_json(&json!({
            "model": checkpoint.config.name, "opset": OPSET, "files": files,
            "folder": args.hf.as_deref().map(Path::to_string_lossy),
        }));
    }
    let mut out = output::stdout();
    for (path, graph, saved) in &written {
        print(&mut out, path, graph, saved)?;
    }
    if let Some(folder) = &args.hf {
        out.line(format_args!("wrote {}", escaped(&folder.display().to_string())))?;
    }
    Ok(ExitStatus::Done)
}

fn described(path: &Path, graph: &Exported<'_>, saved: &Saved) -> serde_json::Value {
    let ports = |ports: &[Port]| -> Vec<serde_json::Value> {
        let axis = |axis: &Axis| match axis {
            Axis::Fixed(size) => json!(size),
            Axis::Named(name) => json!(name),
        };
        let port = |port: &Port| {
            let shape: Vec<_> = port.shape.iter().map(axis).collect();
            json!({ "name": port.name, "shape": shape, "description": port.doc })
        };
        ports.iter().map(port).collect()
    };
    let metadata: serde_json::Map<String, serde_json::Value> =
        graph.metadata.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    json!({
        "path": path.to_string_lossy(),
        "bytes": saved.bytes,
        "data": saved.data.as_ref().map(|(path, bytes)| json!({ "path": path.to_string_lossy(), "bytes": bytes })),
        "inputs": ports(&graph.inputs),
        "outputs": ports(&graph.outputs),
        "metadata": metadata,
        "notes": graph.notes,
    })
}

fn print(out: &mut output::Out, path: &Path, graph: &Exported<'_>, saved: &Saved) -> Result<()> {
    let name = |path: &Path| escaped(&path.display().to_string()).into_owned();
    out.line(format_args!("wrote {}, {} bytes", name(path), saved.bytes))?;
    if let Some((data, bytes)) = &saved.data {
        out.line(format_args!("wrote {}, {bytes} bytes of weights, which belongs beside it", name(data)))?;
    }
    for (what, ports) in [("input", &graph.inputs), ("output", &graph.outputs)] {
        for port in ports {
            let shape: Vec<String> = port.shape.iter().map(ToString::to_string).collect();
            out.line(format_args!("{what:<8} {} [{}]", port.name, shape.join(", ")))?;
            out.line(format_args!("         {}", port.doc))?;
        }
    }
    for note in &graph.notes {
        out.line(format_args!("note: {note}"))?;
    }
    Ok(())
}
