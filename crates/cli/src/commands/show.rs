//! `r2former show`: pictures of what the model sees and finds.

use crate::common::{Machine, ModelArgs, rerank_or_default};
use crate::exit::ExitStatus;
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use r2former_data::dataset::{SourceOptions, list_photos};
use r2former_data::{LatLon, geo};
use r2former_engine::{Extractor, LocateOptions, PlaceIndex, Progress, Rerank, locate};
use r2former_eval::pictures::{
    GalleryRow, MapPoint, Photograph, Tile, draw_attention, draw_matches, gallery, map,
};
use r2former_index::{Filter, ReadPlaces, SearchMode};
use r2former_model::checkpoint::write_atomically;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum ShowCommand {
    /// Where the model looks: local features over a photograph, by attention.
    Attention(AttentionArgs),
    /// Why two photographs match: what moves the reranker, and RANSAC's inliers.
    Matches(MatchesArgs),
    /// What an index answers, as photographs: each query beside its matches.
    Query(QueryArgs),
    /// Where an index says that photographs with positions were taken, and where they were.
    Map(MapArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AttentionArgs {
    /// A photograph.
    image: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// The picture to write.
    #[arg(long, default_value = "attention.svg", value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MatchesArgs {
    /// The query.
    a: PathBuf,
    /// The reference.
    b: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// The picture to write.
    #[arg(long, default_value = "matches.svg", value_name = "FILE")]
    out: PathBuf,
}

/// An index and how it is asked.
#[derive(Debug, Args)]
struct Asking {
    /// Folder of the index.
    index: PathBuf,
    /// Candidates of the global search that are reranked.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// model, ransac, or none [default: model where its reranker is trained].
    #[arg(long)]
    rerank: Option<Rerank>,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    asking: Asking,
    /// Photographs.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// The folder that the index's names are relative to: the one that was added.
    #[arg(long, value_name = "DIR")]
    photos: PathBuf,
    /// Matches shown of each query.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    top: u32,
    /// The picture to write.
    #[arg(long, default_value = "query.svg", value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    #[command(flatten)]
    asking: Asking,
    /// Photographs whose positions are known: a CSV file, or a folder of photos with GPS.
    queries: PathBuf,
    /// An answer within so many metres is right.
    #[arg(long, default_value_t = 25.0, value_name = "METRES")]
    radius: f64,
    /// The picture to write.
    #[arg(long, default_value = "map.svg", value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(command: &ShowCommand, machine: &Machine) -> Result<ExitStatus> {
    match command {
        ShowCommand::Attention(a) => {
            write(&a.out, &draw_attention(&a.model.extractor(machine, None)?, &a.image)?)
        }
        ShowCommand::Matches(a) => {
            write(&a.out, &draw_matches(&a.model.extractor(machine, None)?, &a.a, &a.b)?)
        }
        ShowCommand::Query(a) => query(a, machine),
        ShowCommand::Map(a) => positions(a, machine),
    }
}

fn write(out: &Path, svg: &str) -> Result<ExitStatus> {
    write_atomically(out, svg.as_bytes())?;
    eprintln!("{}", out.display());
    Ok(ExitStatus::Done)
}

impl Asking {
    /// The index, its model, and how to ask.
    fn open(&self, machine: &Machine, top: usize) -> Result<(PlaceIndex, Extractor, LocateOptions)> {
        let index = PlaceIndex::open(&self.index)?;
        let loaded = index.model()?;
        let rerank = rerank_or_default(self.rerank, &loaded.config)?;
        let candidates = self.candidates as usize;
        let options =
            LocateOptions { top, candidates, rerank, adaptive: None, near: None, mode: SearchMode::Exact };
        let extractor = machine.extractor(loaded, index.settings)?;
        Ok((index, extractor, options))
    }
}

/// Pixels of the longer side of photographs in galleries.
const LONGEST: usize = 360;

fn query(args: &QueryArgs, machine: &Machine) -> Result<ExitStatus> {
    let (index, extractor, options) = args.asking.open(machine, args.top as usize)?;
    let reader = index.reader()?;
    let mut rows = Vec::new();
    for image in &args.images {
        let answer = locate(&reader, &extractor, image, &options)?;
        let matches = answer.matches.iter().enumerate().map(|(i, m)| {
            let score = m.score.map(|score| format!("score {score:.3}"));
            let similarity = format!("similarity {:.3}", m.similarity);
            let position = m.position.map(|p| format!("{:.6}, {:.6}", p.lat, p.lon));
            Tile {
                photo: Photograph::open(&args.photos.join(&m.path), LONGEST).ok(),
                label: format!("{}.", i + 1),
                name: m.path.clone(),
                notes: [score, Some(similarity), position].into_iter().flatten().collect(),
                right: None,
            }
        });
        let name = image.display().to_string();
        let query = Tile {
            photo: Some(Photograph::open(image, LONGEST)?),
            label: "query".into(),
            name,
            notes: Vec::new(),
            right: None,
        };
        rows.push(GalleryRow { query, matches: matches.collect() });
    }
    if rows.iter().flat_map(|row| &row.matches).all(|tile| tile.photo.is_none()) {
        bail!(
            "none of the matches is in {}: --photos is the folder that was added to the index, to which its \
             names are relative (r2former index list {})",
            args.photos.display(),
            args.asking.index.display()
        );
    }
    write(&args.out, &gallery(&rows))
}

fn positions(args: &MapArgs, machine: &Machine) -> Result<ExitStatus> {
    let (index, extractor, options) = args.asking.open(machine, 1)?;
    let reader = index.reader()?;
    let mut references = Vec::new();
    let mut from = None;
    loop {
        let page = reader.list(from, 1000, &Filter::default())?;
        references.extend(
            page.places.iter().filter_map(|(_, p)| p.position).map(|p| LatLon { lat: p.lat, lon: p.lon }),
        );
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    let listing = list_photos(&args.queries, None, &SourceOptions::default())?;
    let bar = Bar::default();
    bar.start("queries", listing.photos.len() as u64);
    let (mut points, mut failed) = (Vec::new(), 0);
    for photo in &listing.photos {
        bar.advance(1);
        let Some(position) = photo.position else { continue };
        let answer = match locate(&reader, &extractor, &photo.path, &options) {
            Ok(answer) => answer.matches.first().and_then(|m| m.position),
            Err(error @ r2former_engine::EngineError::Data(_)) => {
                bar.note(&format!("error: {error}"));
                failed += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let metres = answer.map(|answer| geo::geodesic_m(position, answer));
        let name = match metres {
            Some(metres) => format!("{}: {metres:.0} m", photo.name),
            None => photo.name.clone(),
        };
        let right = metres.is_some_and(|metres| metres <= args.radius);
        points.push(MapPoint { name, position, answer, right });
    }
    bar.finish();
    if points.is_empty() {
        bail!(
            "{}: no usable photograph with a position, so there is nothing to draw",
            args.queries.display()
        );
    }
    write(&args.out, &map(&references, &points))?;
    Ok(if failed == 0 { ExitStatus::Done } else { ExitStatus::Partial })
}
