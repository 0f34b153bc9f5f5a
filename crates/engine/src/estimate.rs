//! Where a query was taken, by the matches that agree: position, heading and the region around it.

use crate::Match;
use r2former_data::{LatLon, LocalPoint, Position};
use serde::Serialize;

/// Where the query was probably taken, by the first [`Estimate::CONSIDERED`] matches of the ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The best match's position.
    pub best: Position,
    /// Mean position of the matches that agree, weighted by their scores (by similarity where nothing was
    /// reranked) and by how much more or less of the query they show than the best one, as similarity says.
    pub weighted: Position,
    /// Where the query looks, degrees clockwise from north: the mean of the agreeing matches that have a heading, weighted
    /// alike; `None` without any, or where they look all ways.
    pub heading: Option<f64>,
    /// The region around [`Self::weighted`] that holds the query's position with a probability of 90 %, if the best match
    /// is correct; `None` of a model that is not calibrated for it.
    pub ellipse: Option<Ellipse>,
    /// Matches within [`Estimate::AGREEMENT_M`] of the best one, itself included.
    pub agreeing: usize,
    /// Matches that were asked: the first of the ranking that have a position and, where the best one was
    /// reranked, were reranked too.
    pub considered: usize,
    /// The largest distance in metres from the best match to one that agrees.
    pub spread_m: f64,
    /// Variances to the east and north and their covariance, in square metres, before the calibration's scale.
    #[serde(skip)]
    covariance: [f64; 3],
}

/// An ellipse on the ground; of local metres, on the plane of x and y.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ellipse {
    /// Half the length of its major axis in metres.
    pub major_m: f64,
    /// Half the length of its minor axis in metres.
    pub minor_m: f64,
    /// Direction of the major axis, degrees clockwise from north, 0 to 180; in local metres from the direction of y.
    pub angle_deg: f64,
}

impl Estimate {
    /// Matches within this many metres of the best one agree with it: the usual radius within which
    /// two photographs count as the same place.
    pub const AGREEMENT_M: f64 = 25.0;

    /// Matches that are considered: the first 10 of the ranking, however many an answer shows.
    pub const CONSIDERED: usize = 10;

    /// Estimates a position from a ranking, in its kind of positions: a height in local metres is that of the matches that
    /// have one, where the best one has; `None` where its first match has no position.
    ///
    /// ```
    /// use r2former_engine::{Estimate, LatLon, Match, ScoreKind};
    /// use std::collections::BTreeMap;
    ///
    /// let found = |rank, lat, score| Match {
    ///     rank,
    ///     id: String::new(),
    ///     path: format!("{rank}.jpg"),
    ///     tags: BTreeMap::new(),
    ///     position: Some(LatLon { lat, lon: 0.0 }.into()),
    ///     heading: None,
    ///     time: None,
    ///     distance_m: None,
    ///     similarity: 0.5,
    ///     score: Some(score),
    ///     score_kind: Some(ScoreKind::RerankerProbability),
    /// };
    /// // The second lies 11 m north of the first, the third 1.1 km.
    /// let ranking = [found(1, 52.0, 0.9), found(2, 52.0001, 0.3), found(3, 52.01, 0.2)];
    /// let estimate = Estimate::from_matches(&ranking).unwrap();
    /// assert_eq!((estimate.agreeing, estimate.considered), (2, 3));
    /// assert_eq!(estimate.weighted.to_string(), "52.000025, 0.000000");
    /// assert_eq!(format!("{:.1} m", estimate.spread_m), "11.1 m");
    /// ```
    pub fn from_matches(ranking: &[Match]) -> Option<Self> {
        let first = ranking.first()?;
        let best = first.position?;
        let mut mean = Mean::default();
        let (mut agreeing, mut considered, mut spread_m) = (0, 0, 0.0f64);
        let mut looking = [0.0f64; 2];
        // Scores and similarities are not comparable: a ranking continues with similarities behind the reranked ones.
        let comparable = ranking.iter().filter(|m| m.score.is_some() == first.score.is_some());
        for m in comparable.take(Self::CONSIDERED) {
            let Some(position) = m.position else { continue };
            considered += 1;
            let Some(distance) = best.distance_m(position).filter(|metres| *metres <= Self::AGREEMENT_M)
            else {
                continue;
            };
            let overlap = (OVERLAP * f64::from(m.similarity - first.similarity)).exp();
            let weight = f64::from(m.score.unwrap_or(m.similarity)).max(1e-6) * overlap;
            mean.add(best, position, weight);
            if let Some(heading) = m.heading.filter(|heading| heading.is_finite()) {
                let (sin, cos) = heading.to_radians().sin_cos();
                looking = [looking[0] + weight * sin, looking[1] + weight * cos];
            }
            agreeing += 1;
            spread_m = spread_m.max(distance);
        }
        let weighted = mean.around(best);
        // Of opposite directions little is left.
        let heading = (looking[0].hypot(looking[1]) > 0.5 * mean.total)
            .then(|| looking[0].atan2(looking[1]).to_degrees().rem_euclid(360.0));
        let covariance = mean.covariance();
        Some(Self { best, weighted, heading, ellipse: None, agreeing, considered, spread_m, covariance })
    }

    /// Scales the spread of the matches to the region of 90 %: a calibration's
    /// [`position_scale`](r2former_model::Calibration::position_scale).
    #[must_use]
    pub fn scaled(mut self, scale: Option<f64>) -> Self {
        self.ellipse = scale.map(|scale| Ellipse::of(self.covariance, scale));
        self
    }

    /// How far a position is from [`Self::weighted`] in standard deviations of the matches' spread: the region of 90 % is
    /// where that is at most the calibration's scale. `None` for a position of the other kind.
    pub fn deviations(&self, position: Position) -> Option<f64> {
        let [x, y] = metres(self.weighted, position)?;
        let [xx, yy, xy] = self.covariance;
        let determinant = xx * yy - xy * xy;
        Some(((yy * x * x - 2.0 * xy * x * y + xx * y * y) / determinant).max(0.0).sqrt())
    }

    /// The weighted mean of positions of one kind near a first one.
    pub(crate) fn mean_of(first: Position, positions: &[(Position, f64)]) -> Position {
        let mut mean = Mean::default();
        positions.iter().for_each(|(position, weight)| mean.add(first, *position, weight.max(1e-12)));
        if mean.total > 0.0 { mean.around(first) } else { first }
    }
}

impl Ellipse {
    /// By the eigenvalues of a covariance matrix, each axis `scale` standard deviations long.
    fn of([xx, yy, xy]: [f64; 3], scale: f64) -> Self {
        let (middle, radius) = ((xx + yy) / 2.0, ((xx - yy) / 2.0).hypot(xy));
        // Clockwise from north: the east component is the sine.
        let angle = 0.5 * (2.0 * xy).atan2(yy - xx);
        Self {
            major_m: scale * (middle + radius).max(0.0).sqrt(),
            minor_m: scale * (middle - radius).max(0.0).sqrt(),
            angle_deg: angle.to_degrees().rem_euclid(180.0),
        }
    }
}

/// How much faster the weight of a match falls than its similarity: one tenth less halves it, about.
const OVERLAP: f64 = 8.0;

/// Standard deviation in metres, in each direction, of a query from even a single match: it is taken near, not at, the spot
/// of a reference.
const AROUND_M: f64 = 5.0;

/// Metres per degree of latitude.
const DEGREE_M: f64 = 111_195.0;

/// Metres to the east and north from one position to another nearby; `None` between two kinds.
fn metres(from: Position, to: Position) -> Option<[f64; 2]> {
    match (from, to) {
        (Position::Wgs84(from), Position::Wgs84(to)) => {
            let lon = to.lon - from.lon;
            let east = (lon - 360.0 * (lon / 360.0).round()) * from.lat.to_radians().cos();
            Some([east * DEGREE_M, (to.lat - from.lat) * DEGREE_M])
        }
        (Position::Local(from), Position::Local(to)) => Some([to.x - from.x, to.y - from.y]),
        (Position::Wgs84(_), Position::Local(_)) | (Position::Local(_), Position::Wgs84(_)) => None,
    }
}

/// A weighted mean of positions as differences from one of them, so that neither the date line nor rounding matters.
#[derive(Default)]
struct Mean {
    /// Longitudes or x, latitudes or y.
    sums: [f64; 2],
    total: f64,
    height: f64,
    height_total: f64,
    /// Products of metres: east by east, north by north, east by north.
    products: [f64; 3],
    metres: [f64; 2],
}

impl Mean {
    fn add(&mut self, from: Position, to: Position, weight: f64) {
        let difference = match (from, to) {
            (Position::Wgs84(from), Position::Wgs84(to)) => {
                let lon = to.lon - from.lon;
                [lon - 360.0 * (lon / 360.0).round(), to.lat - from.lat]
            }
            (Position::Local(from), Position::Local(to)) => {
                if let Some((from, to)) = from.z.zip(to.z) {
                    self.height += weight * (to - from);
                    self.height_total += weight;
                }
                [to.x - from.x, to.y - from.y]
            }
            (Position::Wgs84(_), Position::Local(_)) | (Position::Local(_), Position::Wgs84(_)) => return,
        };
        for (sum, difference) in self.sums.iter_mut().zip(difference) {
            *sum += weight * difference;
        }
        self.total += weight;
        if let Some([x, y]) = metres(from, to) {
            self.metres = [self.metres[0] + weight * x, self.metres[1] + weight * y];
            let products = [x * x, y * y, x * y];
            self.products.iter_mut().zip(products).for_each(|(sum, product)| *sum += weight * product);
        }
    }

    /// Of the positions, and of a query around each.
    fn covariance(&self) -> [f64; 3] {
        let [x, y] = self.metres.map(|sum| sum / self.total);
        let [xx, yy, xy] = self.products.map(|sum| sum / self.total);
        let own = AROUND_M * AROUND_M;
        [xx - x * x + own, yy - y * y + own, xy - x * y]
    }

    fn around(&self, from: Position) -> Position {
        let [x, y] = self.sums.map(|sum| sum / self.total);
        match from {
            Position::Wgs84(from) => {
                let lon = from.lon + x;
                LatLon { lat: from.lat + y, lon: lon - 360.0 * (lon / 360.0).round() }.into()
            }
            Position::Local(from) => {
                let z = from.z.map(|z| z + self.height / self.height_total);
                LocalPoint { x: from.x + x, y: from.y + y, z }.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScoreKind;

    fn at(lat: f64, lon: f64, score: f32) -> Match {
        Match {
            position: Some(LatLon { lat, lon }.into()),
            score: Some(score),
            score_kind: Some(ScoreKind::RerankerProbability),
            ..Match::named("", 0.5)
        }
    }

    #[test]
    fn far_matches_do_not_pull() {
        // The third lies 1.1 km north; the first two 11 m apart with weights 3 to 1.
        let found = Estimate::from_matches(&[at(52.0, 0.0, 0.9), at(52.0001, 0.0, 0.3), at(52.01, 0.0, 0.9)]);
        let found = found.expect("positions are there");
        assert_eq!(found.agreeing, 2);
        assert!((found.weighted.wgs84().expect("globe").lat - 52.000_025).abs() < 1e-7, "{found:?}");
        assert!((found.spread_m - 11.1).abs() < 0.2);
    }

    #[test]
    fn the_first_ten_are_considered_however_many_are_shown() {
        let mut ranking: Vec<Match> = (0..40).map(|_| at(52.0, 0.0, 0.9)).collect();
        ranking[3].position = None;
        let found = Estimate::from_matches(&ranking).expect("positions are there");
        assert_eq!((found.agreeing, found.considered), (9, 9));
        // Five were reranked: the others' similarities say something else.
        ranking[5..].iter_mut().for_each(|m| m.score = None);
        let found = Estimate::from_matches(&ranking).expect("positions are there");
        assert_eq!((found.agreeing, found.considered), (4, 4));
    }

    #[test]
    fn date_line_is_no_border() {
        let found = Estimate::from_matches(&[at(0.0, 179.999_95, 0.5), at(0.0, -179.999_95, 0.5)])
            .expect("positions");
        assert!(found.weighted.wgs84().expect("globe").lon.abs() > 179.99, "{found:?}");
    }

    #[test]
    fn local_metres_agree_in_space() {
        let at = |x: f64, z: Option<f64>, score| Match {
            position: Some(LocalPoint { x, y: 0.0, z }.into()),
            ..at(0.0, 0.0, score)
        };
        // The third stands 30 m above the first; the last has no height, so that the plane counts.
        let ranking =
            [at(0.0, Some(0.0), 0.9), at(4.0, Some(3.0), 0.3), at(0.0, Some(30.0), 0.9), at(6.0, None, 0.3)];
        let found = Estimate::from_matches(&ranking).expect("positions are there");
        assert_eq!((found.agreeing, found.considered, found.spread_m), (3, 4, 6.0));
        let weighted = found.weighted.local().expect("local metres");
        assert!(
            (weighted.x - 2.0).abs() < 1e-6 && (weighted.z.expect("a height") - 0.75).abs() < 1e-6,
            "{found:?}"
        );
    }

    #[test]
    fn no_position_no_estimate() {
        let mut lone = at(0.0, 0.0, 0.5);
        lone.position = None;
        assert_eq!(Estimate::from_matches(&[lone]), None);
        assert_eq!(Estimate::from_matches(&[]), None);
    }

    #[test]
    fn headings_agree_across_north_or_not_at_all() {
        let looking = |headings: &[f64]| {
            let all: Vec<Match> = headings
                .iter()
                .map(|heading| Match { heading: Some(*heading), ..at(52.0, 0.0, 0.9) })
                .collect();
            Estimate::from_matches(&all).expect("positions are there").heading
        };
        let north = looking(&[350.0, 10.0]).expect("they agree");
        assert!(!(1e-6..360.0 - 1e-6).contains(&north), "{north}");
        assert!((looking(&[80.0, 100.0]).expect("they agree") - 90.0).abs() < 1e-9);
        assert_eq!(looking(&[0.0, 180.0]), None);
        assert_eq!(Estimate::from_matches(&[at(52.0, 0.0, 0.9)]).expect("a position").heading, None);
    }

    #[test]
    fn the_ellipse_lies_along_the_matches() {
        // 20 m from south to north, seen alike.
        let all = [at(52.0, 0.0, 0.9), at(52.000_18, 0.0, 0.9)];
        let found = Estimate::from_matches(&all).expect("positions").scaled(Some(2.0));
        let ellipse = found.ellipse.expect("a scale was given");
        // Variances: 10 m squared and that of a single match.
        assert!((ellipse.major_m - 2.0 * 125f64.sqrt()).abs() < 0.1, "{ellipse:?}");
        assert!((ellipse.minor_m - 10.0).abs() < 1e-6, "{ellipse:?}");
        assert!(ellipse.angle_deg.min(180.0 - ellipse.angle_deg) < 1e-6, "{ellipse:?}");
        let lone = Estimate::from_matches(&all[..1]).expect("a position");
        assert_eq!(lone.ellipse, None);
        // 10 m north of a single match are two standard deviations.
        let north = LatLon { lat: 52.0 + 10.0 / DEGREE_M, lon: 0.0 };
        assert!((lone.deviations(north.into()).expect("one kind") - 2.0).abs() < 1e-6);
        assert_eq!(lone.deviations(LocalPoint { x: 0.0, y: 0.0, z: None }.into()), None);
        // From south-west to north-east.
        let slanted = [at(52.0, 0.0, 0.9), at(52.000_1, 0.000_162_4, 0.9)];
        let found = Estimate::from_matches(&slanted).expect("positions").scaled(Some(1.0));
        assert!((found.ellipse.expect("a scale").angle_deg - 45.0).abs() < 0.5, "{found:?}");
    }

    #[test]
    fn what_shows_more_of_the_query_pulls_more() {
        let less = Match { similarity: 0.4, ..at(52.0001, 0.0, 0.9) };
        let found = Estimate::from_matches(&[at(52.0, 0.0, 0.9), less]).expect("positions");
        let lat = found.weighted.wgs84().expect("globe").lat;
        assert!(lat > 52.0 && lat < 52.000_04, "{lat}");
    }
}
