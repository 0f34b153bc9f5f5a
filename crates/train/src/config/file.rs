//! Configurations as files: TOML over a preset.

use super::{SourceKind, Stage, TrainConfig};
use crate::{Result, TrainError};
use std::path::{Path, PathBuf};

impl TrainConfig {
    /// Reads a file in TOML over the stage's preset; paths in it are relative to the file.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, or names or values that are not known.
    pub fn read(stage: Stage, path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
        let mut table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| TrainError::run(path, e.to_string()))?;
        if let Some(named) = table.get("stage").and_then(|v| v.as_str())
            && named != stage.name()
        {
            return Err(TrainError::run(path, format!("is for stage {named}, not {}", stage.name())));
        }
        for one in overrides {
            set(&mut table, one)?;
        }
        let mut config = Self::over(stage, table).map_err(|e| TrainError::run(path, e))?;
        config.anchor(path.parent().unwrap_or(Path::new("")));
        config.check()?;
        Ok(config)
    }

    /// As a file that [`TrainConfig::read`] reads.
    ///
    /// # Errors
    /// A path that is no text.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| TrainError::Config(e.to_string()))
    }

    /// The preset with what a table changes.
    pub(super) fn over(stage: Stage, table: toml::Table) -> Result<Self, String> {
        let preset = toml::Table::try_from(Self::preset(stage)).map_err(|e| e.to_string())?;
        let merged = toml::Value::Table(merge(preset, table));
        merged.try_into().map_err(|e: toml::de::Error| e.to_string())
    }

    /// Relative paths become relative to `base`.
    fn anchor(&mut self, base: &Path) {
        let fix = |path: &mut PathBuf| {
            if path.is_relative() && !path.as_os_str().is_empty() {
                *path = base.join(&*path);
            }
        };
        fix(&mut self.start);
        self.mining.import.iter_mut().for_each(fix);
        for source in &mut self.data {
            match &mut source.kind {
                SourceKind::Panoramas { path, .. }
                | SourceKind::Photos { path, .. }
                | SourceKind::Vg { path, .. }
                | SourceKind::Msls { path, .. }
                | SourceKind::Folders { path, .. }
                | SourceKind::GsvCities { path, .. } => fix(path),
                SourceKind::Town { .. } => {}
            }
        }
        if let Some(validation) = &mut self.validation {
            validation.set.anchor(base);
        }
    }
}

/// `a.b.c=value`, the value in TOML.
fn set(table: &mut toml::Table, text: &str) -> Result<()> {
    let wrong =
        |why: &str| TrainError::Config(format!("--set {text}: {why}; write for example optimizer.lr=1e-4"));
    let (name, value) = text.split_once('=').ok_or_else(|| wrong("no '='"))?;
    let parse = |value: &str| format!("v={value}").parse::<toml::Table>().ok()?.remove("v");
    let value = parse(value).or_else(|| parse(&format!("{value:?}"))).ok_or_else(|| wrong("not a value"))?;
    let parts: Vec<&str> = name.split('.').collect();
    let (last, path) = parts.split_last().ok_or_else(|| wrong("no name"))?;
    let mut at = table;
    for part in path {
        at = at
            .entry(*part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| wrong("not a table"))?;
    }
    at.insert((*last).to_string(), value);
    Ok(())
}

/// What `over` says, else what `base` says.
fn merge(mut base: toml::Table, over: toml::Table) -> toml::Table {
    for (name, value) in over {
        let merged = match (base.remove(&name), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => toml::Value::Table(merge(old, new)),
            (_, new) => new,
        };
        base.insert(name, merged);
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MiningKind;

    #[test]
    fn files_and_overrides_change_what_they_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        let text =
            "name = \"x\"\nstart = \"m.safetensors\"\n[optimizer]\nlr = 0.5\n[[data]]\nkind = \"town\"\n";
        std::fs::write(&path, text).unwrap();
        let overrides = ["schedule.epochs=3".to_string(), "mining.kind=random".into()];
        let config = TrainConfig::read(Stage::Global, &path, &overrides).unwrap();
        assert_eq!((config.optimizer.lr, config.schedule.epochs), (0.5, 3));
        assert_eq!((config.mining.kind, config.batch.size), (MiningKind::Random, 16));
        assert_eq!(config.start, dir.path().join("m.safetensors"));
        for (bad, word) in [
            ("optimizer.speed=1", "speed"),
            ("optimizer.lr=-1", "lr"),
            ("batch.negatives=0", "negatives"),
            ("batch.kept_views=2", "only the stage rerank"),
            ("mining.positive=some", "positive"),
            ("nothing", "nothing"),
        ] {
            let error = TrainConfig::read(Stage::Global, &path, &[bad.to_string()]).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn a_reranker_says_what_it_changes_of_the_papers() {
        let text =
            "start = \"m\"\n[[data]]\nkind = \"town\"\n[model.reranker]\npair_depth = 0\nuse_xy = false\n";
        let config = TrainConfig::over(Stage::Rerank, text.parse().unwrap()).unwrap();
        let reranker = &config.model.reranker;
        assert_eq!((reranker.pair_depth, reranker.depth, reranker.use_xy), (0, 6, false));
        let written = config.to_toml().unwrap();
        assert_eq!(TrainConfig::over(Stage::Rerank, written.parse().unwrap()).unwrap(), config);
        let wrong = text.replace("use_xy", "use_xyz");
        let error = TrainConfig::over(Stage::Rerank, wrong.parse().unwrap()).unwrap_err();
        assert!(error.contains("use_xyz"), "{error}");
    }

    #[test]
    fn every_validation_set_is_written_and_read_again() {
        for set in [
            "kind = \"panoramas\"\npath = \"p\"",
            "kind = \"photos\"\ndatabase = \"d.csv\"\nqueries = \"q.csv\"",
            "kind = \"vg\"\npath = \"p\"\nsplit = \"val\"",
            "kind = \"msls\"\npath = \"p\"\ntask = \"seq2im\"\nsequence = 5",
            "kind = \"dbstruct\"\npath = \"p.mat\"\nutm_zone = \"17T\"",
            "kind = \"st-lucia\"\npath = \"p\"",
        ] {
            let text = format!(
                "start = \"m\"\n[[data]]\nkind = \"town\"\n[validation]\n{set}\nmax_queries = 7\nevery_epochs = 2\n"
            );
            let config = TrainConfig::over(Stage::Global, text.parse().unwrap()).unwrap();
            let validation = config.validation.as_ref().unwrap();
            assert_eq!((validation.radius_m, validation.candidates, validation.max_queries), (25.0, 100, 7));
            assert_eq!(validation.every_epochs, 2);
            let written = toml::to_string(&config).unwrap();
            assert_eq!(TrainConfig::over(Stage::Global, written.parse().unwrap()).unwrap(), config);
        }
    }
}
