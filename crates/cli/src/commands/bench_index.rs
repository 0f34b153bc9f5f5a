//! `r2former bench search` and `r2former bench store`: the index alone, without a model.

use crate::exit::ExitStatus;
use crate::output::bytes;
use anyhow::{Context, Result, bail};
use clap::Args;
use r2former_eval::cost::{Random, SyntheticDescriptors, random_local_features, resident_parts};
use r2former_index::{
    Filter, IndexConfig, NewPlace, Place, Positions, ReadPlaces, Reader, WritePlaces, Writer, place_id,
};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bytes of descriptors or local features that are made ahead and added in one commit.
const AHEAD: usize = 32 << 20;

/// Queries between the two measurements of memory.
const MEMORY_QUERIES: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Descriptors in the index. 2800000 of 256 dimensions take about 4 GB on disk.
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    images: u32,
    /// Dimensions of a descriptor.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    dim: u32,
    /// Queries that share one pass over the descriptors; with more than 1, batch_ms is measured too.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Candidates per query.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// Queries to measure, one at a time, after one to warm up.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Folder for the index, which is removed at the end [default: the system's folder for temporary files].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Index to measure: made here if the folder is missing, and kept, so that a second run need not make it again.
    #[arg(long, value_name = "DIR", conflicts_with = "dir")]
    index: Option<PathBuf>,
    /// Descriptors for the index in place of random ones: little-endian 32-bit floats, --images rows of --dim.
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    /// Descriptors to search for in place of random ones, in the same form; used again from the start when all were.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Writes what was found for each of --queries: JSON lists of [row, similarity].
    #[arg(long, value_name = "FILE", requires = "queries")]
    answers: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Images to add.
    #[arg(long, default_value_t = 8000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    images: u32,
    /// Dimensions of a descriptor.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    dim: u32,
    /// Local features per image.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    local_features: u32,
    /// Images per synced commit.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Candidates whose local features are fetched.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// Fetches to measure, after one to warm up.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Folder for the index, which is removed at the end [default: the system's folder for temporary files].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Bytes of one of the built-in model's local features: x, y, attention and 128 dimensions.
const ROW: usize = 131;

/// Rows of floats from a file, again from the start at its end, or random ones.
enum Rows {
    File(BufReader<File>, PathBuf),
    Random(SyntheticDescriptors, Random, u32),
}

impl Rows {
    fn new(file: Option<&Path>, dim: usize, seed: u64) -> Result<Self> {
        match file {
            Some(path) => Ok(Self::File(open(path)?, path.into())),
            None => Ok(Self::Random(SyntheticDescriptors::new(dim), Random::new(seed), 0)),
        }
    }

    /// The next row: random ones show each place [`SyntheticDescriptors::PER_PLACE`] times.
    fn next(&mut self, dim: usize) -> Result<Vec<f32>> {
        match self {
            Self::Random(descriptors, random, number) => {
                *number += 1;
                Ok(descriptors.of((*number - 1) / SyntheticDescriptors::PER_PLACE, random))
            }
            Self::File(file, path) => {
                let mut row = vec![0; 4 * dim];
                if file.read_exact(&mut row).is_err() {
                    *file = open(path)?;
                    file.read_exact(&mut row).with_context(|| {
                        format!("{}: there is no row of {dim} 32-bit floats in it", path.display())
                    })?;
                }
                Ok(row.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
            }
        }
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    Ok(BufReader::new(File::open(path).with_context(|| path.display().to_string())?))
}

/// A folder that is removed when it is dropped.
fn temporary(dir: Option<&Path>) -> Result<tempfile::TempDir> {
    match dir {
        Some(dir) => tempfile::tempdir_in(dir).with_context(|| dir.display().to_string()),
        None => Ok(tempfile::tempdir()?),
    }
}

fn config(dim: usize, local_features: usize) -> IndexConfig {
    IndexConfig {
        model: "bench".into(),
        fingerprint: "bench".into(),
        global_dim: dim,
        row_width: if local_features > 0 { ROW } else { 0 },
        max_rows: local_features,
        positions: Positions::None,
    }
}

fn image(number: u32, global: Vec<f32>, local: Vec<u8>) -> NewPlace {
    NewPlace { place: Place { name: number.to_string(), ..Place::default() }, global, local }
}

/// The time that half, and that 99 of 100, do not exceed.
fn percentiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    (at(0.5), at(0.99))
}

fn ms(start: Instant) -> f64 {
    1000.0 * start.elapsed().as_secs_f64()
}

pub(crate) fn search(args: &SearchArgs) -> Result<ExitStatus> {
    let (dim, top, all) = (args.dim as usize, args.candidates as usize, Filter::default());
    let home = temporary(args.dir.as_deref())?;
    let dir = args.index.clone().unwrap_or_else(|| home.path().join("index"));
    let mut report = Map::new();
    if !dir.exists() {
        let need = u64::from(args.images) * (5 * dim as u64 + 400);
        eprintln!("an index of about {} in {}", bytes(need), dir.display());
        report.insert("filling_s".into(), json!(fill(args, &dir)?));
    }
    let mut queries = Rows::new(args.queries.as_deref(), dim, 4)?;
    let first = queries.next(dim)?;
    let start = Instant::now();
    let reader = Reader::open(&dir, None)?;
    reader.search(&first, top, &all)?;
    report.insert("open_ms".into(), json!(ms(start)));
    let info = reader.info()?;
    if (info.images, info.config.global_dim) != (args.images as usize, dim) {
        let (images, dim) = (info.images, info.config.global_dim);
        bail!("{}: it has {images} descriptors of {dim} dimensions; name another folder", dir.display());
    }
    let mut one = || -> Result<f64> {
        let query = queries.next(dim)?;
        let start = Instant::now();
        let hits = reader.search(&query, top, &all)?;
        let time = ms(start);
        drop(hits);
        Ok(time)
    };
    let (p50, p99) = percentiles((0..args.runs).map(|_| one()).collect::<Result<_>>()?);
    let before = resident_parts();
    for _ in 0..MEMORY_QUERIES {
        one()?;
    }
    let after = resident_parts();
    report.extend([
        ("images".into(), json!(args.images)),
        ("dim".into(), json!(dim)),
        ("candidates".into(), json!(top)),
        ("threads".into(), json!(rayon::current_num_threads())),
        ("runs".into(), json!(args.runs)),
        ("ms_per_query".into(), json!(p50)),
        ("p50".into(), json!(p50)),
        ("p99".into(), json!(p99)),
        ("index_bytes".into(), json!(info.bytes)),
    ]);
    match before.zip(after) {
        Some((before, after)) => {
            for (name, parts) in [("before", before), ("after_1000_queries", after)] {
                report.insert(format!("memory_anonymous_{name}"), json!(parts.anonymous));
                report.insert(format!("memory_of_files_{name}"), json!(parts.files));
            }
        }
        None => drop(report.insert("memory".into(), "not available on this system".into())),
    }
    if args.batch > 1 {
        let batch = (0..args.batch).map(|_| queries.next(dim)).collect::<Result<Vec<_>>>()?;
        let batch: Vec<&[f32]> = batch.iter().map(Vec::as_slice).collect();
        let mut times = Vec::new();
        for i in 0..=args.runs.min(10) {
            let start = Instant::now();
            reader.search_many(&batch, top, &all)?;
            times.extend((i > 0).then(|| ms(start)));
        }
        report.insert("batch".into(), json!(args.batch));
        report.insert("batch_ms".into(), json!(percentiles(times).0));
    }
    if let (Some(file), Some(path)) = (&args.answers, &args.queries) {
        let count = std::fs::metadata(path)?.len() / (4 * dim as u64);
        let mut rows = Rows::new(Some(path), dim, 0)?;
        let answers = (0..count).map(|_| -> Result<Value> {
            let hits = reader.search(&rows.next(dim)?, top, &all)?;
            let hit = |hit: &r2former_index::Hit| json!([hit.place.name.parse::<u64>().ok(), hit.similarity]);
            Ok(hits.iter().map(hit).collect())
        });
        let answers = Value::Array(answers.collect::<Result<_>>()?);
        std::fs::write(file, answers.to_string()).with_context(|| file.display().to_string())?;
    }
    super::bench::show(&report, args.json)
}

/// Fills an index, and returns the seconds that it took, without those for random numbers.
fn fill(args: &SearchArgs, dir: &Path) -> Result<f64> {
    let dim = args.dim as usize;
    let mut rows = Rows::new(args.vectors.as_deref(), dim, 3)?;
    let mut writer = Writer::create(dir, config(dim, 0))?;
    let step = (AHEAD / (4 * dim)).clamp(64, 8192);
    let mut spent = 0.0;
    for first in (0..args.images).step_by(step) {
        let batch = (first..args.images.min(first + step as u32))
            .map(|i| Ok(image(i, rows.next(dim)?, Vec::new())))
            .collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        writer.add(&batch)?;
        spent += start.elapsed().as_secs_f64();
    }
    writer.close()?;
    Ok(spent)
}

pub(crate) fn store(args: &StoreArgs) -> Result<ExitStatus> {
    let (dim, local_features) = (args.dim as usize, args.local_features as usize);
    let home = temporary(args.dir.as_deref())?;
    let dir = home.path().join("index");
    let need = u64::from(args.images) * (5 * dim + ROW * local_features + 1024) as u64;
    eprintln!("an index of about {} in {}", bytes(need), dir.display());
    let mut writer = Writer::create(&dir, config(dim, local_features))?;
    let (mut rows, mut random) = (Rows::new(None, dim, 3)?, Random::new(5));
    let mut spent = 0.0;
    for first in (0..args.images).step_by(args.batch as usize) {
        let batch = (first..args.images.min(first + args.batch))
            .map(|i| {
                let local = random_local_features(&mut random, ROW * local_features);
                Ok(image(i, rows.next(dim)?, local))
            })
            .collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        writer.add(&batch)?;
        spent += start.elapsed().as_secs_f64();
    }
    writer.close()?;
    let reader = Reader::open(&dir, None)?;
    // Every image once: warm.
    let all: Vec<_> = (0..args.images).map(|i| place_id(&i.to_string())).collect();
    for some in all.chunks(args.candidates as usize) {
        reader.locals(some)?;
    }
    let mut times = Vec::new();
    for _ in 0..args.runs {
        let ids: Vec<_> = (0..args.candidates).map(|_| all[random.bits() as usize % all.len()]).collect();
        let start = Instant::now();
        let found = reader.locals(&ids)?;
        times.push(ms(start));
        if found.iter().any(Option::is_none) {
            bail!("an image that was added is missing");
        }
    }
    let (p50, p99) = percentiles(times);
    let report = json!({
        "images": args.images,
        "dim": dim,
        "local_features": local_features,
        "batch": args.batch,
        "candidates": args.candidates,
        "threads": rayon::current_num_threads(),
        "images_per_second": f64::from(args.images) / spent,
        "fetch_ms": p50,
        "fetch_p99_ms": p99,
        "index_bytes": reader.info()?.bytes,
    });
    let Value::Object(report) = report else { return Ok(ExitStatus::Done) };
    super::bench::show(&report, args.json)
}
