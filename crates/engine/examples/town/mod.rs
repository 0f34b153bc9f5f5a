//! A few photographs of the rendered town, where an example is not given a folder of its own.

use r2former_town::{Condition, Town, TownConfig, TownDatasetConfig, write_dataset};
use std::path::{Path, PathBuf};

/// Renders photographs with GPS tags into `dir`: `database/*.jpg` by day, `queries/rain/*.jpg` of another day.
pub(crate) fn render(dir: &Path) -> Result<(PathBuf, PathBuf), r2former_data::DataError> {
    let town = Town::new(&TownConfig { seed: 3, blocks: (1, 1), ..TownConfig::default() })?;
    let config = TownDatasetConfig {
        spacing: 40.0,
        headings: 2,
        size: (160, 120),
        queries: vec![Condition::Rain],
        n_queries: 3,
        ..TownDatasetConfig::default()
    };
    write_dataset(&town, &config, dir, &|_, _| ())?;
    Ok((dir.join("database"), dir.join("queries/rain")))
}
