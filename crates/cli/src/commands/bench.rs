//! `r2former bench`: speed of this machine, stage by stage.

use super::bench_eval::{self, EvalBenchArgs};
use super::bench_index::{self, SearchArgs, StoreArgs};
use crate::common::{InputArgs, Machine, model_or_preset, parse_size};
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use r2former_engine::{
    Extractor, LoadedModel, LocateOptions, PlaceIndex, RerankMethod, Timing, locate, rerank,
};
use r2former_eval::cost::{
    Random, SyntheticDescriptors, Times, peak_bytes, random_local_features, resident_bytes,
};
use r2former_index::{NewPlace, Place, WritePlaces};
use r2former_train::{time_global_step, time_rerank_step};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Extraction: seconds_per_image, one image at a time or in batches (--batch).
    Extract(BenchArgs),
    /// Reranking the candidates of one query by the model: ms_per_pair.
    Rerank(BenchArgs),
    /// Exact search among synthetic descriptors, without a model: ms_per_query (the median, p50) and p99, open_ms (opening
    /// the index and the first answer), batch_ms with --batch, and memory before and after 1,000 queries.
    Search(SearchArgs),
    /// Adding ready features in synced commits (images_per_second), and fetching candidates' local features (fetch_ms).
    Store(StoreArgs),
    /// A whole query, from JPEG to answer, on an index of random features: ms_per_query and each stage. With more than
    /// 50 runs also the growth of the program's memory.
    Query(BenchArgs),
    /// A dry run of an evaluation with synthetic features: time and peak memory of search, reranking and scoring.
    Eval(EvalBenchArgs),
    /// A training step: forward_s, backward_s and optimizer_s of a batch, and peak memory. By default of the global stage
    /// on random images; with --pairs, of the reranker alone on random local features.
    Step(StepArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StepArgs {
    /// Architecture with random weights: deit-s, deit-b, vit-tiny, vit-s, vit-b, dinov2-s, dinov2-b, dinov2-l, dinov2-g, dinov3-s, dinov3-s-plus, dinov3-b, dinov3-l, megaloc, salad, boq-dinov2, cricavpr, selavpr or selavprplusplus.
    #[arg(long, value_name = "NAME", default_value = "vit-tiny")]
    preset: String,
    /// Image size, height x width in pixels.
    #[arg(long, default_value = "224x224", value_name = "HxW", value_parser = parse_size)]
    image_size: [usize; 2],
    /// Images per batch: triplets, so a multiple of 3.
    #[arg(long, default_value_t = 24, value_name = "N")]
    batch: usize,
    /// Pairs per batch; measures the reranker alone.
    #[arg(long, value_name = "N", conflicts_with_all = ["preset", "image_size", "batch"])]
    pairs: Option<usize>,
    /// Local features per image of a pair.
    #[arg(long, default_value_t = 200, value_name = "N", requires = "pairs")]
    local_features: usize,
    /// Runs to measure, after one to warm up.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Architecture with random weights: deit-s, deit-b, vit-tiny, vit-s, vit-b, dinov2-s, dinov2-b, dinov2-l, dinov2-g, dinov3-s, dinov3-s-plus, dinov3-b, dinov3-l, megaloc, salad, boq-dinov2, cricavpr, selavpr, selavprplusplus, cosplace-r50, cosplace-vgg16 or mixvpr.
    #[arg(long, value_name = "NAME", conflicts_with = "model", default_value = "deit-s")]
    preset: String,
    /// Model file, in place of --preset.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// Candidates per query.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// Images of the index.
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    images: u32,
    /// Images per batch (extract only); on a CPU each core processes one image at a time.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    batch: u32,
    /// Runs to measure, after one to warm up.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &BenchCommand, machine: &Machine) -> Result<ExitStatus> {
    let (what, args) = match command {
        BenchCommand::Extract(args) => ("extract", args),
        BenchCommand::Rerank(args) => ("rerank", args),
        BenchCommand::Search(args) => return bench_index::search(args),
        BenchCommand::Store(args) => return bench_index::store(args),
        BenchCommand::Query(args) => ("query", args),
        BenchCommand::Eval(args) => return bench_eval::run(args, machine),
        BenchCommand::Step(args) => return step(args, machine),
    };
    let loaded = model_or_preset(args.model.as_deref(), &args.preset)?;
    let settings = args.input.settings(&loaded, machine)?;
    let bench = Bench { args, extractor: machine.extractor(loaded.clone(), settings)?, loaded };
    let measured = match command {
        BenchCommand::Extract(_) => bench.extract()?,
        BenchCommand::Rerank(_) => bench.rerank()?,
        BenchCommand::Query(_) => bench.query()?,
        _ => Map::new(),
    };
    let mut report = bench.setting(what, machine);
    report.extend(measured);
    show(&report, args.json)
}

fn step(args: &StepArgs, machine: &Machine) -> Result<ExitStatus> {
    let [height, width] = args.image_size;
    let runs = args.runs as usize;
    let device = machine.device()?;
    let mut report = Map::new();
    let (time, rate, count) = match args.pairs {
        Some(pairs) => {
            report.insert("pairs".into(), json!(pairs));
            report.insert("local_features".into(), json!(args.local_features));
            (time_rerank_step(pairs, args.local_features, runs, &device)?, "pairs_per_second", pairs)
        }
        None => {
            report.insert("preset".into(), json!(args.preset));
            report.insert("image_size".into(), json!(format!("{height}x{width}")));
            report.insert("batch".into(), json!(args.batch));
            let time = time_global_step(&args.preset, args.image_size, args.batch, runs, &device)?;
            (time, "images_per_second", args.batch)
        }
    };
    report.insert("device".into(), json!(machine.device));
    report.insert("threads".into(), json!(rayon::current_num_threads()));
    if let Value::Object(times) = serde_json::to_value(time)? {
        report.extend(times);
    }
    report.insert(rate.into(), json!(count as f64 / (time.forward_s + time.backward_s + time.optimizer_s)));
    report.insert("peak_bytes".into(), json!(peak_bytes()));
    show(&report, args.json)
}

pub(crate) fn show(report: &Map<String, Value>, json: bool) -> Result<ExitStatus> {
    if json {
        return print_json(report);
    }
    let mut out = output::stdout();
    for (name, value) in report {
        out.line(format_args!("{name:<24}{}", plain(value)))?;
    }
    Ok(ExitStatus::Done)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    }
}

struct Bench<'a> {
    args: &'a BenchArgs,
    extractor: Extractor,
    loaded: LoadedModel,
}

impl Bench<'_> {
    /// What is measured, and the settings.
    fn setting(&self, what: &str, machine: &Machine) -> Map<String, Value> {
        let settings = self.extractor.settings();
        let reranker = self.extractor.fused().map(|fused| fused.level().name());
        let backbone = self.extractor.fused_backbone();
        let setting = json!({
            "measured": what,
            "model": self.extractor.config().name,
            "image_size": format!("{}x{}", settings.height, settings.width),
            "precision": settings.precision.to_string(),
            "local_features": self.local_count(),
            "device": machine.device,
            "threads": rayon::current_num_threads(),
            "instructions": backbone.map(|backbone| backbone.level().name()),
            "products": backbone.map(|backbone| backbone.products().to_string()),
            "reranker_instructions": reranker,
            "runs": self.args.runs,
        });
        match setting {
            Value::Object(setting) => setting,
            _ => Map::new(),
        }
    }

    fn local_count(&self) -> usize {
        let settings = self.extractor.settings();
        self.extractor.config().local_count(settings.height, settings.width)
    }

    fn times(&self, run: impl FnMut() -> Result<f64>) -> Result<Times> {
        Times::measure(self.args.runs as usize, run)
    }

    fn extract(&self) -> Result<Map<String, Value>> {
        let settings = self.extractor.settings();
        let mut random = Random::new(1);
        let input: Vec<f32> =
            (0..3 * settings.height * settings.width).map(|_| 2.0 * random.number()).collect();
        let inputs = vec![input; self.args.batch as usize];
        let times = self.times(|| {
            let start = Instant::now();
            self.extractor.extract(&inputs)?;
            Ok(start.elapsed().as_secs_f64() / inputs.len() as f64)
        })?;
        let mut measured = named("seconds_per_image", times);
        measured.insert("batch".into(), inputs.len().into());
        Ok(measured)
    }

    fn rerank(&self) -> Result<Map<String, Value>> {
        let row = self.extractor.config().local_row();
        if row == 0 || self.extractor.config().reranker.is_none() {
            bail!("model {} has no reranker", self.extractor.config().name);
        }
        let count = self.local_count();
        let mut random = Random::new(2);
        let query: Vec<f32> = (0..count * row).map(|_| random.number()).collect();
        let candidates: Vec<Vec<u8>> =
            (0..self.args.candidates).map(|_| random_local_features(&mut random, count * row)).collect();
        let candidates: Vec<&[u8]> = candidates.iter().map(Vec::as_slice).collect();
        let times = self.times(|| {
            let start = Instant::now();
            rerank(&self.extractor, &query, &candidates)?;
            Ok(1000.0 * start.elapsed().as_secs_f64() / candidates.len() as f64)
        })?;
        let mut measured = named("ms_per_pair", times);
        measured.insert("candidates".into(), candidates.len().into());
        Ok(measured)
    }

    /// An index of random images.
    fn index(&self, dir: &Path) -> Result<PlaceIndex> {
        let index = PlaceIndex::create(dir, &self.loaded, self.extractor.settings())?;
        let config = &index.manifest.config;
        let (dim, width) = (config.global_dim, config.row_width * config.max_rows);
        let mut writer = index.writer()?;
        let (descriptors, mut random) = (SyntheticDescriptors::new(dim), Random::new(3));
        let mut batch = Vec::new();
        for i in 0..self.args.images {
            batch.push(NewPlace {
                place: Place { name: format!("{i}.jpg"), ..Place::default() },
                global: descriptors.of(i / SyntheticDescriptors::PER_PLACE, &mut random),
                local: random_local_features(&mut random, width),
            });
            if batch.len() == 64 {
                writer.add(&batch)?;
                batch.clear();
            }
        }
        writer.add(&batch)?;
        writer.close()?;
        Ok(index)
    }

    fn query(&self) -> Result<Map<String, Value>> {
        let home = tempfile::tempdir()?;
        let settings = self.extractor.settings();
        let photo = home.path().join("query.jpg");
        let mut random = Random::new(5);
        let pixels = (0..3 * settings.height * settings.width)
            .map(|i| (i / 97 % 200) as u8 + (random.bits() % 40) as u8);
        let image = Rgb8 { width: settings.width, height: settings.height, pixels: pixels.collect() };
        std::fs::write(&photo, jpeg_with_tags(&image, 90, &PhotoTags::default())?)?;
        let index = self.index(&home.path().join("index"))?;
        let reader = index.reader()?;
        let reranks = self.extractor.config().reranker.is_some();
        let options = LocateOptions::default()
            .top(5)
            .candidates(self.args.candidates as usize)
            .rerank(if reranks { RerankMethod::Model } else { RerankMethod::None });
        let mut stages: Vec<Timing> = Vec::new();
        let mut memory = Vec::new();
        let times = self.times(|| {
            memory.extend(resident_bytes().map(|bytes| bytes as f64 / (1 << 20) as f64));
            let start = Instant::now();
            let answer = locate(&reader, &self.extractor, &photo, &options)?;
            stages.push(answer.timing);
            Ok(1000.0 * start.elapsed().as_secs_f64())
        })?;
        let mut measured = named("ms_per_query", times);
        let median = |stage: fn(&Timing) -> f64| {
            let mut all: Vec<f64> = stages[1..].iter().map(stage).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        measured.extend([
            ("decode_ms".into(), median(|t| t.decode_ms).into()),
            ("extract_ms".into(), median(|t| t.extract_ms).into()),
            ("search_ms".into(), median(|t| t.search_ms).into()),
            ("fetch_ms".into(), median(|t| t.fetch_ms).into()),
            ("rerank_ms".into(), median(|t| t.rerank_ms).into()),
            ("images".into(), self.args.images.into()),
            ("candidates".into(), self.args.candidates.into()),
        ]);
        if let Some(last) = memory.last() {
            measured.insert("memory_mb".into(), (*last).into());
            // The first runs fill caches and pools.
            if let Some(early) = memory.get(memory.len() / 10).filter(|_| memory.len() > 50) {
                measured.insert("memory_growth_mb".into(), (last - early).into());
            }
        }
        Ok(measured)
    }
}

fn named(name: &str, times: Times) -> Map<String, Value> {
    let Times { median, min, max } = times;
    [(name.to_string(), median), (format!("{name}_min"), min), (format!("{name}_max"), max)]
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect()
}
