//! All manifests of a job, together.

use super::{ShardManifest, ShardWork};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Whether the shards of a job did all of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobReport {
    /// Whether every shard has finished, and all of them were asked the same.
    pub whole: bool,
    /// How many shards there are.
    pub of: u32,
    /// Those that have finished.
    pub finished: Vec<u32>,
    /// Those without a manifest: they never began, or wrote it elsewhere.
    pub missing: Vec<u32>,
    /// Those that run, failed or were killed.
    pub unfinished: Vec<Unfinished>,
    /// What differs between shards that should be asked the same.
    pub differences: Vec<String>,
    /// What finished shards did, together.
    #[serde(flatten)]
    pub work: ShardWork,
    /// What finished shards filled, each once, in the order of the shards.
    pub targets: Vec<String>,
}

/// A shard that did not go to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// Its number.
    pub shard: u32,
    /// Its manifest.
    pub manifest: PathBuf,
    /// When it began.
    pub started: String,
    /// Why, where it could say so; none of one that runs or was killed.
    pub error: Option<String>,
}

/// Says of the manifests of one job whether it is whole. Of several manifests of one shard a finished one counts, and
/// among those the last that was begun.
pub fn check_job(manifests: &[(PathBuf, ShardManifest)]) -> JobReport {
    let mut report = JobReport::default();
    let Some((first_file, first)) = manifests.first() else { return report };
    report.of = first.of;
    let mut each: BTreeMap<u32, (&Path, &ShardManifest)> = BTreeMap::new();
    for (file, manifest) in manifests {
        if let Some(what) = difference(first, manifest) {
            report.differences.push(format!("{} and {}: {what}", first_file.display(), file.display()));
            continue;
        }
        let better =
            |known: &ShardManifest| (manifest.finished, &manifest.started) > (known.finished, &known.started);
        if each.get(&manifest.shard).is_none_or(|(_, known)| better(known)) {
            each.insert(manifest.shard, (file, manifest));
        }
    }
    report.missing = (0..report.of).filter(|shard| !each.contains_key(shard)).collect();
    for (shard, (file, manifest)) in each {
        if !manifest.finished {
            report.unfinished.push(Unfinished {
                shard,
                manifest: file.to_path_buf(),
                started: manifest.started.clone(),
                error: manifest.error.clone(),
            });
            continue;
        }
        report.finished.push(shard);
        report.work.add(&manifest.work);
        if !report.targets.contains(&manifest.target) {
            report.targets.push(manifest.target.clone());
        }
    }
    report.whole = report.missing.is_empty() && report.unfinished.is_empty() && report.differences.is_empty();
    report
}

/// What two shards of one job cannot differ in. Where a source lies may: machines mount it in different places.
fn difference(a: &ShardManifest, b: &ShardManifest) -> Option<String> {
    let labels = |manifest: &ShardManifest| {
        let mut labels: Vec<_> = manifest.sources.iter().map(|source| source.label.clone()).collect();
        labels.sort();
        labels.join(", ")
    };
    let differ = |what: &str, a: String, b: String| (a != b).then(|| format!("{what} {a} and {b}"));
    differ("the number of shards is", a.of.to_string(), b.of.to_string())
        .or_else(|| differ("the commands are", a.command.clone(), b.command.clone()))
        .or_else(|| differ("the sources are", labels(a), labels(b)))
        .or_else(|| differ("the models are", a.model_fingerprint.clone(), b.model_fingerprint.clone()))
        .or_else(|| (a.settings != b.settings).then(|| "image sizes or precisions differ".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::shards::LeftOut;
    use r2former_data::dataset::Shard;

    fn manifest(shard: u32, finished: bool) -> (PathBuf, ShardManifest) {
        let source = Source { label: "camera".into(), root: format!("/mnt/{shard}/camera") };
        let shard = Shard::new(shard, 3).expect("below 3");
        let mut manifest = ShardManifest::begin("index add", shard, format!("p{shard}"), vec![source]);
        if finished {
            manifest.finish(ShardWork { listed: 5, added: 3, already_indexed: 2, ..ShardWork::default() });
        }
        (format!("{shard}.json").into(), manifest)
    }

    #[test]
    fn a_job_is_whole_when_every_shard_has_finished() {
        let all = [manifest(2, true), manifest(0, true), manifest(1, true)];
        let report = check_job(&all);
        assert!(report.whole, "{report:?}");
        assert_eq!((report.work.listed, report.work.added, report.work.already_indexed), (15, 9, 6));
        assert_eq!(report.targets, ["p0/3", "p1/3", "p2/3"]);
        let report = check_job(&[manifest(0, true), manifest(1, false)]);
        assert!(!report.whole);
        assert_eq!((report.missing, report.unfinished[0].shard), (vec![2], 1));
        // A lost shard that ran again elsewhere.
        let report =
            check_job(&[manifest(1, false), manifest(0, true), manifest(2, true), manifest(1, true)]);
        assert!(report.whole, "{report:?}");
        assert!(!check_job(&[]).whole);
    }

    #[test]
    fn shards_of_two_jobs_are_no_job() {
        let mut other = manifest(1, true);
        other.1.model_fingerprint = "another".into();
        let report = check_job(&[manifest(0, true), other, manifest(2, true)]);
        assert!(!report.whole && report.differences[0].contains("models"), "{report:?}");
        let mut other = manifest(1, true);
        other.1.of = 4;
        let report = check_job(&[manifest(0, true), other]);
        assert!(report.differences[0].contains("number of shards is 3 and 4"), "{report:?}");
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (_, mut written) = manifest(1, true);
        written.work.skipped.push(LeftOut {
            path: "a.jpg".into(),
            reason: "is cut short".into(),
            kind: "unreadable".into(),
        });
        let file = dir.path().join("m.json");
        written.write(&file).expect("can be written");
        assert_eq!(ShardManifest::read(&file).expect("as written"), written);
        written.fail("the disk is full");
        written.write(&file).expect("is replaced");
        assert_eq!(
            ShardManifest::read(&file).expect("as written").error.as_deref(),
            Some("the disk is full")
        );
        for (text, wanted) in [("{}", "no manifest"), ("", "no manifest")] {
            std::fs::write(&file, text).expect("can be written");
            let message = ShardManifest::read(&file).expect_err(text).to_string();
            assert!(message.contains(wanted), "{message}");
        }
        written.shard = 9;
        written.write(&file).expect("is replaced");
        assert!(ShardManifest::read(&file).expect_err("9/3").to_string().contains("9/3 is no shard"));
    }
}
