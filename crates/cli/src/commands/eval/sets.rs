//! Arguments of datasets with their own layouts.

use crate::common::parse_metres;
use clap::Args;
use r2former_data::UtmZone;
use r2former_data::dataset::DatasetSpec;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct DbStructArgs {
    /// MATLAB file with the structure dbStruct, such as pitts30k_test.mat (format -v7 or older).
    file: PathBuf,
    /// Folder that its names are relative to [default: the file's own, or its parent].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// UTM zone of its coordinates, as in 17T [default: 17T for pitts*, 54S for tokyo*, else unknown].
    #[arg(long, value_name = "ZONE")]
    utm_zone: Option<UtmZone>,
}

#[derive(Debug, Args)]
pub(crate) struct StLuciaArgs {
    /// Folder of passes; each is a folder with fGPS.txt and every frame of its video as an image.
    root: PathBuf,
    /// Pass of the database [default: the first by name].
    #[arg(long, value_name = "PASS")]
    database: Option<String>,
    /// Pass of the queries [default: the last by name].
    #[arg(long, value_name = "PASS")]
    queries: Option<String>,
    /// Minimum distance between kept frames in metres; 0 keeps all.
    #[arg(long, default_value = "5", value_name = "METRES", allow_negative_numbers = true, value_parser = parse_metres)]
    spacing: f64,
}

fn parse_every(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|every| *every > 0).ok_or_else(|| "a whole number from 1 on is needed".into())
}

#[derive(Debug, Args)]
pub(crate) struct FramesArgs {
    /// Folder of the database frames.
    #[arg(long, value_name = "DIR")]
    database: PathBuf,
    /// Folder of the query frames.
    #[arg(long, value_name = "DIR")]
    queries: PathBuf,
    /// References within this many frames are positives.
    #[arg(long, default_value_t = 10, value_name = "FRAMES")]
    tolerance: usize,
    /// Queries are every N-th database frame, with its number or counted on their own: 10 for Nordland's 2,760 queries in
    /// 27,592 frames.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = parse_every)]
    every: usize,
}

impl DbStructArgs {
    pub(crate) fn spec(&self) -> DatasetSpec {
        let (path, images) = (self.file.clone(), self.images.clone());
        DatasetSpec::Dbstruct { path, images, utm_zone: self.utm_zone }
    }
}

impl StLuciaArgs {
    pub(crate) fn spec(&self) -> DatasetSpec {
        let (database, queries) = (self.database.clone(), self.queries.clone());
        DatasetSpec::StLucia { path: self.root.clone(), database, queries, spacing_m: self.spacing }
    }
}

impl FramesArgs {
    pub(crate) fn spec(&self) -> DatasetSpec {
        let (database, queries) = (self.database.clone(), self.queries.clone());
        DatasetSpec::Frames { database, queries, tolerance: self.tolerance, every: self.every }
    }
}
