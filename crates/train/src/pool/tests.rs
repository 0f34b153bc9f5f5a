use super::*;
use crate::random::{Use, at};
use r2former_data::LatLon;

/// Photographs along a street, a metre apart or more, each with a heading, which is unknown if NaN.
struct Street(Vec<(f64, f64)>, Vec<Option<u32>>);

impl Source for Street {
    fn items(&self) -> Vec<Item> {
        let item = |((metres, heading), place): (&(f64, f64), &Option<u32>)| {
            let mut photo = Photo::new("", format!("{metres}"));
            let lat = 52.0 + (metres / EARTH_M).to_degrees();
            photo.position = Some(LatLon { lat, lon: 0.1 }.into());
            photo.heading = Some(*heading).filter(|heading| !heading.is_nan());
            Item { photo, place: *place }
        };
        self.0.iter().zip(&self.1).map(item).collect()
    }

    fn image(&self, key: usize, [height, width]: [usize; 2], _: Option<&mut Rng>) -> Result<Rgb8> {
        Ok(Rgb8 { width, height, pixels: vec![key as u8; width * height * 3] })
    }
}

fn pool(streets: Vec<Street>) -> Pool {
    let rules = PlaceRules { positive_m: 10.0, negative_m: 25.0, heading_deg: 40.0 };
    let mut pool = Pool::empty(rules);
    for street in streets {
        pool.add(Box::new(street), 1.0).unwrap();
    }
    pool
}

#[test]
fn distance_and_direction_decide() {
    use Relation::{Negative, Positive, Unknown};
    let views = vec![(0.0, 0.0), (6.0, 20.0), (6.0, 180.0), (18.0, 0.0), (60.0, 0.0)];
    let other = vec![(0.0, 0.0), (3.0, 0.0)];
    let pool = pool(vec![Street(views, vec![None; 5]), Street(other, vec![None; 2])]);
    // Near with a similar heading; near with another heading; between the limits; far; another source altogether.
    let found: Vec<Relation> = (1..6).map(|b| pool.relation(0, b)).collect();
    assert_eq!(found, [Positive, Unknown, Unknown, Negative, Negative]);
    assert_eq!(pool.relation(3, 3), Positive);
    assert_eq!(pool.positives(0), [1]);
    assert_eq!(pool.positives(5), [6]);
    assert_eq!((pool.positives(4).len(), pool.len()), (0, 7));
}

#[test]
fn named_places_are_positives_and_negatives_unless_too_near() {
    use Relation::{Negative, Positive, Unknown};
    let views = vec![(0.0, 0.0), (90.0, 180.0), (12.0, 0.0), (400.0, 0.0)];
    let places = vec![Some(1), Some(1), Some(2), Some(3)];
    let pool = pool(vec![Street(views, places)]);
    let found: Vec<Relation> = (1..4).map(|b| pool.relation(0, b)).collect();
    assert_eq!(found, [Positive, Unknown, Negative]);
    assert_eq!(pool.positives(1), [0]);
}

#[test]
fn drawn_items_have_a_positive_and_repeat() {
    let views = vec![(0.0, 0.0), (500.0, 0.0), (3.0, 0.0)];
    let pool = pool(vec![Street(views, vec![None; 3])]);
    let draw = || {
        let rng = &mut at(1, Use::Batch, [0, 0]);
        (0..30).map(|_| pool.draw(rng, &Excluded::new()).unwrap()).collect::<Vec<_>>()
    };
    let drawn = draw();
    assert!(drawn.iter().all(|item| [0, 2].contains(item)) && drawn.contains(&0) && drawn.contains(&2));
    assert_eq!(drawn, draw());
}

#[test]
fn a_source_without_two_photographs_of_a_place_is_refused() {
    let rules = PlaceRules { positive_m: 10.0, negative_m: 25.0, heading_deg: 40.0 };
    let mut pool = pool(vec![Street(vec![(0.0, 0.0), (1.0, 0.0)], vec![None; 2])]);
    pool.rules = rules;
    let alone = Street(vec![(0.0, 0.0), (100.0, 0.0)], vec![None; 2]);
    let error = pool.add(Box::new(alone), 1.0).unwrap_err().to_string();
    assert!(error.contains("data source 2") && error.contains("positive_m"), "{error}");
}

#[test]
fn headings_decide_where_both_are_known() {
    let rules = crate::config::TrainConfig::preset(crate::config::Stage::Finetune).places;
    let mut pool = Pool::empty(rules);
    // Two photographs back to back, one in a similar direction, one without a heading.
    let views = vec![(0.0, 10.0), (1.0, 190.0), (2.0, 350.0), (3.0, f64::NAN)];
    pool.add(Box::new(Street(views, vec![None; 4])), 1.0).unwrap();
    assert_eq!(pool.positives(0), [2, 3]);
    assert_eq!(pool.positives(1), [3]);
    assert_eq!(pool.positives(3), [0, 1, 2]);
    assert_eq!(pool.relation(0, 1), Relation::Unknown);
    let note = &pool.notes()[0];
    assert!(note.contains("1 of them have no heading") && note.contains("distance alone"), "{note}");
    // 180 degrees: headings are ignored.
    let mut pool = Pool::empty(PlaceRules { heading_deg: 180.0, ..rules });
    let views = vec![(0.0, 10.0), (1.0, 190.0), (2.0, 350.0), (3.0, f64::NAN)];
    pool.add(Box::new(Street(views, vec![None; 4])), 1.0).unwrap();
    assert_eq!(pool.positives(0), [1, 2, 3]);
}
