//! A sequence against an open index: what other languages hold.

use crate::query_options::{parse_object, request};
use crate::{
    Fix, FrameClock, LocateOptions, OpenIndex, QueryImage, QueryOptions, QueryResult, Result, SequenceFrame,
    SequenceOptions, Track, TrackPoint, check_motion,
};
use r2former_data::geo::FARTHEST_M;
use serde_json::Value;

/// Frames in order, each answered by itself and together with those before it.
///
/// ```
/// use r2former_engine::{LoadedModel, OpenIndex, OpenSequence, PlaceIndex, QueryImage, Rgb8, Settings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let home = tempfile::tempdir()?;
/// # let dir = home.path().join("places");
/// let model = LoadedModel::built_in()?;
/// PlaceIndex::create(&dir, &model, Settings::of(&model.config))?;
///
/// let index = OpenIndex::open(&dir, "cpu")?;
/// let mut sequence = OpenSequence::begin(&index, r#"{"candidates": 20, "max_speed": 3}"#)?;
/// let frame = Rgb8 { width: 64, height: 48, pixels: vec![90; 64 * 48 * 3] };
/// let (_, fix) = sequence.push(&index, QueryImage::from(&frame).named("frame 1"), Some(0.5), None)?;
/// assert!(fix.is_none(), "the index is empty");
/// // Clocks are not mixed: once a time was stated, that of the EXIF is none.
/// sequence.push(&index, QueryImage::from(&frame), None, None)?;
/// assert_eq!([0, 1].map(|i| sequence.points()[i].time), [Some(0.5), None]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct OpenSequence {
    asked: QueryOptions,
    options: LocateOptions,
    /// Matches that an answer shows.
    top: usize,
    track: Track,
    clock: FrameClock,
    results: Vec<QueryResult>,
}

impl OpenSequence {
    /// Begins a sequence in an index. `options` is a JSON object with the keys of [`QueryOptions`], and with `max_speed`
    /// (metres per second; not in an index without positions) and `max_step` (metres, or places of such an index), as of
    /// `r2former query --sequence`; an empty text stands for one without keys.
    ///
    /// # Errors
    /// [`EngineError::Request`](crate::EngineError::Request) for what is no such document, values out of range, and what
    /// the model cannot do; as [`OpenIndex::extractor`] and [`SequenceOptions::of_index`].
    pub fn begin(index: &OpenIndex, options: &str) -> Result<Self> {
        let mut document = parse_object(options)?;
        let mut bound = |name: &str| match document.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|value| (0.0..=FARTHEST_M).contains(value)) {
                Some(value) => Ok(Some(value)),
                None => Err(request(format!("{name}={value}: must be 0 to {FARTHEST_M}"))),
            },
        };
        let bounds = [bound("max_speed")?, bound("max_step")?];
        let asked = QueryOptions::of(document)?;
        let kind = index.place().positions().kind();
        check_motion(kind, bounds[0], None)?;
        let mut options = asked.locate_options(&*index.extractor()?, kind)?;
        let top = options.top;
        // Frames are fused by all of their candidates.
        options.top = options.top.max(options.candidates);
        let track = Track::new(SequenceOptions::of_index(index.reader(), kind, bounds)?);
        Ok(Self { asked, options, top, track, clock: FrameClock::default(), results: Vec::new() })
    }

    /// From here on frames have the times that are stated, and none of their EXIF: what a time that is
    /// [pushed](Self::push) says of the frames behind it.
    ///
    /// # Errors
    /// [`EngineError::Request`](crate::EngineError::Request) where frames were timed by their EXIF.
    pub fn state_times(&mut self) -> Result<()> {
        self.clock = self.clock.next(Some(0.0), || None)?.1;
        Ok(())
    }

    /// Takes the next frame: its answer by itself, and where it was taken by it and those before it. `time` is in seconds
    /// from any start; by default that of its EXIF, where no time was stated before, as clocks are not mixed. `moved_m` are
    /// metres travelled since the frame before. An image that cannot be used is a frame, too.
    ///
    /// # Errors
    /// [`EngineError::Request`](crate::EngineError::Request) for a time or a distance that is not finite, or metres below
    /// 0 or in an index without positions; for a time behind frames that were timed by their EXIF; as [`OpenIndex::ask`]: the frame was not taken then.
    pub fn push(
        &mut self,
        index: &OpenIndex,
        frame: QueryImage<'_>,
        time: Option<f64>,
        moved_m: Option<f64>,
    ) -> Result<(&QueryResult, Option<Fix>)> {
        let name = frame.name().to_owned();
        if let Some(time) = time.filter(|time| !time.is_finite()) {
            return Err(request(format!("{name}: time={time}: seconds are needed")));
        }
        if let Some(moved) = moved_m.filter(|metres| !(0.0..=FARTHEST_M).contains(metres)) {
            return Err(request(format!("{name}: moved={moved}: metres are 0 to {FARTHEST_M}")));
        }
        check_motion(index.place().positions().kind(), None, moved_m)?;
        let mut result = index.ask(frame.clone(), &self.asked, &self.options)?;
        let readable = matches!(result, QueryResult::Answer(_));
        let exif = || frame.tags().time.filter(|_| readable).map(|seconds| seconds as f64);
        let (at, clock) = self.clock.next(time, exif)?;
        self.clock = clock;
        let mut matches = Vec::new();
        if let QueryResult::Answer(answer) = &mut result {
            matches = answer.matches.clone();
            answer.matches.truncate(self.top);
        }
        let fix = self.track.push(&name, SequenceFrame { matches, time: at, moved_m });
        if let (QueryResult::Answer(answer), Some(note)) = (&mut result, self.track.note()) {
            answer.notes.push(note.to_owned());
        }
        self.results.push(result);
        Ok((&self.results[self.results.len() - 1], fix))
    }

    /// What came of each frame by itself.
    pub fn results(&self) -> &[QueryResult] {
        &self.results
    }

    /// The track so far.
    pub fn points(&self) -> Vec<TrackPoint> {
        self.track.points()
    }
}
