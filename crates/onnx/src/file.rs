//! Writing a model: weights go to the file a piece at a time, since a model can be as large as half the memory.

use crate::graph::{Data, Initializer};
use crate::proto::{EXTERNAL, FLOAT, GraphProto, INT64, ModelProto, StringStringEntryProto, TensorProto};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::io::{self, Write};

/// A message of protocol buffers has at most this many bytes.
pub(crate) const LARGEST_MESSAGE: u64 = i32::MAX as u64;
/// Tensors below this stay in the model's file.
const SMALLEST_EXTERNAL: usize = 1024;
/// External tensors begin at multiples of this, so that they can be mapped.
const ALIGNMENT: u64 = 4096;
/// Rows of a transposed matrix that are collected at a time.
const COLUMNS: usize = 16;

const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// A model that is ready to be written.
pub(crate) struct Contents<'a> {
    /// Everything but the graph.
    pub(crate) model: ModelProto,
    /// The graph without its constant tensors.
    pub(crate) graph: GraphProto,
    pub(crate) initializers: Vec<Initializer<'a>>,
}

impl Contents<'_> {
    /// The tensors of the file beside the model, if there is one: index, place in that file, tensor.
    fn large(&self) -> impl Iterator<Item = (usize, u64, &Initializer<'_>)> {
        let large = self.initializers.iter().enumerate();
        let large = large.filter(|(_, tensor)| tensor.data.bytes() >= SMALLEST_EXTERNAL);
        large.scan(0u64, |end, (index, tensor)| {
            let offset = end.next_multiple_of(ALIGNMENT);
            *end = offset + tensor.data.bytes() as u64;
            Some((index, offset, tensor))
        })
    }

    /// Bytes of the file beside the model, if large tensors are in one.
    pub(crate) fn external_bytes(&self) -> u64 {
        self.large().last().map_or(0, |(_, offset, tensor)| offset + tensor.data.bytes() as u64)
    }

    /// Bytes of the file, with tensors inside, or, if named, in the file beside it.
    pub(crate) fn file_bytes(&self, external: Option<&str>) -> u64 {
        let graph = self.graph_bytes(&self.heads(external));
        self.model.encoded_len() as u64 + (key_len(MODEL_GRAPH) + encoded_len_varint(graph)) as u64 + graph
    }

    /// Writes the model; with `external`, a name, its large tensors are those of the file of that name beside it.
    pub(crate) fn write(&self, out: &mut dyn Write, external: Option<&str>) -> io::Result<()> {
        let heads = self.heads(external);
        out.write_all(&self.model.encode_to_vec())?;
        out.write_all(&header(MODEL_GRAPH, self.graph_bytes(&heads)))?;
        out.write_all(&self.graph.encode_to_vec())?;
        for (tensor, head) in self.initializers.iter().zip(&heads) {
            out.write_all(&header(GRAPH_INITIALIZER, tensor_bytes(tensor, head)))?;
            out.write_all(&head.encode_to_vec())?;
            if !is_external(head) {
                out.write_all(&header(TENSOR_RAW_DATA, tensor.data.bytes() as u64))?;
                write_data(out, &tensor.data)?;
            }
        }
        Ok(())
    }

    /// Writes the large tensors as [`write`](Self::write) expects them in the other file.
    pub(crate) fn write_external(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut written = 0u64;
        for (_, offset, tensor) in self.large() {
            out.write_all(&vec![0; (offset - written) as usize])?;
            write_data(out, &tensor.data)?;
            written = offset + tensor.data.bytes() as u64;
        }
        Ok(())
    }

    fn graph_bytes(&self, heads: &[TensorProto]) -> u64 {
        let tensors = self.initializers.iter().zip(heads).map(|(tensor, head)| {
            let bytes = tensor_bytes(tensor, head);
            (key_len(GRAPH_INITIALIZER) + encoded_len_varint(bytes)) as u64 + bytes
        });
        self.graph.encoded_len() as u64 + tensors.sum::<u64>()
    }

    /// The tensors without their values.
    fn heads(&self, external: Option<&str>) -> Vec<TensorProto> {
        let head = |tensor: &Initializer<'_>| TensorProto {
            dims: tensor.shape.iter().map(|size| *size as i64).collect(),
            data_type: Some(if matches!(tensor.data, Data::Ints(_)) { INT64 } else { FLOAT }),
            name: Some(tensor.name.clone()),
            ..Default::default()
        };
        let mut heads: Vec<TensorProto> = self.initializers.iter().map(head).collect();
        if let Some(file) = external {
            for (index, offset, tensor) in self.large() {
                let place = [
                    ("location", file.to_string()),
                    ("offset", offset.to_string()),
                    ("length", tensor.data.bytes().to_string()),
                ];
                heads[index].external_data = place.map(|(key, value)| entry(key, value)).into();
                heads[index].data_location = Some(EXTERNAL);
            }
        }
        heads
    }
}

/// A key and its value.
pub(crate) fn entry(key: &str, value: impl Into<String>) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) }
}

fn is_external(head: &TensorProto) -> bool {
    head.data_location == Some(EXTERNAL)
}

/// Bytes of a tensor's message.
fn tensor_bytes(tensor: &Initializer<'_>, head: &TensorProto) -> u64 {
    let data = tensor.data.bytes() as u64;
    let inside = (key_len(TENSOR_RAW_DATA) + encoded_len_varint(data)) as u64 + data;
    head.encoded_len() as u64 + if is_external(head) { 0 } else { inside }
}

/// What precedes a field of so many bytes.
fn header(field: u32, bytes: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(field, WireType::LengthDelimited, &mut out);
    encode_varint(bytes, &mut out);
    out
}

fn write_data(out: &mut dyn Write, data: &Data<'_>) -> io::Result<()> {
    const PIECE: usize = 1 << 16;
    match data {
        Data::Ints(values) => {
            out.write_all(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
        }
        Data::Floats(values) => values.chunks(PIECE).try_for_each(|piece| write_floats(out, piece)),
        Data::Transposed(values, columns) => {
            let rows = values.len() / (*columns).max(1);
            let mut piece = vec![0.0; COLUMNS * rows];
            for first in (0..*columns).step_by(COLUMNS) {
                let count = COLUMNS.min(columns - first);
                for (row, from) in values.chunks_exact(*columns).enumerate() {
                    for (i, value) in from[first..first + count].iter().enumerate() {
                        piece[i * rows + row] = *value;
                    }
                }
                write_floats(out, &piece[..count * rows])?;
            }
            Ok(())
        }
    }
}

fn write_floats(out: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    out.write_all(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn contents() -> Contents<'static> {
        const MATRIX: [f32; 800] = {
            let mut values = [0.0; 800];
            let mut i = 0;
            while i < 800 {
                values[i] = i as f32;
                i += 1;
            }
            values
        };
        static VALUES: [f32; 800] = MATRIX;
        Contents {
            model: ModelProto { ir_version: Some(8), ..Default::default() },
            graph: GraphProto { name: Some("g".into()), ..Default::default() },
            initializers: vec![
                Initializer { name: "t".into(), shape: vec![40, 20], data: Data::Transposed(&VALUES, 40) },
                Initializer { name: "i".into(), shape: vec![2], data: Data::Ints(vec![-1, 3]) },
                Initializer {
                    name: "f".into(),
                    shape: vec![300],
                    data: Data::Floats(Cow::Borrowed(&VALUES[..300])),
                },
            ],
        }
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn tensors_inside_and_beside_are_the_same() {
        let contents = contents();
        let mut inside = Vec::new();
        contents.write(&mut inside, None).expect("memory takes all");
        assert_eq!(inside.len() as u64, contents.file_bytes(None));
        let graph = ModelProto::decode(&*inside).expect("a message").graph.expect("a graph");
        let [matrix, numbers, vector] = &graph.initializer[..] else { panic!("three tensors") };
        assert_eq!((&matrix.dims[..], matrix.data_type), (&[40, 20][..], Some(FLOAT)));
        let values = floats(matrix.raw_data.as_deref().expect("inside"));
        assert!((0..40).all(|i| (0..20).all(|j| values[i * 20 + j] == (j * 40 + i) as f32)));
        assert_eq!((numbers.data_type, numbers.raw_data.as_ref().map(Vec::len)), (Some(INT64), Some(16)));

        let (mut outside, mut data) = (Vec::new(), Vec::new());
        contents.write(&mut outside, Some("m.data")).expect("memory takes all");
        contents.write_external(&mut data).expect("memory takes all");
        assert_eq!(outside.len() as u64, contents.file_bytes(Some("m.data")));
        let graph = ModelProto::decode(&*outside).expect("a message").graph.expect("a graph");
        for (here, there) in [matrix, vector].into_iter().zip([0, 2].map(|i| &graph.initializer[i])) {
            let value = |key: &str| {
                let found = there.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
                found.and_then(|entry| entry.value.clone()).expect(key)
            };
            let [offset, length]: [usize; 2] = ["offset", "length"].map(|key| value(key).parse().expect(key));
            assert_eq!((value("location").as_str(), offset % 4096), ("m.data", 0));
            assert_eq!(here.raw_data.as_deref(), Some(&data[offset..offset + length]));
        }
        assert_eq!(graph.initializer[1], *numbers);
    }
}
