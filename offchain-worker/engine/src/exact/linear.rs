//! Products with weights as they are stored.

use quipu_kernels::{Finish, Format, Kernels, PackedMatrix, QuantizedRows, ShapeError};

use crate::error::EngineError;
use crate::weights::dtype;
use crate::weights::model::Model;
use crate::weights::source::StoredTensor;

/// One or more matrices that are multiplied with the same input: `y = x·Wᵀ + b` of each.
#[derive(Debug)]
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    parts: Vec<Part>,
    places: Vec<Place>,
}

/// Neighbouring matrices of one type, packed as one.
#[derive(Debug)]
struct Part {
    matrix: PackedMatrix,
    bias: Option<Vec<f32>>,
}

/// Where a matrix is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Outputs of the parts before.
    before: usize,
    /// Outputs of its part.
    width: usize,
    /// Its first output within the part.
    column: usize,
}

/// Where the results of one matrix are in what [`Linear::forward`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// First number of its part.
    pub part: usize,
    /// From a row of the part to the next.
    pub stride: usize,
    /// First of its numbers in a row of the part.
    pub column: usize,
}

impl View {
    /// The first `width` numbers of row `row`.
    pub fn row(self, rows: &[f32], row: usize, width: usize) -> &[f32] {
        &rows[self.part + row * self.stride + self.column..][..width]
    }
}

/// Rows of one type, one after the other.
struct Stack {
    format: Format,
    bytes: Vec<u8>,
    bias: Option<Vec<f32>>,
    outputs: usize,
}

impl Linear {
    /// Reads `{name}.weight`, `[outputs, inputs]`, of each name and number of outputs, and
    /// `{name}.bias` if asked to.
    pub fn load(
        model: &Model,
        names: &[(String, usize)],
        inputs: usize,
        bias: bool,
    ) -> Result<Self, EngineError> {
        let mut tensors = Vec::new();
        for (name, outputs) in names {
            let weight = model.tensor(&format!("{name}.weight"), &[*outputs, inputs])?;
            let bias = match bias {
                true => Some(model.tensor(&format!("{name}.bias"), &[*outputs])?.load()?),
                false => None,
            };
            tensors.push((weight, bias));
        }
        Self::new(tensors, inputs)
    }

    /// A single matrix.
    pub fn single(weight: StoredTensor, inputs: usize) -> Result<Self, EngineError> {
        Self::new(vec![(weight, None)], inputs)
    }

    fn new(
        tensors: Vec<(StoredTensor, Option<Vec<f32>>)>,
        inputs: usize,
    ) -> Result<Self, EngineError> {
        let mut stacks: Vec<Stack> = Vec::new();
        // Stack, first output in it.
        let mut places = Vec::new();
        for (tensor, bias) in tensors {
            let outputs = tensor.info.shape.first().copied().unwrap_or(0) as usize;
            let (format, bytes) = stored(&tensor)?;
            let last = stacks.len().wrapping_sub(1);
            match stacks.get_mut(last) {
                Some(stack) if stack.format == format => {
                    places.push((last, stack.outputs));
                    stack.bytes.extend(bytes);
                    stack.outputs += outputs;
                    if let (Some(all), Some(bias)) = (&mut stack.bias, bias) {
                        all.extend(bias);
                    }
                }
                _ => {
                    places.push((stacks.len(), 0));
                    stacks.push(Stack {
                        format,
                        bytes,
                        bias,
                        outputs,
                    });
                }
            }
        }
        let before = |stack: usize| stacks[..stack].iter().map(|stack| stack.outputs).sum();
        let place = |(stack, column): (usize, usize)| Place {
            before: before(stack),
            width: stacks[stack].outputs,
            column,
        };
        let places = places.into_iter().map(place).collect();
        let outputs = before(stacks.len());
        let mut parts = Vec::new();
        for stack in stacks {
            let matrix = PackedMatrix::pack(stack.format, stack.outputs, inputs, &stack.bytes)
                .map_err(|error| EngineError::Backend(error.to_string()))?;
            parts.push(Part {
                matrix,
                bias: stack.bias,
            });
        }
        Ok(Self {
            inputs,
            outputs,
            parts,
            places,
        })
    }

    /// Bytes of weights and biases.
    pub fn bytes(&self) -> usize {
        let bias = |part: &Part| part.bias.as_ref().map_or(0, |bias| size_of_val(&bias[..]));
        let bytes = |part: &Part| part.matrix.bytes() + bias(part);
        self.parts.iter().map(bytes).sum()
    }

    /// All weights as f32, `[outputs, inputs]`.
    pub fn dense(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.outputs * self.inputs];
        let mut rows = all.chunks_exact_mut(self.inputs);
        for part in &self.parts {
            for (row, out) in (0..part.matrix.rows()).zip(&mut rows) {
                // It has that row, and rows of that length.
                let _ = part.matrix.row(row, out);
            }
        }
        all
    }

    /// Where the results of the `index`-th matrix are after a product of `rows` rows.
    pub fn view(&self, index: usize, rows: usize) -> View {
        let place = self.places[index];
        View {
            part: rows * place.before,
            stride: place.width,
            column: place.column,
        }
    }

    /// Products with `input`, `[rows, inputs]`: `rows × outputs` numbers, where [`Self::view`] says.
    pub fn forward(
        &self,
        kernels: &Kernels,
        input: &[f32],
        quantized: &mut QuantizedRows,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.multiply(kernels, input, quantized, out, false)
    }

    /// As [`Self::forward`], but adds the products to what `out` holds. There are no biases then.
    pub fn forward_add(
        &self,
        kernels: &Kernels,
        input: &[f32],
        quantized: &mut QuantizedRows,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.multiply(kernels, input, quantized, out, true)
    }

    fn multiply(
        &self,
        kernels: &Kernels,
        input: &[f32],
        quantized: &mut QuantizedRows,
        out: &mut [f32],
        add: bool,
    ) -> Result<(), ShapeError> {
        let rows = input.len() / self.inputs;
        let is_quantized = |part: &Part| part.matrix.format().is_quantized();
        if self.parts.iter().any(is_quantized) {
            kernels.quantize(input, self.inputs, quantized)?;
        }
        if out.len() != rows * self.outputs {
            return Err(ShapeError::Output {
                expected: rows * self.outputs,
                found: out.len(),
            });
        }
        let mut rest = out;
        for part in &self.parts {
            let (out, after) = rest.split_at_mut(rows * part.matrix.rows());
            rest = after;
            let finish = match &part.bias {
                _ if add => Finish::Add,
                Some(bias) => Finish::Bias(bias),
                None => Finish::Store,
            };
            if is_quantized(part) {
                kernels.matmul_with(&part.matrix, &*quantized, finish, out)?;
            } else {
                kernels.matmul_with(&part.matrix, input, finish, out)?;
            }
        }
        Ok(())
    }
}

/// A matrix in a type that there is a kernel for: as stored, or else as f32.
fn stored(tensor: &StoredTensor) -> Result<(Format, Vec<u8>), EngineError> {
    let (format, bytes) = tensor.load_stored()?;
    let format = match format {
        dtype::Format::F32 => Format::F32,
        dtype::Format::F16 => Format::F16,
        dtype::Format::Bf16 => Format::Bf16,
        dtype::Format::Q4_0 => Format::Q4_0,
        dtype::Format::Q4_1 => Format::Q4_1,
        dtype::Format::Q8_0 => Format::Q8_0,
        dtype::Format::Q4K => Format::Q4K,
        dtype::Format::Q6K => Format::Q6K,
        dtype::Format::Q5_0 | dtype::Format::Q5_1 | dtype::Format::Q5K => {
            let values = tensor.load()?;
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            return Ok((Format::F32, bytes.collect()));
        }
    };
    Ok((format, bytes))
}
