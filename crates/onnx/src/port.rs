//! Inputs and outputs of a graph.

use crate::proto::{
    DimensionProto, DimensionValue, FLOAT, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// A tensor of 32-bit floats that goes into a graph or comes out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its sizes, outermost first.
    pub shape: Vec<Axis>,
    /// What its values are.
    pub doc: String,
}

/// A size of a [`Port`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The same in every run.
    Fixed(usize),
    /// One that may differ from run to run. Axes of the same name have the same size.
    Named(&'static str),
}

impl std::fmt::Display for Axis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl Port {
    pub(crate) fn info(&self) -> ValueInfoProto {
        let dimension = |axis: &Axis| DimensionProto {
            value: Some(match axis {
                Axis::Fixed(size) => DimensionValue::Value(*size as i64),
                Axis::Named(name) => DimensionValue::Param((*name).into()),
            }),
        };
        let shape = TensorShapeProto { dim: self.shape.iter().map(dimension).collect() };
        let tensor = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(shape) };
        ValueInfoProto {
            name: Some(self.name.clone()),
            kind: Some(TypeProto { tensor_type: Some(tensor) }),
            doc_string: Some(self.doc.clone()),
        }
    }
}
