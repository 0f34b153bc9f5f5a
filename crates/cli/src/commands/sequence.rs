//! `r2former query --sequence`: frames in order, and the track that they give together.

use crate::common::parse_metres;
use crate::exit::usage;
use crate::output::write_track;
use crate::photos::note_left_out;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use r2former_data::PositionKind;
use r2former_data::dataset::{list_frames, time_seconds};
use r2former_engine::{Match, Positions, SequenceFrame, SequenceOptions, Track, TrackPoint};
use r2former_index::ReadPlaces;
use std::path::{Path, PathBuf};

/// A sequence of frames.
#[derive(Debug, Args)]
pub(crate) struct SequenceArgs {
    /// Frames in order: a folder, sorted by name, or a CSV list with the column path and, where they are known, time
    /// (seconds, or as in 2024-05-04T10:11:12.5Z) and moved (metres since the frame before, by odometry). Where no frame
    /// of the list has a time, times are read from EXIF.
    #[arg(long, value_name = "DIR|LIST", conflicts_with = "images")]
    sequence: Option<PathBuf>,
    /// Write the track of the sequence to this file, as its ending says: .geojson or .csv; repeatable.
    #[arg(long, value_name = "FILE", requires = "sequence")]
    track: Vec<PathBuf>,
    /// Metres per second that a sequence does not exceed [default: 15]; not in an index without positions.
    #[arg(long, value_name = "M/S", allow_negative_numbers = true, value_parser = parse_metres, requires = "sequence")]
    max_speed: Option<f64>,
    /// Metres between two frames that are not exceeded where a time is missing [default: 15]; in an index without positions,
    /// places in the order of their names [default: 3].
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, value_parser = parse_metres, requires = "sequence")]
    max_step: Option<f64>,
}

/// A frame of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FrameArg {
    pub(crate) path: PathBuf,
    time: Option<f64>,
    moved_m: Option<f64>,
    /// Whether the list has times, of this frame or of others: that of the camera would be of another clock.
    timed: bool,
}

impl SequenceArgs {
    /// The frames of the sequence, if there is one.
    pub(crate) fn frames(&self) -> Result<Vec<FrameArg>> {
        let Some(source) = &self.sequence else { return Ok(Vec::new()) };
        let bare = |path: PathBuf| FrameArg { path, time: None, moved_m: None, timed: false };
        let frames: Vec<FrameArg> = if source.is_dir() {
            let listing = list_frames(source)?;
            note_left_out(source, &listing);
            listing.photos.into_iter().map(|photo| bare(photo.path)).collect()
        } else {
            listed(source)?
        };
        if frames.is_empty() {
            bail!("{}: holds no frames", source.display());
        }
        Ok(frames)
    }

    /// Refuses a track without a sequence or in a file that it could not be written to, and a bound that means nothing, before
    /// the work is done.
    pub(crate) fn check(&self, positions: Positions) -> Result<()> {
        // An option that photographs exclude is waived where another one requires it.
        if self.sequence.is_none() && !self.track.is_empty() {
            usage!("--track needs --sequence: a folder or a list of frames in their order");
        }
        if self.max_speed.is_some() && positions.kind() == PositionKind::None {
            bail!(
                "--max-speed: this index has no positions, so that its places only have an order: --max-step bounds the places \
                 between two frames"
            );
        }
        for file in &self.track {
            let local = positions.kind() == PositionKind::Local && positions.origin().is_none();
            match ending(file) {
                "csv" => {}
                "geojson" | "json" if positions.kind() == PositionKind::None || local => bail!(
                    "--track {}: GeoJSON needs degrees, and this index has {}: use .csv",
                    file.display(),
                    if local { "local metres without an origin" } else { "no positions" }
                ),
                "geojson" | "json" => {}
                _ => usage!("--track {}: the file must end in .geojson or .csv", file.display()),
            }
            crate::common::ensure_writable(file)?;
        }
        Ok(())
    }

    /// An empty track, if there is a sequence.
    pub(crate) fn track(&self, index: &impl ReadPlaces, kind: PositionKind) -> Result<Option<Track>> {
        if self.sequence.is_none() {
            return Ok(None);
        }
        let bounds = [self.max_speed, self.max_step];
        Ok(Some(Track::new(SequenceOptions::of_index(index, kind, bounds)?)))
    }

    /// Writes the files of the track.
    pub(crate) fn write(&self, points: &[TrackPoint], positions: Positions) -> Result<()> {
        for file in &self.track {
            write_track(file, ending(file) == "csv", points, positions)?;
            eprintln!("track: {}", file.display());
        }
        Ok(())
    }
}

impl FrameArg {
    /// The frame with its candidates; none of one that could not be read.
    pub(crate) fn with(&self, matches: Vec<Match>, exif: Option<f64>) -> SequenceFrame {
        SequenceFrame { matches, time: self.time.or(exif.filter(|_| !self.timed)), moved_m: self.moved_m }
    }
}

fn ending(file: &Path) -> &str {
    file.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

/// The frames of a CSV list; paths are relative to its folder.
fn listed(file: &Path) -> Result<Vec<FrameArg>> {
    let named = || file.display().to_string();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file).with_context(named)?;
    let heads = reader.headers().with_context(named)?.clone();
    let column = |name: &str| heads.iter().position(|head| head.eq_ignore_ascii_case(name));
    let Some(path) = column("path") else {
        bail!("{}: has no column path; the columns of a sequence are path, time and moved", file.display());
    };
    let (time, moved) = (column("time"), column("moved"));
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut frames = Vec::new();
    for (i, row) in reader.records().enumerate() {
        let row = row.with_context(named)?;
        let stated = |column: Option<usize>| row.get(column?).filter(|text| !text.is_empty());
        let at = || format!("{}: row {}", file.display(), i + 2);
        let moved_m = stated(moved)
            .map(|text| {
                let metres = text.parse::<f64>().ok().filter(|metres| metres.is_finite());
                metres.with_context(|| format!("{}: moved '{text}' is not a number of metres", at()))
            })
            .transpose()?;
        let time = stated(time)
            .map(|text| time_seconds(text).map_err(|problem| anyhow!("{}: time {problem}", at())))
            .transpose()?;
        let path = folder.join(row.get(path).unwrap_or_default());
        frames.push(FrameArg { path, time, moved_m, timed: false });
    }
    let timed = frames.iter().any(|frame| frame.time.is_some());
    frames.iter_mut().for_each(|frame| frame.timed = timed);
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_times_and_odometry_where_they_are_known() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("list.csv");
        std::fs::write(&file, "path, time, moved\na.jpg,0.5,\nb.jpg,,3\n").expect("written");
        let found = listed(&file).expect("a list");
        let frame = |name: &str, time, moved_m| FrameArg {
            path: folder.path().join(name),
            time,
            moved_m,
            timed: true,
        };
        assert_eq!(found, [frame("a.jpg", Some(0.5), None), frame("b.jpg", None, Some(3.0))]);
        // Clocks are not mixed.
        assert_eq!(found[1].with(Vec::new(), Some(1e9)).time, None);
        std::fs::write(&file, "path\na.jpg\n").expect("written");
        assert_eq!(listed(&file).expect("a list")[0].with(Vec::new(), Some(1e9)).time, Some(1e9));
        std::fs::write(&file, "path,time\na.jpg,2024-05-04T10:11:12.5Z\nb.jpg,1714817473000\n")
            .expect("written");
        let times: Vec<_> = listed(&file).expect("a list").into_iter().map(|frame| frame.time).collect();
        assert_eq!(times, [Some(1_714_817_472.5), Some(1_714_817_473.0)]);
        for (text, says) in [
            ("file\na.jpg\n", "no column path"),
            ("path,time\na.jpg,noon\n", "row 2: time \"noon\" is neither"),
            ("path,moved\na.jpg,far\n", "row 2: moved 'far' is not a number of metres"),
        ] {
            std::fs::write(&file, text).expect("written");
            let said = format!("{:#}", listed(&file).expect_err(says));
            assert!(said.contains(says), "{said}");
        }
    }
}
