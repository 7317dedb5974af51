//! What planning knows of a graph's values.

/// Constants up to this many elements are kept on the host as well, where shaders can contain them.
pub const SMALL: usize = 256;

/// A constant known on the host.
#[derive(Clone, Debug)]
pub enum Constant {
    Ints(Vec<i64>),
    Floats(Vec<f32>),
}

impl Constant {
    /// Rounded to f32, as Cast does.
    pub fn floats(&self) -> Vec<f32> {
        match self {
            Constant::Ints(values) => values.iter().map(|&value| value as f32).collect(),
            Constant::Floats(values) => values.clone(),
        }
    }

    /// As f32 buffers hold it.
    ///
    /// # Errors
    /// An integer that f32 cannot hold exactly, or what is no number, which shaders cannot say.
    pub fn exact_floats(&self) -> Result<Vec<f32>, String> {
        let floats = self.floats();
        if let Constant::Ints(values) = self
            && let Some((value, _)) =
                values.iter().zip(&floats).find(|(value, float)| i128::from(**value) != **float as i128)
        {
            return Err(format!("f32 cannot hold the integer {value}"));
        }
        if floats.iter().any(|value| value.is_nan()) {
            return Err("a constant is not a number".to_string());
        }
        Ok(floats)
    }

    pub fn ints(&self) -> Vec<i64> {
        match self {
            Constant::Ints(values) => values.clone(),
            Constant::Floats(values) => values.iter().map(|&value| value as i64).collect(),
        }
    }
}

/// What is known of an ONNX value: its shape, the buffer that holds it, its content.
#[derive(Clone, Debug, Default)]
pub struct Value {
    pub shape: Vec<usize>,
    pub buffer: Option<usize>,
    pub constant: Option<Constant>,
}

impl Value {
    /// A tensor without elements. It may be passed on or not read at all; no kernel reads or writes it.
    pub fn empty(shape: &[usize]) -> Value {
        Value { shape: shape.to_vec(), buffer: None, constant: Some(Constant::Floats(Vec::new())) }
    }

    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The only element of a constant, if shaders can say it: an infinity stays in a buffer.
    pub fn scalar(&self) -> Option<f32> {
        match &self.constant {
            Some(constant) if self.count() == 1 => {
                constant.exact_floats().ok()?.first().copied().filter(|value| value.is_finite())
            }
            _ => None,
        }
    }
}

/// A buffer read as a tensor of `shape`.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub buffer: usize,
    pub shape: Vec<usize>,
}

impl View {
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}
