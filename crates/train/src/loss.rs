//! Losses (R2Former paper, section 3.4).

use crate::pool::Relation;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Added to each difference, as in PyTorch's triplet loss, so that a distance of zero has a gradient.
const EPSILON: f64 = 1e-6;

/// Triplet margin: `max(0, d(q, p) - d(q, n) + margin)`, averaged over triplets.
///
/// `d` is the distance of unit vectors, squared if `squared` (as in the paper; the published code does not square
/// it).
///
/// # Shapes
/// - descriptors: `[images, dim]`
/// - triplets: query, positive, negative by image number
pub fn triplet(descriptors: &Tensor<2>, triplets: &[[usize; 3]], margin: f64, squared: bool) -> Tensor<1> {
    let device = descriptors.device();
    let pick = |which: usize| {
        let numbers: Vec<i64> = triplets.iter().map(|t| t[which] as i64).collect();
        let count = numbers.len();
        descriptors.clone().select(0, Tensor::<1, Int>::from_data(TensorData::new(numbers, [count]), &device))
    };
    let query = pick(0);
    let distance = |other: Tensor<2>| {
        let square = (query.clone() - other).add_scalar(EPSILON).powi_scalar(2).sum_dim(1);
        if squared { square } else { square.sqrt() }
    };
    (distance(pick(1)) - distance(pick(2))).add_scalar(margin).clamp_min(0.0).mean()
}

/// Multi-similarity with its mining of pairs (Wang et al., "Multi-Similarity Loss with General Pair Weighting",
/// CVPR 2019), averaged over images: `ln(1 + sum exp(-a (s - t))) / a` over hard positives, and
/// `ln(1 + sum exp(b (s - t))) / b` over hard negatives; hard are negatives more similar than the least similar
/// positive less `e`, positives less similar than the most similar negative plus `e`.
///
/// # Shapes
/// - descriptors: `[images, dim]`, of unit length
/// - relations: `images * images`
pub(crate) fn multi_similarity(
    descriptors: &Tensor<2>,
    relations: &[Relation],
    [a, b, threshold, e]: [f64; 4],
) -> Tensor<1> {
    let [count, _] = descriptors.dims();
    let device = descriptors.device();
    let similarity = descriptors.clone().matmul(descriptors.clone().transpose());
    let values: Vec<f32> = similarity.clone().inner().into_data().iter::<f32>().collect();
    let (mut positives, mut negatives) = (vec![0.0f32; values.len()], vec![0.0f32; values.len()]);
    for i in 0..count {
        let row = i * count..(i + 1) * count;
        let (values, relations) = (&values[row.clone()], &relations[row.clone()]);
        let of = |relation: Relation| {
            let own = move |(j, r): (usize, &Relation)| (*r == relation && j != i).then_some(values[j]);
            relations.iter().enumerate().filter_map(own)
        };
        let least = of(Relation::Positive).fold(f32::INFINITY, f32::min);
        let most = of(Relation::Negative).fold(f32::NEG_INFINITY, f32::max);
        for j in 0..count {
            match relations[j] {
                Relation::Positive if j != i && values[j] < most + e as f32 => positives[row.start + j] = 1.0,
                Relation::Negative if values[j] > least - e as f32 => negatives[row.start + j] = 1.0,
                _ => {}
            }
        }
    }
    let mask = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [count, count]), &device);
    let off = similarity.sub_scalar(threshold);
    let side = |sign: f64, sharpness: f64, mask: Tensor<2>| {
        let sum = (off.clone().mul_scalar(sign * sharpness).exp() * mask).sum_dim(1);
        sum.log1p().div_scalar(sharpness).mean()
    };
    side(-1.0, a, mask(positives)) + side(1.0, b, mask(negatives))
}

/// Cross-entropy of pair logits, averaged over pairs.
///
/// # Shapes
/// - logits: `[pairs, 2]`: different place, same place
/// - same: whether each pair shows the same place
pub fn cross_entropy(logits: Tensor<2>, same: &[bool]) -> Tensor<1> {
    let device: Device = logits.device();
    let chosen: Vec<f32> = same.iter().flat_map(|s| if *s { [0.0, 1.0] } else { [1.0, 0.0] }).collect();
    let chosen = Tensor::<2>::from_data(TensorData::new(chosen, [same.len(), 2]), &device);
    (log_softmax(logits, 1) * chosen).sum().div_scalar(-(same.len() as f64))
}

/// Ranking loss: `ln(1 + exp(s_n - s_p))` with `s` a pair's second logit less its first, averaged over every
/// combination of a query's positive and negative pairs (RankNet: Burges et al., "Learning to Rank using Gradient
/// Descent", ICML 2005). `None` where no query has both.
///
/// # Shapes
/// - logits: `[pairs, 2]`: different place, same place
/// - pairs: query, reference, whether they show the same place
pub(crate) fn ranking_loss(logits: &Tensor<2>, pairs: &[(usize, usize, bool)]) -> Option<Tensor<1>> {
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for (i, (query, _, _)) in pairs.iter().enumerate().filter(|(_, p)| p.2) {
        let others = pairs.iter().enumerate().filter(|(_, p)| p.0 == *query && !p.2);
        for (j, _) in others {
            positive.push(i as i64);
            negative.push(j as i64);
        }
    }
    if positive.is_empty() {
        return None;
    }
    let count = positive.len();
    let pick = |which: Vec<i64>| {
        let index = Tensor::<1, Int>::from_data(TensorData::new(which, [count]), &logits.device());
        logits.clone().select(0, index)
    };
    // The log of a softmax over the two differences is stable where an exponential is not.
    let above = pick(positive) - pick(negative);
    let [first, second] = [0, 1].map(|i| above.clone().narrow(1, i, 1));
    let margin = second - first;
    let both = Tensor::cat(vec![margin.zeros_like(), margin], 1);
    Some(log_softmax(both, 1).narrow(1, 1, 1).mean().neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit_rows(rows: &[[f32; 2]]) -> Tensor<2> {
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|[x, y]| {
                let l = x.hypot(*y);
                [x / l, y / l]
            })
            .collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), 2]), &Device::flex().autodiff())
    }

    fn value(loss: Tensor<1>) -> f32 {
        loss.into_data().try_to_vec::<f32>().unwrap()[0]
    }

    #[test]
    fn triplets_by_hand() {
        // q and p are the same, n at a right angle: distance sqrt(2).
        let d = unit_rows(&[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]);
        assert!(value(triplet(&d, &[[0, 1, 2]], 0.1, false)).abs() < 1e-6);
        // With positive and negative swapped: sqrt(2) - 0 + 0.1, and 2 - 0 + 0.1.
        let turned = value(triplet(&d, &[[0, 2, 1]], 0.1, false));
        assert!((turned - (2f32.sqrt() + 0.1)).abs() < 1e-5, "{turned}");
        assert!((value(triplet(&d, &[[0, 2, 1]], 0.1, true)) - 2.1).abs() < 1e-4);
    }

    #[test]
    fn multi_similarity_by_hand() {
        use Relation::{Negative as N, Positive as P};
        // Images 0 and 1 are one place at 60 degrees (similarity 0.5), 2 is another, along 0.
        let d = unit_rows(&[[1.0, 0.0], [0.5, 0.75f32.sqrt()], [1.0, 0.0]]);
        let relations = [P, P, N, P, P, N, N, N, P];
        let (a, b, t, e) = (2.0f64, 10.0, 0.5, 0.1);
        let found = value(multi_similarity(&d, &relations, [a, b, t, e]));
        // Row 0: positive 0.5, negative 1: both hard. Row 1: positive 0.5, negative 0.5: both within e.
        // Row 2: no positive; every negative is hard (more similar than nothing), 1 and 0.5? None: the least
        // similar positive of an image without one is infinitely similar.
        let positive = (1.0 + 1.0f64).ln() / a;
        let negative = |s: f64| (1.0 + (b * (s - t)).exp()).ln() / b;
        let expected = (2.0 * positive + negative(1.0) + negative(0.5)) / 3.0;
        assert!((f64::from(found) - expected).abs() < 1e-5, "{found}, not {expected}");
    }

    #[test]
    fn cross_entropy_by_hand() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_data(TensorData::new(vec![0.0f32, 0.0, 2.0, 0.0], [2, 2]), &device);
        let expected = (2f32.ln() + (1.0 + (2f32).exp()).ln()) / 2.0;
        assert!((value(cross_entropy(logits, &[false, true])) - expected).abs() < 1e-6);
    }

    #[test]
    fn ranking_loss_by_hand() {
        let device = Device::flex().autodiff();
        // Scores: query 0 has a positive of 2, negatives of 1 and -3; query 7 only a positive, query 9 only a negative.
        let values = vec![0.0f32, 2.0, 0.0, 1.0, 1.0, -2.0, 5.0, 5.0, 1.0, 0.0];
        let logits = Tensor::<2>::from_data(TensorData::new(values, [5, 2]), &device);
        let pairs = [(0, 1, true), (0, 2, false), (0, 3, false), (7, 8, true), (9, 0, false)];
        let expected = ((-1f32).exp().ln_1p() + (-5f32).exp().ln_1p()) / 2.0;
        assert!((value(ranking_loss(&logits, &pairs).unwrap()) - expected).abs() < 1e-6);
        assert!(ranking_loss(&logits, &pairs[3..]).is_none());
        // Far apart, it neither overflows nor loses its slope.
        let far = Tensor::<2>::from_data(TensorData::new(vec![0.0f32, -500.0, 0.0, 500.0], [2, 2]), &device);
        assert!((value(ranking_loss(&far, &[(0, 1, true), (0, 2, false)]).unwrap()) - 1000.0).abs() < 1e-3);
    }
}
