//! `r2former shards merge`: one file of the files of all shards.

use crate::common::{ensure_writable, real};
use crate::descriptor_file::DescriptorFile;
use crate::exit::{ExitStatus, usage};
use crate::output::{self, escaped, print_json};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Safetensors file to write: rows are in the order of a single run.
    out: PathBuf,
    /// Files of all shards of one `extract --shard`.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print a JSON summary.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &MergeArgs) -> Result<ExitStatus> {
    ensure_writable(&args.out)?;
    let out = real(&args.out);
    if let Some(file) = args.files.iter().find(|file| real(file) == out) {
        usage!(
            "{}: is the file to write, and cannot be a shard as well: name another one first",
            file.display()
        );
    }
    let mut shards = Vec::with_capacity(args.files.len());
    for file in &args.files {
        shards.push((file.as_path(), DescriptorFile::read(file)?));
    }
    let whole = merge(shards)?;
    let tensors = whole.write(&args.out)?;
    if args.json {
        return print_json(
            &json!({ "out": args.out.to_string_lossy(), "images": whole.names.len(), "tensors": tensors.json() }),
        );
    }
    let (images, out) = (whole.names.len(), escaped(&args.out.display().to_string()).into_owned());
    output::stdout().line(format_args!("wrote {out}: {images} images of {} shards", args.files.len()))?;
    Ok(ExitStatus::Done)
}

/// Puts every row where a single run would have it.
fn merge(shards: Vec<(&Path, DescriptorFile)>) -> Result<DescriptorFile> {
    let Some((first_file, first)) = shards.first() else { bail!("no files were named") };
    let shape = |file: &DescriptorFile| (file.model.clone(), file.settings.clone(), file.dim, file.row);
    let (wanted, first_file) = (shape(first), first_file.to_owned());
    let about = |path: &Path, file: &DescriptorFile| {
        let part = file.part.clone();
        part.with_context(|| format!("{}: was not written by extract --shard", path.display()))
    };
    let all = about(first_file, first)?;
    let mut rows = vec![None; all.total];
    let mut seen = BTreeSet::new();
    for (path, mut file) in shards {
        let part = about(path, &file)?;
        if shape(&file) != wanted || (part.of, part.total) != (all.of, all.total) {
            bail!(
                "{} and {} are of different jobs: models, settings, photographs or numbers of shards differ",
                first_file.display(),
                path.display()
            );
        }
        if !seen.insert(part.shard) {
            bail!("{}: shard {}/{} was named twice", path.display(), part.shard, part.of);
        }
        if part.rows.len() != file.names.len() {
            bail!(
                "{}: is damaged: {} rows of {} photographs",
                path.display(),
                part.rows.len(),
                file.names.len()
            );
        }
        let globals = file.global.chunks_exact(file.dim.max(1));
        let locals = std::mem::take(&mut file.locals);
        for (((row, name), global), local) in part.rows.iter().zip(file.names).zip(globals).zip(locals) {
            match rows.get_mut(*row) {
                Some(slot @ None) => *slot = Some((name, global.to_vec(), local)),
                _ => bail!(
                    "{}: row {row} has another photograph already, or is beyond {}",
                    path.display(),
                    all.total
                ),
            }
        }
    }
    let missing: Vec<String> = (0..all.of)
        .filter(|shard| !seen.contains(shard))
        .map(|shard| format!("{shard}/{}", all.of))
        .collect();
    if !missing.is_empty() {
        bail!("nothing was written: shards are missing: {}", missing.join(", "));
    }
    let (model, settings, dim, row) = wanted;
    let (mut names, mut global, mut locals) = (Vec::new(), Vec::new(), Vec::new());
    for (number, slot) in rows.into_iter().enumerate() {
        let Some((name, values, local)) = slot else {
            bail!(
                "nothing was written: photograph {number} of {} is in no shard: the folders changed between their runs",
                all.total
            )
        };
        names.push(name);
        global.extend(values);
        locals.push(local);
    }
    Ok(DescriptorFile { names, model, settings, global, dim, locals, row, part: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor_file::Rows;

    fn file(shard: u32, rows: &[usize], patches: usize) -> DescriptorFile {
        let of = |i: &usize| *i as f32;
        DescriptorFile {
            names: rows.iter().map(|i| format!("{i}.jpg")).collect(),
            model: "m".into(),
            settings: "{}".into(),
            global: rows.iter().flat_map(|i| [of(i), -of(i)]).collect(),
            dim: 2,
            locals: rows.iter().map(|i| vec![of(i); 3 * patches]).collect(),
            row: 3,
            part: Some(Rows { shard, of: 2, rows: rows.to_vec(), total: 5 }),
        }
    }

    #[test]
    fn rows_come_in_the_order_of_one_run() {
        let (a, b) = (file(0, &[1, 2, 4], 2), file(1, &[0, 3], 1));
        let dir = tempfile::tempdir().expect("temporary folder");
        let (pa, pb, out) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("out"));
        a.write(&pa).expect("can be written");
        b.write(&pb).expect("can be written");
        let read = |path: &Path| DescriptorFile::read(path).expect("as written");
        assert_eq!(read(&pa), a);
        let whole = merge(vec![(&pb, read(&pb)), (&pa, read(&pa))]).expect("both shards");
        assert_eq!(whole.names, ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]);
        assert_eq!(whole.global[6..8], [3.0, -3.0]);
        let shapes = whole.write(&out).expect("can be written");
        assert_eq!(shapes.json()["local"], json!([5, 2, 3]));
        // Rows of zeros follow where an image has fewer.
        assert_eq!(read(&out).locals[3], [3.0, 3.0, 3.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_no_job_is_refused() {
        let said = |shards: Vec<DescriptorFile>| {
            let shards = shards.into_iter().map(|file| (Path::new("f"), file)).collect();
            merge(shards).expect_err("no job").to_string()
        };
        assert!(said(vec![file(0, &[0, 1], 1)]).contains("missing: 1/2"));
        assert!(said(vec![file(0, &[0, 1], 1), file(0, &[2], 1)]).contains("twice"));
        assert!(said(vec![file(0, &[0, 1], 1), file(1, &[1, 2, 3], 1)]).contains("another photograph"));
        assert!(said(vec![file(0, &[0, 1], 1), file(1, &[2, 3], 1)]).contains("photograph 4 of 5"));
        let other = DescriptorFile { model: "n".into(), ..file(1, &[2, 3, 4], 1) };
        assert!(said(vec![file(0, &[0, 1], 1), other]).contains("different jobs"));
        assert!(said(vec![DescriptorFile { part: None, ..file(0, &[0], 1) }]).contains("extract --shard"));
    }
}
