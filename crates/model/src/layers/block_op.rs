//! A transformer block as a single operation of the autodiff graph on a CPU, by the kernels of
//! [`gradient`](r2former_kernels::gradient).
//!
//! Burn's operations, from which [`Block`](super::Block) is composed on other devices, remain the reference. The kernels
//! are several times faster, because intermediate results are not written to memory between operations.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::Level;
use r2former_kernels::gradient::{self, Activations, GradientMask, Shape, TENSORS};
use std::any::TypeId;
use std::sync::Arc;

/// The tensors of a block, in the order of the kernels.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct BlockTensors<B: Backend> {
    norm1_weight: FloatTensor<B>,
    norm1_bias: FloatTensor<B>,
    qkv_weight: FloatTensor<B>,
    qkv_bias: FloatTensor<B>,
    proj_weight: FloatTensor<B>,
    proj_bias: FloatTensor<B>,
    norm2_weight: FloatTensor<B>,
    norm2_bias: FloatTensor<B>,
    fc1_weight: FloatTensor<B>,
    fc1_bias: FloatTensor<B>,
    fc2_weight: FloatTensor<B>,
    fc2_bias: FloatTensor<B>,
}

impl<B: Backend> BlockTensors<B> {
    fn into_array(self) -> [FloatTensor<B>; TENSORS] {
        [
            self.norm1_weight,
            self.norm1_bias,
            self.qkv_weight,
            self.qkv_bias,
            self.proj_weight,
            self.proj_bias,
            self.norm2_weight,
            self.norm2_bias,
            self.fc1_weight,
            self.fc1_bias,
            self.fc2_weight,
            self.fc2_bias,
        ]
    }
}

impl BlockTensors<Dispatch> {
    /// From norms and biases, and the weights `[inputs, outputs]` of the four linear layers.
    pub(crate) fn new(vectors: [Tensor<1>; 8], weights: [Tensor<2>; 4]) -> Self {
        let [norm1_weight, norm1_bias, qkv_bias, proj_bias, norm2_weight, norm2_bias, fc1_bias, fc2_bias] =
            vectors.map(Tensor::into_dispatch);
        let [qkv_weight, proj_weight, fc1_weight, fc2_weight] = weights.map(Tensor::into_dispatch);
        Self {
            norm1_weight,
            norm1_bias,
            qkv_weight,
            qkv_bias,
            proj_weight,
            proj_bias,
            norm2_weight,
            norm2_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
        }
    }
}

/// The operation as a backend extension.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait BlockOps: Backend {
    /// Output tokens `[batch, outputs, dim]`, and the attention of the class tokens `[batch, tokens]` (zeros if there are
    /// none).
    fn block(
        x: FloatTensor<Self>,
        #[extension_type] tensors: BlockTensors<Self>,
        shape: Shape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// [`BlockOps::block`] for tensors on a CPU.
pub(crate) fn block(x: Tensor<3>, tensors: BlockTensors<Dispatch>, shape: Shape) -> (Tensor<3>, Tensor<2>) {
    let (out, attention) = Dispatch::block(x.into_dispatch(), tensors, shape);
    (Tensor::from_dispatch(out), Tensor::from_dispatch(attention))
}

type Primitive = FloatTensor<Flex>;

fn values(tensor: &Primitive) -> &[f32] {
    tensor.storage::<f32>()
}

fn tensor(values: Vec<f32>, shape: impl Into<burn::tensor::Shape>) -> Primitive {
    Flex::float_from_data(TensorData::new(values, shape), &Default::default())
}

fn run(x: &Primitive, tensors: &[Primitive; TENSORS], shape: Shape) -> (Primitive, Primitive, Activations) {
    let level = Level::current().unwrap_or_else(|_| Level::best());
    let slices = std::array::from_fn(|i| values(&tensors[i]));
    // Sizes come from the layers, which `TensorReader` has checked.
    let out = gradient::forward(level, shape, &slices, values(x)).expect("a block's own sizes");
    let batch = out.tokens.len() / (shape.outputs * shape.dim);
    let attention = match shape.class_tokens {
        0 => vec![0.0; batch * shape.tokens],
        _ => out.attention,
    };
    let tokens = tensor(out.tokens, [batch, shape.outputs, shape.dim]);
    (tokens, tensor(attention, [batch, shape.tokens]), out.activations)
}

impl BlockOps for Flex {
    fn block(x: Primitive, tensors: BlockTensors<Self>, shape: Shape) -> (Primitive, Primitive) {
        let tensors = tensors.into_array().map(|t| t.to_contiguous());
        let (out, attention, _) = run(&x.to_contiguous(), &tensors, shape);
        (out, attention)
    }
}

/// The backward pass.
#[derive(Debug)]
struct BlockBack;

/// State of the backward pass. With gradient checkpointing there are no activations, and the forward pass runs again.
#[derive(Debug, Clone)]
struct State {
    x: Primitive,
    tensors: [Primitive; TENSORS],
    shape: Shape,
    activations: Option<Arc<Activations>>,
}

impl Backward<Flex, { TENSORS + 1 }> for BlockBack {
    type State = State;

    fn backward(self, ops: Ops<State, { TENSORS + 1 }>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let State { x, tensors, shape, activations } = ops.state;
        let activations = activations.unwrap_or_else(|| Arc::new(run(&x, &tensors, shape).2));
        let mask = GradientMask {
            input: ops.parents[0].is_some(),
            tensors: ops.parents[1..].iter().any(Option::is_some),
        };
        let level = Level::current().unwrap_or_else(|_| Level::best());
        let slices = std::array::from_fn(|i| values(&tensors[i]));
        let found = gradient::backward(level, &activations, &slices, values(&x), values(&gradient), mask)
            .expect("the sizes of the forward pass");
        let shapes = std::iter::once(&x).chain(&tensors).map(|t| t.layout().shape().clone());
        let all = std::iter::once(found.input).chain(found.tensors);
        for ((parent, shape), values) in ops.parents.iter().zip(shapes).zip(all) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, tensor(values, shape));
            }
        }
    }
}

impl<C: CheckpointStrategy> BlockOps for Autodiff<Flex, C> {
    fn block(
        x: FloatTensor<Self>,
        tensors: BlockTensors<Self>,
        shape: Shape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, x_node) = x.into_parts();
        let x = x.to_contiguous();
        let mut nodes = vec![x_node];
        let tensors = tensors.into_array().map(|tensor| {
            let (tensor, node) = tensor.into_parts();
            nodes.push(node);
            tensor.to_contiguous()
        });
        let nodes: [_; TENSORS + 1] = nodes.try_into().expect("one node for the input and one per tensor");
        let (out, attention, activations) = run(&x, &tensors, shape);
        let out = match BlockBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let checkpointing = TypeId::of::<C>() == TypeId::of::<BalancedCheckpointing>();
                let activations = (!checkpointing).then(|| Arc::new(activations));
                prep.finish(State { x, tensors, shape, activations }, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        (out, Self::from_inner(attention))
    }
}
