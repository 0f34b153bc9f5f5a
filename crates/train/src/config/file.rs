//! Configuration files: TOML over a preset.

use super::{SourceKind, Stage, StartModel, TrainConfig};
use crate::{Result, TrainError};
use std::path::{Path, PathBuf};

impl TrainConfig {
    /// Reads a TOML file over the stage's preset; paths in it are relative to the file. `overrides` are
    /// `key=value`, as in `optimizer.lr=1e-4`, and win over the file.
    ///
    /// # Errors
    /// [`TrainError::Io`] for a file that cannot be read, [`TrainError::Run`] for one that is not TOML or has a key or
    /// value that is unknown, renamed or not finite, [`TrainError::Config`] for an override that is not `key=value` and
    /// for values that [`TrainConfig::check`] refuses.
    pub fn read(stage: Stage, path: &Path, overrides: &[String]) -> Result<Self> {
        Ok(Self::read_with_keys(stage, path, overrides)?.0)
    }

    /// As [`TrainConfig::read`], with the keys that file and overrides set.
    pub(crate) fn read_with_keys(
        stage: Stage,
        path: &Path,
        overrides: &[String],
    ) -> Result<(Self, toml::Table)> {
        let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
        let mut table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| TrainError::run(path, e.to_string()))?;
        for one in overrides {
            set(&mut table, one)?;
        }
        if let Some(named) = table.get("stage").and_then(|v| v.as_str())
            && named != stage.name()
        {
            return Err(TrainError::run(path, format!("is for stage {named}, not {}", stage.name())));
        }
        let mut config = Self::over(stage, table.clone()).map_err(|e| TrainError::run(path, e))?;
        config.anchor(path.parent().unwrap_or(Path::new("")));
        config.check()?;
        Ok((config, table))
    }

    /// The configuration as a file that [`TrainConfig::read`] reads.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a path that is not UTF-8 and a seed beyond 63 bits.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| TrainError::Config(e.to_string()))
    }

    /// The preset with the changes of a table.
    pub(super) fn over(stage: Stage, table: toml::Table) -> Result<Self, String> {
        refuse_renamed(&table)?;
        let table = toml::Value::Table(table);
        if let Some((key, value)) = non_finite(&table, String::new()) {
            return Err(format!("{key} = {value}: must be a finite number"));
        }
        let toml::Value::Table(table) = table else { return Err("is not a table".into()) };
        let preset = toml::Table::try_from(Self::preset(stage)).map_err(|e| e.to_string())?;
        let merged = toml::Value::Table(merge(preset, table));
        merged.try_into().map_err(|e: toml::de::Error| e.to_string())
    }

    /// Makes relative paths relative to `base`.
    pub(crate) fn anchor(&mut self, base: &Path) {
        let fix = |path: &mut PathBuf| {
            if path.is_relative() && !path.as_os_str().is_empty() {
                *path = base.join(&*path);
            }
        };
        if let StartModel::File(path) = &mut self.start {
            fix(path);
        }
        self.mining.import.iter_mut().for_each(fix);
        for source in &mut self.data {
            match &mut source.kind {
                SourceKind::Panoramas { path, .. }
                | SourceKind::Photos { path, .. }
                | SourceKind::Vg { path, .. }
                | SourceKind::Msls { path, .. }
                | SourceKind::Folders { path, .. }
                | SourceKind::Matches { path }
                | SourceKind::GsvCities { path, .. } => fix(path),
                SourceKind::Pairs { database, queries, positives, .. } => {
                    [database, queries, positives].into_iter().for_each(fix);
                }
                SourceKind::Town { .. } => {}
            }
        }
        if let Some(validation) = &mut self.validation {
            validation.set.anchor(base);
        }
    }
}

/// Keys that were renamed, and their names now.
const RENAMED: [(&str, &str); 13] = [
    ("save_memory", "gradient_checkpointing"),
    ("keep.every", "checkpoint.every"),
    ("keep.epochs", "checkpoint.epochs"),
    ("keep", "checkpoint"),
    ("data.without", "data.exclude"),
    ("batch.mirror", "batch.horizontal_flip"),
    ("batch.kept_views", "batch.cached_views"),
    ("mining.kept", "mining.hard_negatives"),
    ("mining.drawn", "mining.hard_negatives"),
    ("loss.similarity", "loss.multi_similarity"),
    ("loss.order_weight", "loss.ranking_loss_weight"),
    ("loss.pairs", "loss.max_pairs"),
    ("optimizer.average", "optimizer.ema_decay"),
];

/// Refuses a key of an earlier version by the name that it has now.
fn refuse_renamed(table: &toml::Table) -> Result<(), String> {
    let has = |name: &str| match name.split_once('.') {
        None => table.contains_key(name),
        Some((section, key)) => match table.get(section) {
            Some(toml::Value::Table(inner)) => inner.contains_key(key),
            Some(toml::Value::Array(all)) => all.iter().any(|one| one.get(key).is_some()),
            _ => false,
        },
    };
    match RENAMED.iter().find(|(old, _)| has(old)) {
        Some((old, new)) => Err(format!("{old} is now called {new}")),
        None => Ok(()),
    }
}

/// The first number that is NaN or infinite, with its key.
pub(super) fn non_finite(value: &toml::Value, key: String) -> Option<(String, f64)> {
    match value {
        toml::Value::Float(number) => (!number.is_finite()).then_some((key, *number)),
        toml::Value::Array(all) => all.iter().find_map(|one| non_finite(one, key.clone())),
        toml::Value::Table(table) => table.iter().find_map(|(name, one)| {
            non_finite(one, if key.is_empty() { name.clone() } else { format!("{key}.{name}") })
        }),
        _ => None,
    }
}

/// Sets `a.b.c=value`, the value in TOML.
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

/// `base` with the values of `over` in place of its own.
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
    fn files_and_overrides_change_single_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        let text =
            "name = \"x\"\nstart = \"m.safetensors\"\n[optimizer]\nlr = 0.5\n[[data]]\nkind = \"town\"\n";
        std::fs::write(&path, text).unwrap();
        let overrides = ["schedule.epochs=3".to_string(), "mining.kind=random".into()];
        let config = TrainConfig::read(Stage::Global, &path, &overrides).unwrap();
        assert_eq!((config.optimizer.lr, config.schedule.epochs), (0.5, 3));
        assert_eq!((config.mining.kind, config.batch.size), (MiningKind::Random, 16));
        assert_eq!(config.start, StartModel::File(dir.path().join("m.safetensors")));
        for (bad, word) in [
            ("optimizer.speed=1", "speed"),
            ("optimizer.lr=-1", "lr"),
            ("batch.negatives=0", "negatives"),
            ("batch.cached_views=2", "only stage rerank"),
            ("mining.positive=some", "positive"),
            ("nothing", "nothing"),
        ] {
            let error = TrainConfig::read(Stage::Global, &path, &[bad.to_string()]).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    fn read(text: &str, overrides: &[&str]) -> Result<TrainConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        std::fs::write(&path, format!("{text}\n[[data]]\nkind = \"town\"\n")).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_string()).collect();
        TrainConfig::read(Stage::Rerank, &path, &overrides)
    }

    #[test]
    fn a_renamed_key_is_refused_with_its_new_name() {
        for (old, new) in RENAMED {
            let text = match old {
                "keep" => "[keep]".to_string(),
                "save_memory" => "save_memory = true".to_string(),
                "data.without" => "[[data]]\nkind = \"folders\"\npath = \"p\"\nwithout = [\"x\"]".to_string(),
                dotted => format!("{dotted} = 1"),
            };
            let error = read(&text, &[]).unwrap_err().to_string();
            assert!(error.contains(&format!("{old} is now called {new}")), "{old}: {error}");
        }
        let error = read("", &["loss.order_weight=1.0"]).unwrap_err().to_string();
        assert!(error.contains("loss.ranking_loss_weight"), "{error}");
    }

    #[test]
    fn values_that_are_not_finite_are_refused_by_key() {
        for key in [
            "loss.margin",
            "loss.ranking_loss_weight",
            "optimizer.lr",
            "optimizer.clip",
            "optimizer.ema_decay",
            "places.positive_m",
            "schedule.warmup",
            "augment.night",
            "batch.hard_places",
            "model.reranker.norm_eps",
        ] {
            for value in ["nan", "inf", "-inf"] {
                let error = read("", &[&format!("{key}={value}")]).unwrap_err().to_string();
                assert!(error.contains(key) && error.contains("finite"), "{key}={value}: {error}");
            }
            let error = read(&format!("{key} = nan"), &[]).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("run.toml"), "{key}: {error}");
        }
        let pair = read("", &["optimizer.betas=[0.9, nan]"]).unwrap_err().to_string();
        assert!(pair.contains("optimizer.betas"), "{pair}");
        let nested = "[validation]\nkind = \"panoramas\"\npath = \"p\"\nradius_m = nan";
        assert!(read(nested, &[]).unwrap_err().to_string().contains("validation.radius_m"));
        let source = "[[data]]\nkind = \"town\"\nspacing = inf";
        assert!(read(source, &[]).unwrap_err().to_string().contains("data.spacing"));
        // The same for a configuration made by a program.
        let mut config = read("", &[]).unwrap();
        config.loss.margin = f64::NAN;
        assert!(config.check().unwrap_err().to_string().contains("loss.margin"));
    }

    #[test]
    fn the_built_in_model_is_a_start_by_name() {
        assert_eq!(read("", &[]).unwrap().start, StartModel::BuiltIn);
        let named = read("start = \"r2former-tiny\"", &[]).unwrap();
        assert_eq!(named.start, StartModel::BuiltIn);
        assert!(named.to_toml().unwrap().contains("start = \"r2former-tiny\""));
    }

    #[test]
    fn a_reranker_changes_single_values_of_the_papers() {
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
