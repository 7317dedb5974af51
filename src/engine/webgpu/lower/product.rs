//! Matrix products: MatMul, Gemm, and the 1x1 convolution.

use tera::Context;
use wonnx::onnx::NodeProto;

use super::super::attributes::{float, int};
use super::super::plan::Planner;
use super::super::template::{literal, render, spread};
use super::super::tuning::{Block, Shared, Tuning};
use super::super::values::{Value, View};
use super::conv::{Conv, Window};
use super::reduce::place;
use super::{Inputs, Kernel, Tail, Work, broadcast, strides};

/// Rows of the result below one another before the next columns are begun: a square of so many a side is about what a large
/// card computes at a time. It reads the least there is to read for as many results.
const PANEL: usize = 2048;

/// How the added bias lies along the result.
#[derive(Clone, Copy, PartialEq)]
pub enum Bias {
    Scalar,
    Row,
    Column,
    Full,
}

/// `act(alpha * a x b + beta * bias + residual)`, stacked.
pub struct Product {
    pub a: usize,
    pub b: usize,
    pub bias: Option<(usize, Bias)>,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub stacks: usize,
    /// Strides of a by row and by column, and of b.
    a_steps: (usize, usize),
    b_steps: (usize, usize),
    /// The matrices' places as WGSL expressions of `stack`, each divisible by the second number.
    a_offset: (String, usize),
    b_offset: (String, usize),
    alpha: f32,
    beta: f32,
    /// b is an image that this window slides over; needs a shared block.
    gather: Option<Window>,
    pub tail: Tail,
}

impl Product {
    /// A 1x1 convolution: the weights times the planes of each image.
    pub fn pointwise(
        weights: usize,
        x: usize,
        bias: Option<usize>,
        m: usize,
        k: usize,
        n: usize,
        batch: usize,
    ) -> Product {
        Product {
            a: weights,
            b: x,
            bias: bias.map(|bias| (bias, Bias::Row)),
            m,
            k,
            n,
            stacks: batch,
            a_steps: (k, 1),
            b_steps: (n, 1),
            a_offset: ("0u".to_string(), 4),
            b_offset: (format!("stack * {}u", k * n), if (k * n).is_multiple_of(4) { 4 } else { 1 }),
            alpha: 1.0,
            beta: 1.0,
            gather: None,
            tail: Tail::default(),
        }
    }

    /// Products of matrices that lie one after the other in both buffers.
    pub fn stacked(a: usize, b: usize, m: usize, k: usize, n: usize, stacks: usize) -> Product {
        let a_offset = (format!("stack * {}u", m * k), if (m * k).is_multiple_of(4) { 4 } else { 1 });
        Product { a_offset, ..Product::pointwise(a, b, None, m, k, n, stacks) }
    }

    /// A convolution in one group as a product: the weights times all that each pixel of the result sees. Gives
    /// `tail` back where sizes do not allow it.
    pub fn convolution(conv: &Conv, tail: Tail) -> Result<Product, Tail> {
        let window = conv.window;
        let (k, n) = (conv.channels_in * window.kernel.0 * window.kernel.1, window.output.0 * window.output.1);
        if conv.groups != 1 || !k.is_multiple_of(4) || !n.is_multiple_of(4) {
            return Err(tail);
        }
        let (x, batch) = (conv.x, conv.batch);
        let mut product = Product::pointwise(conv.weights, x, conv.bias, conv.channels_out, k, n, batch);
        product.b_offset.0 = format!("stack * {}u", conv.channels_in * window.input.0 * window.input.1);
        product.gather = Some(window);
        product.tail = tail;
        Ok(product)
    }

    pub fn reads(&self) -> Vec<usize> {
        let bias = self.bias.map(|(buffer, _)| buffer);
        [Some(self.a), Some(self.b), bias, self.tail.residual].into_iter().flatten().collect()
    }

    /// Its kernel; `half`: which of a and b are stored in f16.
    pub fn kernel(self, tuning: Tuning, half: [bool; 2]) -> Result<Kernel, String> {
        let block = tuning.block_for(self.m, self.n, self.stacks);
        // What a convolution gathers is read again: it has to be shared.
        let own = self.gather.is_some() && block.shared.is_none();
        self.with(if own { Block::MANY[0] } else { block }, half)
    }

    /// The kernel that computes it by this block, as far as the product is large enough for it.
    pub fn with(self, block: Block, half: [bool; 2]) -> Result<Kernel, String> {
        let Product { m, k, n, stacks, .. } = self;
        let n4 = n.div_ceil(4);
        let (tm, tn4) = (block.rows.min(m), block.columns.min(n4));
        let (columns, rows) = (n4.div_ceil(tn4), m.div_ceil(tm));
        // Few columns (or rows): the workgroup turns that way, so that no lane idles.
        let a_vec =
            self.a_steps.1 == 1 && k.is_multiple_of(4) && self.a_steps.0.is_multiple_of(4) && self.a_offset.1 == 4;
        let c_vec = self.b_steps.1 == 1 && n.is_multiple_of(4) && self.b_offset.1 == 4 || self.gather.is_some();
        let b_vec = c_vec && self.gather.is_none();
        let wide = |size: (usize, usize)| columns >= size.0 && rows >= size.1;
        let shared = block.shared.filter(|shared| a_vec && c_vec && (wide(shared.size) || self.gather.is_some()));
        let alone = columns.next_power_of_two().min(8);
        let (size_x, size_y) = shared.map_or((alone, rows.next_power_of_two().min(64 / alone)), |shared| shared.size);
        let (depth, slices) = shared.map_or((4, 1), |shared| (shared.depth, shared.slices));
        let (groups_n, groups_m) = (columns.div_ceil(size_x), rows.div_ceil(size_y));
        let workgroups = spread(groups_n * groups_m * stacks, 1);
        let bias = match self.bias {
            None => "none",
            Some((_, Bias::Scalar)) => "scalar",
            Some((_, Bias::Row)) => "row",
            Some((_, Bias::Column)) => "column",
            Some((_, Bias::Full)) => "full",
        };
        let reads = self.reads().len();
        // Vec4s that a workgroup shares, and how many of them each thread brings.
        let threads = size_x * size_y * slices;
        let (a_count, b_count) = (size_y * tm * depth / 4, depth * size_x * tn4);
        let mut context = Context::new();
        let numbers = [
            ("threads", threads),
            ("a_count", a_count),
            ("b_count", b_count),
            ("a_loads", a_count.div_ceil(threads)),
            ("b_loads", b_count.div_ceil(threads)),
            ("sum_count", (slices - 1) * size_x * size_y * tn4),
            ("part", depth / 4 / slices),
            ("m", m),
            ("k", k),
            ("n", n),
            ("n4", n4),
            ("stacks", stacks),
            ("tm", tm),
            ("tn4", tn4),
            ("size_x", size_x),
            ("size_y", size_y),
            ("groups_n", groups_n),
            ("groups_m", groups_m),
            ("groups_x", workgroups.0 as usize),
            ("k_step", if a_vec { 4 } else { 1 }),
            ("k_tile", depth),
            ("k4", depth / 4),
            ("a_wide", shared.map_or(0, Shared::a_wide)),
            ("panel", (PANEL / (tm * size_y)).max(1)),
            ("slices", slices),
            ("step_i", if shared.is_some() { size_y } else { 1 }),
            ("step_j", if shared.is_some() { size_x } else { 1 }),
            ("a_row", self.a_steps.0),
            ("a_col", self.a_steps.1),
            ("b_row", self.b_steps.0),
            ("b_col", self.b_steps.1),
            ("output_binding", reads),
            ("residual_binding", reads - 1),
        ];
        for (name, number) in numbers {
            context.insert(name, &number);
        }
        let (group_rows, group_columns) = if shared.is_some() { (tm * size_y, tn4 * size_x) } else { (tm, tn4) };
        context.insert("shared", &shared.is_some());
        context.insert("k_full", &k.is_multiple_of(depth));
        context.insert("a_even", &a_count.is_multiple_of(threads));
        context.insert("b_even", &b_count.is_multiple_of(threads));
        context.insert("m_full", &m.is_multiple_of(group_rows));
        context.insert("n_full", &n4.is_multiple_of(group_columns));
        context.insert("a_half", &half[0]);
        context.insert("b_half", &half[1]);
        context.insert("a_vec", &a_vec);
        context.insert("b_vec", &b_vec);
        context.insert("c_vec", &c_vec);
        // The bindings of a convolution start with its image.
        context.insert("a_binding", &usize::from(self.gather.is_some()));
        context.insert("gather", &self.gather.is_some());
        for (name, number) in self.gather.iter().flat_map(Window::numbers) {
            context.insert(name, &number);
        }
        context.insert("a_offset", &self.a_offset.0);
        context.insert("b_offset", &self.b_offset.0);
        context.insert("bias", bias);
        context.insert("residual", &self.tail.residual.is_some());
        context.insert("alpha", &if self.alpha == 1.0 { String::new() } else { format!("{} * ", literal(self.alpha)) });
        context.insert("beta", &if self.beta == 1.0 { String::new() } else { format!("{} * ", literal(self.beta)) });
        context.insert("helpers", &self.tail.helpers());
        context.insert("activation", &self.tail.body());
        Ok(Kernel { shader: render("gemm", &context)?, workgroups })
    }
}

pub fn matmul(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let (a, b) = (planner.view(inputs.need(0)?)?, planner.view(inputs.need(1)?)?);
    let mismatch = || format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape);
    // A vector is a matrix of one row (left) or one column (right), and that side is dropped from the result.
    let (mut left, mut right) = (a.shape.clone(), b.shape.clone());
    let (a_vector, b_vector) = (left.len() == 1, right.len() == 1);
    if left.is_empty() || right.is_empty() {
        return Err(mismatch());
    }
    if a_vector {
        left.insert(0, 1);
    }
    if b_vector {
        right.push(1);
    }
    let (m, k) = (left[left.len() - 2], left[left.len() - 1]);
    let (k_too, n) = (right[right.len() - 2], right[right.len() - 1]);
    if k != k_too {
        return Err(mismatch());
    }
    let (a_stack, b_stack) = (&left[..left.len() - 2], &right[..right.len() - 2]);
    let stack = broadcast(&[a_stack, b_stack])?;
    let mut shape = stack.clone();
    if !a_vector {
        shape.push(m);
    }
    if !b_vector {
        shape.push(n);
    }
    let mut product = Product::pointwise(a.buffer, b.buffer, None, m, k, n, stack.iter().product());
    if b_stack.iter().product::<usize>() == 1 && a_stack.len() >= b_stack.len() {
        // One matrix on the right: the rows of all stacks are rows of one product.
        product.m *= product.stacks;
        product.stacks = 1;
        product.b_offset = ("0u".to_string(), 4);
    } else {
        product.a_offset = offset(a_stack, &stack, m * k);
        product.b_offset = offset(b_stack, &stack, k * n);
    }
    let output = node.get_output().first().cloned().unwrap_or_default();
    Ok(planner.step(node, &output, &shape, Work::Product(product)))
}

/// Where the matrix of a stack lies, and what divides that.
fn offset(own: &[usize], stack: &[usize], size: usize) -> (String, usize) {
    let walk = strides(own);
    let lead = stack.len() - own.len();
    let mut axes: Vec<(usize, usize)> = Vec::new();
    for (at, &side) in stack.iter().enumerate() {
        let stride = if at < lead || own[at - lead] == 1 { 0 } else { walk[at - lead] * size };
        // Axes that are walked as one need no division.
        match axes.last_mut() {
            Some(last) if last.1 == stride * side => *last = (last.0 * side, stride),
            _ => axes.push((side, stride)),
        }
    }
    (place("stack", &axes), if size.is_multiple_of(4) { 4 } else { 1 })
}

pub fn gemm(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let (a, b) = (planner.view(inputs.need(0)?)?, planner.view(inputs.need(1)?)?);
    let (&[a0, a1], &[b0, b1]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return Err(format!("shapes {:?} and {:?} are no matrices", a.shape, b.shape));
    };
    let (a_turned, b_turned) = (int(node, "transA", 0) != 0, int(node, "transB", 0) != 0);
    let (m, k) = if a_turned { (a1, a0) } else { (a0, a1) };
    let (k_too, n) = if b_turned { (b1, b0) } else { (b0, b1) };
    if k != k_too {
        return Err(format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape));
    }
    let mut product = Product::pointwise(a.buffer, b.buffer, None, m, k, n, 1);
    product.b_offset = ("0u".to_string(), 4);
    product.alpha = float(node, "alpha", 1.0);
    if a_turned {
        product.a_steps = (1, m);
    }
    if b_turned {
        product.b_steps = (1, k);
    }
    let beta = float(node, "beta", 1.0);
    if let Some(bias) = inputs.get(2).filter(|_| beta != 0.0) {
        let view = planner.view(bias)?;
        product.bias = Some((view.buffer, bias_kind(&view, m, n)?));
        // Only where there is a C: it must not scale a bias that is fused into its place.
        product.beta = beta;
    }
    let output = node.get_output().first().cloned().unwrap_or_default();
    Ok(planner.step(node, &output, &[m, n], Work::Product(product)))
}

fn bias_kind(bias: &View, m: usize, n: usize) -> Result<Bias, String> {
    let (rows, columns) = match bias.shape.as_slice() {
        [] => (1, 1),
        &[columns] => (1, columns),
        &[rows, columns] => (rows, columns),
        other => return Err(format!("its bias has shape {other:?}")),
    };
    match (rows, columns) {
        (1, 1) => Ok(Bias::Scalar),
        (1, columns) if columns == n => Ok(Bias::Column),
        (rows, 1) if rows == m => Ok(Bias::Row),
        (rows, columns) if rows == m && columns == n => Ok(Bias::Full),
        _ => Err(format!("its bias has shape {:?}", bias.shape)),
    }
}
