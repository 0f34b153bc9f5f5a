//! Which clock the frames of a sequence are timed by: one of the caller's, or that of the camera.

use crate::{EngineError, PositionKind, Result};

/// By whose clock the frames so far are timed. Seconds of two clocks have no difference that means anything, so that they are
/// never mixed.
///
/// ```
/// use r2former_engine::FrameClock;
///
/// let clock = FrameClock::default();
/// let (time, clock) = clock.next(Some(0.5), || None)?;
/// assert_eq!(time, Some(0.5));
/// // Nothing is stated: the camera's clock would be another one.
/// let (time, _) = clock.next(None, || Some(1_717_180_200.0))?;
/// assert_eq!(time, None);
/// # Ok::<(), r2former_engine::EngineError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FrameClock {
    /// No frame has a time.
    #[default]
    Unknown,
    /// Times are those that were stated; a frame without one has none.
    Stated,
    /// Times are those of EXIF.
    Exif,
}

impl FrameClock {
    /// The time of the next frame, and the clock once that is taken: what is stated, or what its EXIF says where no time was
    /// ever stated.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a time that is stated after frames were timed by their EXIF.
    pub fn next(
        self,
        stated: Option<f64>,
        exif: impl FnOnce() -> Option<f64>,
    ) -> Result<(Option<f64>, Self)> {
        match (stated, self) {
            (Some(_), Self::Exif) => Err(EngineError::Request(
                "time: the frames before are timed by their EXIF, which is another clock: state the time of every frame from \
                 the first one, or of none"
                    .into(),
            )),
            (Some(time), _) => Ok((Some(time), Self::Stated)),
            (None, Self::Stated) => Ok((None, self)),
            (None, _) => match exif() {
                Some(time) => Ok((Some(time), Self::Exif)),
                None => Ok((None, self)),
            },
        }
    }
}

/// Refuses bounds in metres where places only have an order.
///
/// # Errors
/// [`EngineError::Request`] for a largest speed, or metres that were `moved`, in an index without positions.
pub fn check_motion(kind: PositionKind, max_speed: Option<f64>, moved_m: Option<f64>) -> Result<()> {
    let means_nothing = |name: &str, instead: &str| {
        Err(EngineError::Request(format!(
            "{name}: metres mean nothing in an index without positions, whose places only have an order{instead}"
        )))
    };
    match (kind, max_speed, moved_m) {
        (PositionKind::None, Some(_), _) => {
            means_nothing("max_speed", ": max_step bounds the places between two frames")
        }
        (PositionKind::None, _, Some(_)) => means_nothing("moved", ""),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_not_mixed() {
        let exif = || Some(1e9);
        assert_eq!(FrameClock::Unknown.next(None, || None).ok(), Some((None, FrameClock::Unknown)));
        assert_eq!(FrameClock::Unknown.next(None, exif).ok(), Some((Some(1e9), FrameClock::Exif)));
        assert_eq!(FrameClock::Exif.next(None, || None).ok(), Some((None, FrameClock::Exif)));
        assert_eq!(FrameClock::Unknown.next(Some(2.0), exif).ok(), Some((Some(2.0), FrameClock::Stated)));
        assert_eq!(FrameClock::Stated.next(None, exif).ok(), Some((None, FrameClock::Stated)));
        let refused = FrameClock::Exif.next(Some(2.0), exif).expect_err("two clocks").to_string();
        assert!(refused.contains("another clock"), "{refused}");
    }

    #[test]
    fn metres_need_positions() {
        for (speed, moved, said) in [(Some(3.0), None, "max_speed: "), (None, Some(0.0), "moved: ")] {
            let refused = check_motion(PositionKind::None, speed, moved).expect_err(said).to_string();
            assert!(refused.starts_with(said), "{refused}");
            assert!(check_motion(PositionKind::Local, speed, moved).is_ok());
        }
        assert!(check_motion(PositionKind::None, None, None).is_ok());
    }
}
