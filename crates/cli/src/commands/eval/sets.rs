//! Datasets in layouts of their own: what is asked about them.

use anyhow::Result;
use clap::Args;
use r2former_data::UtmZone;
use r2former_data::dataset::{self, Dataset, DbStructOptions, FramesOptions, StLuciaOptions};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct DbStructArgs {
    /// MATLAB file with the structure dbStruct, such as pitts30k_test.mat (saved with -v7 or older).
    file: PathBuf,
    /// Folder that its names are relative to [default: the file's own, or the one above].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// UTM zone of its metres, as in 17T [default: 17T for pitts*, 54S for tokyo*, else unknown].
    #[arg(long, value_name = "ZONE")]
    utm_zone: Option<UtmZone>,
}

#[derive(Debug, Args)]
pub(crate) struct StLuciaArgs {
    /// Folder of passes, each a folder with fGPS.txt and every frame of its video as an image.
    root: PathBuf,
    /// The database's pass [default: the first by name].
    #[arg(long, value_name = "PASS")]
    database: Option<String>,
    /// The queries' pass [default: the last by name].
    #[arg(long, value_name = "PASS")]
    queries: Option<String>,
    /// Leave out frames nearer than this to the last one kept; 0 keeps all.
    #[arg(long, default_value_t = 5.0, value_name = "METRES")]
    spacing: f64,
}

#[derive(Debug, Args)]
pub(crate) struct FramesArgs {
    /// Folder of the database frames.
    #[arg(long, value_name = "DIR")]
    database: PathBuf,
    /// Folder of the query frames.
    #[arg(long, value_name = "DIR")]
    queries: PathBuf,
    /// A reference within so many frames is a positive.
    #[arg(long, default_value_t = 10, value_name = "FRAMES")]
    tolerance: usize,
    /// The i-th query shows frame i times this: 10 for Nordland's 2,760 queries in 27,592 frames.
    #[arg(long, default_value_t = 1, value_name = "N")]
    every: usize,
}

impl DbStructArgs {
    pub(crate) fn read(&self) -> Result<Dataset> {
        let options = DbStructOptions { images: self.images.clone(), zone: self.utm_zone };
        Ok(dataset::read_dbstruct(&self.file, &options)?)
    }
}

impl StLuciaArgs {
    pub(crate) fn read(&self) -> Result<Dataset> {
        let options = StLuciaOptions {
            database: self.database.clone(),
            queries: self.queries.clone(),
            spacing_m: self.spacing,
        };
        Ok(dataset::read_st_lucia(&self.root, &options)?)
    }
}

impl FramesArgs {
    pub(crate) fn read(&self) -> Result<Dataset> {
        let options = FramesOptions { tolerance: self.tolerance, every: self.every };
        Ok(dataset::read_frames(&self.database, &self.queries, options)?)
    }
}
