//! `r2former show`: pictures of attention, matches and answers.

use crate::common::{
    Machine, ModelArgs, ensure_ending, ensure_writable, index_address, parse_radius, rerank_or_default,
};
use crate::exit::ExitStatus;
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use r2former_data::dataset::{SourceOptions, escaped_path, list_photos};
use r2former_data::{Position, PositionKind, geo};
use r2former_engine::{Extractor, IndexAddress, LocateOptions, PlaceIndex, Progress, RerankMethod, locate};
use r2former_eval::pictures::{
    GalleryRow, MapPoint, Photograph, Tile, draw_attention, draw_matches, gallery, map,
};
use r2former_eval::write_output;
use r2former_index::{Filter, ReadPlaces};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum ShowCommand {
    /// Draw the local features of a photograph, coloured by attention.
    Attention(AttentionArgs),
    /// Draw why two photographs match: the local features that the reranker relies on, and RANSAC's inliers.
    Matches(MatchesArgs),
    /// Draw queries beside their matches in an index.
    Query(QueryArgs),
    /// Draw a map of an index, of queries with known positions, and of their answers.
    Map(MapArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AttentionArgs {
    /// Photograph to draw.
    image: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// SVG file to write.
    #[arg(long, default_value = "attention.svg", value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MatchesArgs {
    /// Query photograph.
    #[arg(value_name = "QUERY")]
    a: PathBuf,
    /// Reference photograph.
    #[arg(value_name = "REFERENCE")]
    b: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// SVG file to write.
    #[arg(long, default_value = "matches.svg", value_name = "FILE")]
    out: PathBuf,
}

/// An index, and options of its queries.
#[derive(Debug, Args)]
struct IndexArgs {
    /// Index: a folder, or qdrant://HOST:PORT/COLLECTION.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
    /// Candidates to rerank per query.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// Reranking method: model, ransac, mutual or none [default: model if its reranker is trained].
    #[arg(long, value_name = "METHOD")]
    rerank: Option<RerankMethod>,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    index: IndexArgs,
    /// Query photographs.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Folder that was added to the index, or the folder above it: names in the index are LABEL/PATH.
    #[arg(long, value_name = "DIR")]
    photos: PathBuf,
    /// Matches to draw per query.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    top: u32,
    /// SVG file to write.
    #[arg(long, default_value = "query.svg", value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    #[command(flatten)]
    index: IndexArgs,
    /// Queries with known positions: a table, or a folder of photographs with GPS.
    queries: PathBuf,
    /// Answers within this many metres of the query are correct.
    #[arg(long, default_value = "25", value_name = "METRES", allow_negative_numbers = true, value_parser = parse_radius)]
    radius: f64,
    /// SVG file to write.
    #[arg(long, default_value = "map.svg", value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(command: &ShowCommand, machine: &Machine) -> Result<ExitStatus> {
    let (ShowCommand::Attention(AttentionArgs { out, .. })
    | ShowCommand::Matches(MatchesArgs { out, .. })
    | ShowCommand::Query(QueryArgs { out, .. })
    | ShowCommand::Map(MapArgs { out, .. })) = command;
    ensure_ending("--out", out, "SVG", "svg")?;
    ensure_writable(out)?;
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
    write_output(out, svg.as_bytes())?;
    eprintln!("{}", out.display());
    Ok(ExitStatus::Done)
}

impl IndexArgs {
    /// The index, its model, and the query options.
    fn open(&self, machine: &Machine, top: usize) -> Result<(PlaceIndex, Extractor, LocateOptions)> {
        let index = PlaceIndex::open(&self.index)?;
        let loaded = index.model()?;
        let rerank = rerank_or_default(self.rerank, &loaded.config)?;
        let options = LocateOptions::default().top(top).candidates(self.candidates as usize).rerank(rerank);
        let extractor = machine.extractor_of(&index, loaded, None)?;
        Ok((index, extractor, options))
    }
}

/// Pixels of the longer side of photographs in galleries.
const LONGEST: usize = 360;

fn query(args: &QueryArgs, machine: &Machine) -> Result<ExitStatus> {
    let (index, extractor, options) = args.index.open(machine, args.top as usize)?;
    let reader = index.reader()?;
    let mut rows = Vec::new();
    for image in &args.images {
        let answer = locate(&reader, &extractor, image, &options)?;
        let matches = answer.matches.iter().enumerate().map(|(i, m)| {
            let score = m.score.map(|score| match answer.rerank {
                RerankMethod::Ransac => format!("RANSAC {score:.1}"),
                RerankMethod::Mutual => format!("{score:.0} mutual matches"),
                _ => format!("score {score:.3}, not calibrated"),
            });
            let similarity = format!("cosine {:.3}", m.similarity);
            let position = m.position.map(|p| p.to_string());
            Tile {
                photo: reference(&args.photos, &m.path),
                label: format!("{}.", i + 1),
                name: m.path.clone(),
                notes: [score, Some(similarity), position].into_iter().flatten().collect(),
                correct: None,
            }
        });
        let name = escaped_path(image);
        let query = Tile {
            photo: Some(Photograph::open(image, LONGEST)?),
            label: "query".into(),
            name,
            notes: Vec::new(),
            correct: None,
        };
        rows.push(GalleryRow { query, matches: matches.collect() });
    }
    if rows.iter().flat_map(|row| &row.matches).all(|tile| tile.photo.is_none()) {
        bail!(
            "none of the matches is in {}: --photos must be the folder that was added to the index (r2former index \
             list {} prints its names: a label, then the path relative to that folder)",
            args.photos.display(),
            args.index.index
        );
    }
    write(&args.out, &gallery(&rows))
}

/// The photograph of a match, with the label or without it; for a view of a panorama, the panorama.
fn reference(photos: &Path, name: &str) -> Option<Photograph> {
    let open = |name: &str| Photograph::open(&photos.join(name), LONGEST).ok();
    let inside = name.split_once('/').map(|(_, inside)| inside);
    [Some(name), inside]
        .into_iter()
        .flatten()
        .find_map(|name| open(name).or_else(|| open(name.rsplit_once('#')?.0)))
}

fn positions(args: &MapArgs, machine: &Machine) -> Result<ExitStatus> {
    let kind = PlaceIndex::open(&args.index.index)?.positions().kind();
    if kind != PositionKind::Wgs84 {
        bail!("show map draws WGS84 positions; this index has {}", kind.words());
    }
    let (index, extractor, options) = args.index.open(machine, 1)?;
    let reader = index.reader()?;
    let mut references = Vec::new();
    reader.any_place(&Filter::default(), &mut |_, place| {
        references.extend(place.position.and_then(Position::wgs84));
        false
    })?;
    let listing = list_photos(&args.queries, None, &SourceOptions::default())?;
    let bar = Bar::default();
    bar.start("queries", listing.photos.len() as u64);
    let (mut points, mut failed) = (Vec::new(), 0);
    for photo in &listing.photos {
        bar.advance(1);
        let Some(position) = photo.lat_lon() else { continue };
        let answer = match locate(&reader, &extractor, &photo.path, &options) {
            Ok(answer) => answer.matches.first().and_then(|m| m.position?.wgs84()),
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
        let correct = metres.is_some_and(|metres| metres <= args.radius);
        points.push(MapPoint { name, position, answer, correct });
    }
    bar.finish();
    if points.is_empty() {
        bail!(
            "{}: no usable photograph with a position, so there is nothing to draw",
            args.queries.display()
        );
    }
    write(&args.out, &map(&references, &points, &format!("within {} m", args.radius)))?;
    Ok(if failed == 0 { ExitStatus::Done } else { ExitStatus::Partial })
}
