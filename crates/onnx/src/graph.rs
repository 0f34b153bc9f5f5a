//! A graph under construction: nodes, and the tensors of a checkpoint that they use.

use crate::proto::{AttributeProto, NodeProto};
use r2former_model::ModelError;
use r2former_model::weights::Tensors;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The name of a tensor in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value(Rc<str>);

impl Value {
    pub(crate) fn named(name: &str) -> Self {
        Self(name.into())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

/// A constant tensor of the graph.
#[derive(Debug)]
pub(crate) struct Initializer<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data<'a>,
}

/// Values of a constant tensor; those of the checkpoint are not copied.
#[derive(Debug)]
pub(crate) enum Data<'a> {
    Floats(Cow<'a, [f32]>),
    /// A row-major matrix of rows of this length, of which the file has the transpose.
    Transposed(&'a [f32], usize),
    Ints(Vec<i64>),
}

impl Data<'_> {
    /// Bytes in the file.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Floats(values) => 4 * values.len(),
            Self::Transposed(values, _) => 4 * values.len(),
            Self::Ints(values) => 8 * values.len(),
        }
    }
}

/// A constant that several nodes may use: shape and bits.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Constant {
    Floats(Vec<usize>, Vec<u32>),
    Ints(Vec<usize>, Vec<i64>),
}

/// The builder. Problems are collected and reported by [`Graph::finish`].
pub(crate) struct Graph<'a> {
    tensors: &'a Tensors,
    pub(crate) nodes: Vec<NodeProto>,
    pub(crate) initializers: Vec<Initializer<'a>>,
    constants: HashMap<Constant, Value>,
    weights: HashMap<String, Value>,
    /// Names of the checkpoint's tensors that the graph uses.
    pub(crate) used: BTreeSet<String>,
    missing: Vec<String>,
    /// Nodes by scope and operator.
    counts: BTreeMap<String, usize>,
    scope: Vec<String>,
}

impl<'a> Graph<'a> {
    /// An empty graph over the tensors of a checkpoint.
    pub(crate) fn new(tensors: &'a Tensors) -> Self {
        Self {
            tensors,
            nodes: Vec::new(),
            initializers: Vec::new(),
            constants: HashMap::new(),
            weights: HashMap::new(),
            used: BTreeSet::new(),
            missing: Vec::new(),
            counts: BTreeMap::new(),
            scope: Vec::new(),
        }
    }

    /// Names the nodes that `build` adds under `name/`.
    pub(crate) fn within<T>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.push(name.to_string());
        let built = build(self);
        self.scope.pop();
        built
    }

    /// A node of one output.
    pub(crate) fn node(&mut self, op: &str, inputs: &[&Value], attributes: Vec<AttributeProto>) -> Value {
        let name = self.next_name(op);
        self.push(op, &name, inputs, vec![name.clone()], attributes);
        Value(name.into())
    }

    /// A node of several outputs.
    pub(crate) fn node_of<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
    ) -> [Value; N] {
        let name = self.next_name(op);
        let outputs: [String; N] = std::array::from_fn(|i| format!("{name}.{i}"));
        self.push(op, &name, inputs, outputs.to_vec(), attributes);
        outputs.map(|name| Value(name.into()))
    }

    /// Gives a value the name of an output of the graph.
    pub(crate) fn output(&mut self, value: &Value, name: &str) {
        self.push("Identity", &format!("output/{name}"), &[value], vec![name.to_string()], Vec::new());
    }

    fn next_name(&mut self, op: &str) -> String {
        let mut path = self.scope.join("/");
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(op);
        let count = self.counts.entry(path.clone()).or_insert(0);
        *count += 1;
        format!("{path}_{count}")
    }

    fn push(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&Value],
        output: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|value| value.name().to_string()).collect(),
            output,
            name: Some(name.to_string()),
            op_type: Some(op.to_string()),
            attribute,
        });
    }

    /// A tensor of the checkpoint as it is stored.
    pub(crate) fn weight(&mut self, name: &str) -> Value {
        self.stored_as(name, |shape, data| (shape.to_vec(), Data::Floats(data.into())))
    }

    /// The matrix `[out, in]` of a linear layer, or a convolution of 1 x 1, as `[in, out]`.
    pub(crate) fn transposed_weight(&mut self, name: &str) -> Value {
        self.stored_as(name, |shape, data| {
            let rows = shape.first().copied().unwrap_or(1).max(1);
            let columns = data.len() / rows;
            (vec![columns, rows], Data::Transposed(data, columns))
        })
    }

    /// A tensor of the checkpoint in another shape with as many values.
    pub(crate) fn weight_shaped(&mut self, name: &str, shape: &[usize]) -> Value {
        self.stored_as(name, |_, data| (shape.to_vec(), Data::Floats(data.into())))
    }

    /// A tensor of the checkpoint by its shape and values in the file; each is used in one layout only.
    fn stored_as(
        &mut self,
        name: &str,
        layout: impl FnOnce(&'a [usize], &'a [f32]) -> (Vec<usize>, Data<'a>),
    ) -> Value {
        if let Some(value) = self.weights.get(name) {
            return value.clone();
        }
        let Some((shape, data)) = self.stored(name) else { return Value::named(name) };
        let (shape, data) = layout(shape, data);
        self.initializer(name, shape, data)
    }

    /// A tensor that was computed from those of the checkpoint, which the caller has [read](Self::read).
    pub(crate) fn computed_weight(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        values: impl Into<Cow<'a, [f32]>>,
    ) -> Value {
        if let Some(value) = self.weights.get(name) {
            return value.clone();
        }
        self.initializer(name, shape, Data::Floats(values.into()))
    }

    /// The values of a tensor of the checkpoint; empty if it is missing.
    pub(crate) fn read(&mut self, name: &str) -> &'a [f32] {
        self.stored(name).map_or(&[], |(_, data)| data)
    }

    fn stored(&mut self, name: &str) -> Option<(&'a [usize], &'a [f32])> {
        let tensors: &'a Tensors = self.tensors;
        let Some(tensor) = tensors.get(name) else {
            self.missing.push(format!("{name}: missing"));
            return None;
        };
        self.used.insert(name.to_string());
        Some((&tensor.shape, &tensor.data))
    }

    fn initializer(&mut self, name: &str, shape: Vec<usize>, data: Data<'a>) -> Value {
        self.initializers.push(Initializer { name: name.to_string(), shape, data });
        let value = Value::named(name);
        self.weights.insert(name.to_string(), value.clone());
        value
    }

    /// A constant of these values; equal ones are the same.
    pub(crate) fn floats(&mut self, shape: &[usize], values: &[f32]) -> Value {
        let bits = values.iter().map(|value| value.to_bits()).collect();
        let data = || Data::Floats(Cow::Owned(values.to_vec()));
        self.constant(Constant::Floats(shape.to_vec(), bits), shape, data)
    }

    /// A constant vector of integers.
    pub(crate) fn ints(&mut self, values: &[i64]) -> Value {
        let shape = [values.len()];
        let data = || Data::Ints(values.to_vec());
        self.constant(Constant::Ints(shape.to_vec(), values.to_vec()), &shape, data)
    }

    /// A constant integer without dimensions.
    pub(crate) fn int(&mut self, value: i64) -> Value {
        self.constant(Constant::Ints(Vec::new(), vec![value]), &[], || Data::Ints(vec![value]))
    }

    fn constant(&mut self, key: Constant, shape: &[usize], data: impl FnOnce() -> Data<'a>) -> Value {
        if let Some(value) = self.constants.get(&key) {
            return value.clone();
        }
        let name = format!("constant_{}", self.constants.len());
        self.initializers.push(Initializer { name: name.clone(), shape: shape.to_vec(), data: data() });
        let value = Value(name.into());
        self.constants.insert(key, value.clone());
        value
    }

    /// Checks that every tensor was there.
    pub(crate) fn finish(&mut self) -> Result<(), ModelError> {
        match self.missing.is_empty() {
            true => Ok(()),
            false => Err(ModelError::Tensors(std::mem::take(&mut self.missing))),
        }
    }
}

/// An integer attribute.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), kind: Some(2), ..Default::default() }
}

/// An attribute of integers.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ints: values.to_vec(), kind: Some(7), ..Default::default() }
}

/// An attribute of one float.
pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), f: Some(value), kind: Some(1), ..Default::default() }
}

/// A text attribute.
pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: Some(name.into()), s: Some(value.into()), kind: Some(3), ..Default::default() }
}
