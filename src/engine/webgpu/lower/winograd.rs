//! Convolutions of 3 x 3 by Winograd's F(2 x 2, 3 x 3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
//! CVPR 2016): 16 multiplications for every 2 x 2 results of a channel instead of 36, as sixteen matrix products between
//! transforms that only add. Rounding stays that of f32, since the transforms' factors are 1 and 1/2.

use tera::Context;

use super::super::plan::{Planner, Step};
use super::super::template::{render, spread};
use super::super::tuning::Tuning;
use super::{Conv, Kernel, Product, Work};

/// Fewer channels than this, in or out, have too few multiplications to save.
const LEAST_CHANNELS: usize = 32;
/// Elements that a buffer of transformed values may have: 128 MiB, which every WebGPU device can bind.
const MOST_ELEMENTS: usize = 1 << 25;
/// Results of a tile along each axis.
const TILE: usize = 2;
/// Sums of a tile, and so matrices.
const SUMS: usize = 16;

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// [Cout, Cin, 3, 3] to [16, Cout, Cin].
    Weights,
    /// [N, Cin, H, W] to [16, Cin, columns].
    Input,
    /// [16, Cout, columns] to [N, Cout, H', W'], with the bias and all that follows.
    Output,
}

/// One of the transforms of a convolution.
pub struct Transform {
    stage: Stage,
    /// What it transforms; the bias and residual are in `conv`.
    source: usize,
    conv: Conv,
}

/// The number of tiles across and down, and of columns of the matrices.
fn tiles(conv: &Conv) -> (usize, usize, usize) {
    let (across, down) = (conv.window.output.1.div_ceil(TILE), conv.window.output.0.div_ceil(TILE));
    // A product is fastest on whole vec4s.
    (across, down, (conv.batch * across * down).next_multiple_of(4))
}

/// Whether a convolution can be computed so, and has work to save.
fn suits(conv: &Conv) -> bool {
    let window = conv.window;
    let (_, _, columns) = tiles(conv);
    let channels = conv.channels_in.max(conv.channels_out);
    conv.groups == 1
        && (window.kernel, window.stride, window.dilation) == ((3, 3), (1, 1), (1, 1))
        && conv.channels_in.min(conv.channels_out) >= LEAST_CHANNELS
        && SUMS * channels * columns.max(conv.channels_in) <= MOST_ELEMENTS
}

/// Replaces the steps of convolutions that suit by those of their transforms and products.
pub fn expand(planner: &mut Planner) {
    for step in std::mem::take(&mut planner.steps) {
        match step.work {
            Work::Conv(conv) if planner.tuning.winograd && suits(&conv) => {
                let Step { node, operator, output, .. } = step;
                let mut add = |stage: &str, shape: &[usize], work: Work| {
                    let name = format!("{} {stage}", planner.buffers.names[output]);
                    let buffer = planner.buffers.add(&name, shape);
                    let operator = format!("{operator}, {stage}");
                    planner.steps.push(Step { node: node.clone(), operator, output: buffer, work });
                    buffer
                };
                let (_, _, columns) = tiles(&conv);
                let (c_in, c_out) = (conv.channels_in, conv.channels_out);
                let transform = |stage, source| Transform { stage, source, conv: conv.without_tail() };
                let weights = Work::Transform(transform(Stage::Weights, conv.weights));
                let weights = add("weights", &[SUMS, c_out, c_in], weights);
                let input = add("tiles", &[SUMS, c_in, columns], Work::Transform(transform(Stage::Input, conv.x)));
                let product = Product::stacked(weights, input, c_out, c_in, columns, SUMS);
                let source = add("products", &[SUMS, c_out, columns], Work::Product(product));
                let work = Work::Transform(Transform { stage: Stage::Output, source, conv });
                planner.steps.push(Step { node, operator, output, work });
            }
            work => planner.steps.push(Step { work, ..step }),
        }
    }
}

/// The kernels that compute a convolution, each with the numbers of elements that its buffers hold: to be timed.
pub fn kernels(conv: &Conv, tuning: Tuning) -> Result<Vec<(Kernel, Vec<usize>)>, String> {
    let (_, _, columns) = tiles(conv);
    let (c_in, c_out, window) = (conv.channels_in, conv.channels_out, conv.window);
    let [weights, input, output] = [Stage::Weights, Stage::Input, Stage::Output]
        .map(|stage| Transform { stage, source: 0, conv: conv.without_tail() }.kernel(false));
    let product = Product::stacked(0, 1, c_out, c_in, columns, SUMS).kernel(tuning, [false; 2]);
    let (transformed, tiled, products) = (SUMS * c_out * c_in, SUMS * c_in * columns, SUMS * c_out * columns);
    let image = |channels: usize, (height, width): (usize, usize)| conv.batch * channels * height * width;
    Ok(vec![
        (weights?, vec![9 * c_out * c_in, transformed]),
        (input?, vec![image(c_in, window.input), tiled]),
        (product?, vec![transformed, tiled, products]),
        (output?, vec![products, image(c_out, window.output)]),
    ])
}

impl Transform {
    /// Whether what it reads may be stored in f16.
    pub fn weights(&self) -> Option<usize> {
        (self.stage == Stage::Weights).then_some(self.source)
    }

    pub fn reads(&self) -> Vec<usize> {
        let (bias, residual) = match self.stage {
            Stage::Output => (self.conv.bias, self.conv.tail.residual),
            Stage::Weights | Stage::Input => (None, None),
        };
        [Some(self.source), bias, residual].into_iter().flatten().collect()
    }

    /// Its kernel; `half`: whether what it reads is stored in f16.
    pub fn kernel(&self, half: bool) -> Result<Kernel, String> {
        let conv = &self.conv;
        let (across, down, columns) = tiles(conv);
        let (stage, threads) = match self.stage {
            Stage::Weights => ("weights", conv.channels_out * conv.channels_in),
            Stage::Input => ("input", conv.channels_in * columns),
            Stage::Output => ("output", conv.channels_out * columns),
        };
        let last = self.stage == Stage::Output;
        let workgroups = spread(threads, 64);
        let reads = self.reads().len();
        let numbers = [
            ("threads", threads),
            ("groups_x", workgroups.0 as usize),
            ("cin", conv.channels_in),
            ("cout", conv.channels_out),
            ("across", across),
            ("down", down),
            ("tiles", conv.batch * across * down),
            ("columns", columns),
            ("output_binding", reads),
            ("residual_binding", reads - 1),
        ];
        let mut context = Context::new();
        for (name, number) in numbers.into_iter().chain(conv.window.numbers()) {
            context.insert(name, &number);
        }
        context.insert("stage", stage);
        context.insert("half", &half);
        context.insert("bias", &(last && conv.bias.is_some()));
        context.insert("residual", &(last && conv.tail.residual.is_some()));
        context.insert("helpers", &conv.tail.helpers());
        context.insert("activation", &conv.tail.body());
        Ok(Kernel { shader: render("winograd", &context)?, workgroups })
    }
}
