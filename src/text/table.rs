//! Token and position embeddings, looked up here rather than in the text graph.
//!
//! The token table is the largest part of a small text encoder and only some rows of it are ever read: kept outside of
//! the graph it stays packed (int8 or f16), and neither engine needs a Gather over it.

use half::f16;

use super::error::TextError;
use super::tokenizer::TokenBatch;
use crate::bundle::{Attention, Pooling, TableEncoding};

/// Added to an attention score that must not count: after softmax it is 0 in f32 and it still fits f16.
pub const MASKED: f32 = -1e4;

/// A packed table of row vectors.
pub struct Table {
    file: String,
    bytes: Vec<u8>,
    encoding: TableEncoding,
    rows: usize,
    width: usize,
}

impl Table {
    /// Wraps the bytes of a table file; `file` is its name in messages.
    ///
    /// # Errors
    /// [`TextError::Table`] if the size is not what `rows`, `width` and `encoding` ask for.
    pub fn new(
        file: &str,
        bytes: Vec<u8>,
        encoding: TableEncoding,
        rows: usize,
        width: usize,
    ) -> Result<Self, TextError> {
        let cells = rows.checked_mul(width).filter(|&cells| cells > 0);
        let expected = match encoding {
            TableEncoding::Int8 => cells.and_then(|cells| cells.checked_add(rows.checked_mul(4)?)),
            TableEncoding::F16 => cells.and_then(|cells| cells.checked_mul(2)),
        };
        if expected != Some(bytes.len()) {
            let reason = format!(
                "{} bytes do not make {rows} rows of {width} numbers as {encoding:?}{}",
                bytes.len(),
                expected.map(|n| format!(" ({n} bytes)")).unwrap_or_default()
            );
            return Err(TextError::Table { file: file.to_owned(), reason });
        }
        Ok(Self { file: file.to_owned(), bytes, encoding, rows, width })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Adds a row to `target` (`width` numbers).
    ///
    /// # Errors
    /// [`TextError::Table`] if there is no such row.
    pub fn add_row(&self, row: usize, target: &mut [f32]) -> Result<(), TextError> {
        if row >= self.rows {
            let reason = format!("row {row} is asked for, but the table has only {}", self.rows);
            return Err(TextError::Table { file: self.file.clone(), reason });
        }
        let cells = row * self.width..(row + 1) * self.width;
        match self.encoding {
            TableEncoding::Int8 => {
                let at = self.rows * self.width + row * 4;
                let mut scale = [0; 4];
                scale.copy_from_slice(&self.bytes[at..at + 4]);
                let scale = f32::from_le_bytes(scale);
                for (sum, &byte) in target.iter_mut().zip(&self.bytes[cells]) {
                    *sum += f32::from(byte as i8) * scale;
                }
            }
            TableEncoding::F16 => {
                let (halves, _) = self.bytes[2 * cells.start..2 * cells.end].as_chunks();
                for (sum, &bytes) in target.iter_mut().zip(halves) {
                    *sum += f16::from_le_bytes(bytes).to_f32();
                }
            }
        }
        Ok(())
    }
}

/// The three inputs of the text graph, row-major, for `batch` texts of `steps` tokens and `width` numbers a token.
#[derive(Debug, Clone, PartialEq)]
pub struct TextInputs {
    /// Texts.
    pub batch: usize,
    /// Tokens per text, padding included.
    pub steps: usize,
    /// Numbers per token.
    pub width: usize,
    /// `tokens`, `[batch, steps, width]`: token embedding plus position embedding.
    pub tokens: Vec<f32>,
    /// `attention_bias`, `[batch, 1, steps, steps]`: 0 where query (third axis) may look at key (fourth), else −10⁴.
    pub attention_bias: Vec<f32>,
    /// `pooling`, `[batch, steps]`: weights that sum to 1 per text.
    pub pooling: Vec<f32>,
}

/// Both tables of a text encoder and its reading rules.
pub struct TextTables {
    tokens: Table,
    positions: Table,
    attention: Attention,
    pooling: Pooling,
}

impl TextTables {
    /// Joins the tables.
    ///
    /// # Errors
    /// [`TextError::Table`] if their widths differ.
    pub fn new(tokens: Table, positions: Table, attention: Attention, pooling: Pooling) -> Result<Self, TextError> {
        if tokens.width != positions.width {
            let reason = format!("rows of {} numbers, but {} has {}", positions.width, tokens.file, tokens.width);
            return Err(TextError::Table { file: positions.file, reason });
        }
        Ok(Self { tokens, positions, attention, pooling })
    }

    /// Looks up a batch of tokens.
    ///
    /// # Errors
    /// [`TextError::Table`] if a token or a position has no row: then the tokenizer and the tables do not belong
    /// together.
    pub fn inputs(&self, batch: &TokenBatch) -> Result<TextInputs, TextError> {
        let (texts, steps, width) = (batch.lengths.len(), batch.steps, self.tokens.width);
        let mut tokens = vec![0.0; texts * steps * width];
        let mut attention_bias = vec![0.0; texts * steps * steps];
        let mut pooling = vec![0.0; texts * steps];
        for (text, &length) in batch.lengths.iter().enumerate() {
            for (step, &id) in batch.row(text).iter().enumerate() {
                let at = (text * steps + step) * width;
                let cell = &mut tokens[at..at + width];
                self.tokens.add_row(id as usize, cell)?;
                self.positions.add_row(step, cell)?;
            }
            for query in 0..steps {
                let visible = match self.attention {
                    Attention::Bidirectional => length,
                    Attention::Causal => query + 1,
                };
                let at = (text * steps + query) * steps;
                attention_bias[at + visible..at + steps].fill(MASKED);
            }
            let weights = &mut pooling[text * steps..(text + 1) * steps];
            match self.pooling {
                Pooling::Mean => weights[..length].fill(1.0 / length as f32),
                Pooling::Eot => weights[length - 1] = 1.0,
            }
        }
        Ok(TextInputs { batch: texts, steps, width, tokens, attention_bias, pooling })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
    }

    fn int8_table() -> Table {
        let mut bytes: Vec<u8> = [1i8, -2, 127, -128, 0, 3].iter().map(|&v| v as u8).collect();
        bytes.extend([0.5f32, 2.0, 1.0].iter().flat_map(|s| s.to_le_bytes()));
        Table::new("tokens.bin", bytes, TableEncoding::Int8, 3, 2).unwrap()
    }

    fn position_table() -> Table {
        Table::new("positions.bin", halves(&[0.25, 0.5, 1.0, 2.0]), TableEncoding::F16, 2, 2).unwrap()
    }

    #[test]
    fn rows_are_unpacked_and_added() {
        let mut row = [10.0, 20.0];
        int8_table().add_row(1, &mut row).unwrap();
        assert_eq!(row, [264.0, -236.0]);
        position_table().add_row(1, &mut row).unwrap();
        assert_eq!(row, [265.0, -234.0]);
        let error = position_table().add_row(2, &mut row).unwrap_err().to_string();
        assert!(error.contains("positions.bin") && error.contains("row 2"), "{error}");
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for (bytes, encoding, rows, width) in [
            (vec![0; 5], TableEncoding::F16, 3, 1),
            (vec![0; 3], TableEncoding::Int8, 3, 1),
            (vec![], TableEncoding::F16, 0, 4),
            (vec![0; 8], TableEncoding::Int8, usize::MAX, 2),
        ] {
            assert!(matches!(Table::new("t", bytes, encoding, rows, width), Err(TextError::Table { .. })));
        }
        let narrow = Table::new("positions.bin", halves(&[1.0]), TableEncoding::F16, 1, 1).unwrap();
        assert!(TextTables::new(int8_table(), narrow, Attention::Causal, Pooling::Eot).is_err());
    }

    #[test]
    fn inputs_of_a_bidirectional_encoder() {
        let tables = TextTables::new(int8_table(), position_table(), Attention::Bidirectional, Pooling::Mean).unwrap();
        let batch = TokenBatch { ids: vec![0, 2, 1, 0], lengths: vec![2, 1], steps: 2 };
        let inputs = tables.inputs(&batch).unwrap();
        assert_eq!((inputs.batch, inputs.steps, inputs.width), (2, 2, 2));
        assert_eq!(inputs.tokens, [0.75, -0.5, 1.0, 5.0, 254.25, -255.5, 1.5, 1.0]);
        assert_eq!(inputs.attention_bias, [0.0, 0.0, 0.0, 0.0, 0.0, MASKED, 0.0, MASKED]);
        assert_eq!(inputs.pooling, [0.5, 0.5, 1.0, 0.0]);
    }

    #[test]
    fn inputs_of_a_causal_encoder() {
        let tables = TextTables::new(int8_table(), position_table(), Attention::Causal, Pooling::Eot).unwrap();
        let batch = TokenBatch { ids: vec![0, 2, 1, 0], lengths: vec![2, 1], steps: 2 };
        let inputs = tables.inputs(&batch).unwrap();
        assert_eq!(inputs.attention_bias, [0.0, MASKED, 0.0, 0.0, 0.0, MASKED, 0.0, 0.0]);
        assert_eq!(inputs.pooling, [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let tables = TextTables::new(int8_table(), position_table(), Attention::Causal, Pooling::Eot).unwrap();
        let unknown = TokenBatch { ids: vec![7], lengths: vec![1], steps: 1 };
        assert!(tables.inputs(&unknown).unwrap_err().to_string().contains("tokens.bin"));
        let long = TokenBatch { ids: vec![0; 3], lengths: vec![3], steps: 3 };
        assert!(tables.inputs(&long).unwrap_err().to_string().contains("positions.bin"));
    }
}
