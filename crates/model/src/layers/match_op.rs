//! The matches of local features as a single operation of the autodiff graph on a CPU, by the kernels of
//! [`gradient`](r2former_kernels::gradient).
//!
//! The plain operations, from which [`Reranker`](crate::Reranker) is composed on other devices, remain the reference. They
//! sort every row of the similarity matrix; the kernels keep the matches alone.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::Level;
use r2former_kernels::gradient::{self, CHANNELS, MatchShape, Matches, match_features_backward};

/// The operation as a backend extension.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait MatchOps: Backend {
    /// Channels of each match, `[pairs, (query + reference) * neighbours, 7]`. Only the last, the correlation, has a
    /// gradient.
    fn match_features(
        query: FloatTensor<Self>,
        reference: FloatTensor<Self>,
        shape: MatchShape,
    ) -> FloatTensor<Self>;
}

/// [`MatchOps::match_features`] for tensors `[pairs, count, 3 + feature]` on a CPU.
pub(crate) fn match_features(query: Tensor<3>, reference: Tensor<3>, shape: MatchShape) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::match_features(query.into_dispatch(), reference.into_dispatch(), shape))
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
    // The reranker has checked the sizes.
    let Matches { channels, others } =
        gradient::match_features(level, shape, values(&sides[0]), values(&sides[1])).expect("checked sizes");
    let matches = (shape.query + shape.reference) * shape.neighbours;
    (tensor(channels, [others.len() / matches, matches, CHANNELS]), others)
}

impl MatchOps for Flex {
    fn match_features(query: Primitive, reference: Primitive, shape: MatchShape) -> Primitive {
        run(&[query.to_contiguous(), reference.to_contiguous()], shape).0
    }
}

/// The backward pass.
#[derive(Debug)]
struct MatchBack;

/// State of the backward pass.
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
            .expect("the sizes of the forward pass");
        for ((parent, side), values) in ops.parents.iter().zip(&sides).zip(found) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, tensor(values, side.layout().shape().clone()));
            }
        }
    }
}

impl<C: CheckpointStrategy> MatchOps for Autodiff<Flex, C> {
    fn match_features(
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
