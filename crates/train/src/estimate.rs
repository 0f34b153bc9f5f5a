//! How long the rest of a run will take.

use std::fmt;

/// The remaining work of a run, with the measured times of its parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// Steps, and seconds per step.
    pub(crate) steps: (u64, f64),
    /// Validations, and seconds per validation; 0 if none has been timed.
    pub(crate) validations: (u64, f64),
    /// Mining passes or extractions of cached views, and seconds per pass.
    pub(crate) mining: (u64, f64),
}

impl Estimate {
    /// Seconds in total.
    pub(crate) fn seconds(&self) -> f64 {
        [self.steps, self.validations, self.mining].iter().map(|(count, each)| *count as f64 * each).sum()
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (steps, each) = self.steps;
        write!(
            f,
            "estimated duration: about {} ({steps} steps of {}",
            duration(self.seconds()),
            duration(each)
        )?;
        for (name, (count, each)) in [("validations", self.validations), ("mining passes", self.mining)] {
            if count > 0 && each > 0.0 {
                write!(f, ", {count} {name} of {}", duration(each))?;
            }
        }
        f.write_str(")")
    }
}

/// A duration in its largest unit: `17 days`, `3.4 h`, `12 min`, `45 s`, `320 ms`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 570.0 => format!("{:.1} min", s / 60.0),
        s if s < 5_970.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_adds_its_parts_up() {
        let estimate = Estimate { steps: (39_050, 37.0), validations: (50, 120.0), mining: (250, 30.0) };
        assert_eq!(
            estimate.to_string(),
            "estimated duration: about 17 days (39050 steps of 37 s, 50 validations of 2.0 min, 250 mining passes of \
             30 s)"
        );
        let short = Estimate { steps: (24, 0.02), validations: (0, 0.0), mining: (1, 0.0) };
        assert_eq!(short.to_string(), "estimated duration: about 480 ms (24 steps of 20 ms)");
    }

    #[test]
    fn durations_have_two_digits_or_more() {
        let found = [0.32, 4.21, 45.3, 130.0, 720.0, 12_240.0, 86_400.0 * 3.2].map(duration);
        assert_eq!(found, ["320 ms", "4.2 s", "45 s", "2.2 min", "12 min", "3.4 h", "3 days"]);
    }
}
