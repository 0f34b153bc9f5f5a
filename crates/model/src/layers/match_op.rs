//! The matches of local features as one operation of the autodiff graph on a CPU, by the kernels.
//!
//! Plain operations stay the reference ([`Reranker`](crate::Reranker) composes them on every other device); they
//! sort every row of a matrix of all similarities, of which this one keeps the matches alone.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::Level;
use r2former_kernels::gradient::{CHANNELS, MatchShape, Matches, match_features, match_features_backward};

/// The operation on a backend.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait MatchOps: Backend {
    /// Channels of each match, `[pairs, (query + reference) * neighbours, 7]`; only the last has a gradient.
    fn matched(
        query: FloatTensor<Self>,
        reference: FloatTensor<Self>,
        shape: MatchShape,
    ) -> FloatTensor<Self>;
}

/// Channels of matches by the kernels, for tensors `[pairs, count, 3 + feature]` on a CPU; see
/// [`MatchOps::matched`].
pub(crate) fn matched(query: Tensor<3>, reference: Tensor<3>, shape: MatchShape) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::matched(query.into_dispatch(), reference.into_dispatch(), shape))
}

type Primitive = FloatTensor<Flex>;

fn values(tensor: &Primitive) -> &[f32] {
    tensor.storage::<f32>()
}

fn tensor(values: Vec<f32>, shape: impl Into<burn::tensor::Shape>) -> Primitive {
    Flex::float_from_data(TensorData::new(values, shape), &Default::default())
}

fn run(sides: &[Primitive; 2], shape: MatchShape) -> (Primitive, Vec<u32>) {
    let level = Level::current().unwrap_or_else(|_| Level::best());
    // The reranker has looked at the sizes.
    let Matches { channels, others } =
        match_features(level, shape, values(&sides[0]), values(&sides[1])).expect("checked sizes");
    let matches = (shape.query + shape.reference) * shape.neighbours;
    (tensor(channels, [others.len() / matches, matches, CHANNELS]), others)
}

impl MatchOps for Flex {
    fn matched(query: Primitive, reference: Primitive, shape: MatchShape) -> Primitive {
        run(&[query.to_contiguous(), reference.to_contiguous()], shape).0
    }
}

/// The way back.
#[derive(Debug)]
struct MatchBack;

/// What it needs.
#[derive(Debug, Clone)]
struct State {
    sides: [Primitive; 2],
    shape: MatchShape,
    others: Vec<u32>,
}

impl Backward<Flex, 2> for MatchBack {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let State { sides, shape, others } = ops.state;
        let [query, reference] = [&sides[0], &sides[1]].map(values);
        let found = match_features_backward(shape, &others, query, reference, values(&gradient))
            .expect("the sizes of the way forward");
        for ((parent, side), values) in ops.parents.iter().zip(&sides).zip(found) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, tensor(values, side.layout().shape().clone()));
            }
        }
    }
}

impl<C: CheckpointStrategy> MatchOps for Autodiff<Flex, C> {
    fn matched(
        query: FloatTensor<Self>,
        reference: FloatTensor<Self>,
        shape: MatchShape,
    ) -> FloatTensor<Self> {
        let ((query, query_node), (reference, reference_node)) = (query.into_parts(), reference.into_parts());
        let sides = [query.to_contiguous(), reference.to_contiguous()];
        let (out, others) = run(&sides, shape);
        match MatchBack.prepare::<C>([query_node, reference_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(State { sides, shape, others }, out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
