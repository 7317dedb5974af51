//! Convolution, and the windows that pooling shares with it.

use tera::Context;
use wonnx::onnx::NodeProto;

use super::super::attributes::{int, ints, string};
use super::super::plan::Planner;
use super::super::template::{render, spread};
use super::super::tuning::Tuning;
use super::super::values::Value;
use super::{Inputs, Kernel, Product, Tail, Work};

/// Columns that a kernel may reach over: its loop over them is unrolled.
const WIDEST: usize = 1024;

/// A window that slides over planes, as (y, x).
#[derive(Clone, Copy)]
pub struct Window {
    pub input: (usize, usize),
    pub output: (usize, usize),
    pub kernel: (usize, usize),
    pub stride: (usize, usize),
    pub dilation: (usize, usize),
    /// Padding above and left.
    pub pad: (usize, usize),
    /// Padding below and right.
    pub after: (usize, usize),
}

impl Window {
    /// Reads a node's attributes for an input [N, C, H, W], or [N, C, W] as one row.
    pub fn of(node: &NodeProto, shape: &[usize], kernel: Option<&[usize]>) -> Result<Window, String> {
        let spatial = match shape.len() {
            3 | 4 => &shape[2..],
            _ => return Err(format!("an input of shape {shape:?}; only one or two spatial axes are supported")),
        };
        if spatial.contains(&0) {
            return Err(format!("an input of shape {shape:?} has no elements"));
        }
        let rank = spatial.len();
        let list = |name: &str, default: i64, length: usize| -> Result<Vec<usize>, String> {
            let list = ints(node, name).unwrap_or_else(|| vec![default; length]);
            if list.len() != length {
                return Err(format!("its {name} are {list:?}"));
            }
            let sides = super::super::fold::sides(&list).ok();
            // Sums and products of what is left do not overflow.
            sides.filter(|sides| sides.iter().all(|&side| side < 1 << 24)).ok_or(format!("its {name} are {list:?}"))
        };
        let kernel = match kernel {
            Some(kernel) => kernel.to_vec(),
            None => list("kernel_shape", 0, rank)?,
        };
        let strides = list("strides", 1, rank)?;
        let dilations = list("dilations", 1, rank)?;
        let mut pads = list("pads", 0, 2 * rank)?;
        if [&kernel, &strides, &dilations].iter().any(|list| list.contains(&0) || list.len() != rank) {
            return Err(format!("its kernel is {kernel:?}, its strides {strides:?}, its dilations {dilations:?}"));
        }
        let auto = string(node, "auto_pad", "NOTSET");
        let mut output = Vec::new();
        for at in 0..rank {
            let reach = (kernel[at] - 1) * dilations[at] + 1;
            match auto.as_str() {
                "NOTSET" | "" => {}
                "VALID" => (pads[at], pads[rank + at]) = (0, 0),
                "SAME_UPPER" | "SAME_LOWER" => {
                    let wanted = spatial[at].div_ceil(strides[at]);
                    let total = ((wanted - 1) * strides[at] + reach).saturating_sub(spatial[at]);
                    let (less, more) = (total / 2, total - total / 2);
                    (pads[at], pads[rank + at]) = if auto == "SAME_UPPER" { (less, more) } else { (more, less) };
                }
                other => return Err(format!("auto_pad \"{other}\"")),
            }
            let mut room = (spatial[at] + pads[at] + pads[rank + at])
                .checked_sub(reach)
                .ok_or_else(|| format!("a kernel of {kernel:?} is larger than the padded input {spatial:?}"))?;
            if int(node, "ceil_mode", 0) != 0 {
                room = room.div_ceil(strides[at]) * strides[at];
                // A window may not start in the padding at the end.
                if room >= spatial[at] + pads[at] {
                    room -= strides[at];
                }
            }
            output.push(room / strides[at] + 1);
        }
        let reach = (kernel[rank - 1] - 1) * dilations[rank - 1] + 1;
        if reach > WIDEST {
            return Err(format!("its kernel reaches over {reach} columns; {WIDEST} are supported"));
        }
        let two = |list: &[usize], filler: usize| if rank == 1 { (filler, list[0]) } else { (list[0], list[1]) };
        Ok(Window {
            input: two(spatial, 1),
            output: two(&output, 1),
            kernel: two(&kernel, 1),
            stride: two(&strides, 1),
            dilation: two(&dilations, 1),
            pad: two(&pads, 0),
            after: two(&pads[rank..], 0),
        })
    }

    /// The output's shape for so many channels.
    pub fn shape(&self, input: &[usize], channels: usize) -> Vec<usize> {
        match input.len() {
            3 => vec![input[0], channels, self.output.1],
            _ => vec![input[0], channels, self.output.0, self.output.1],
        }
    }

    /// What templates need to know of it.
    pub fn numbers(&self) -> [(&'static str, usize); 12] {
        [
            ("oh", self.output.0),
            ("ow", self.output.1),
            ("ih", self.input.0),
            ("iw", self.input.1),
            ("kh", self.kernel.0),
            ("kw", self.kernel.1),
            ("stride_y", self.stride.0),
            ("stride_x", self.stride.1),
            ("dilation_y", self.dilation.0),
            ("dilation_x", self.dilation.1),
            ("pad_y", self.pad.0),
            ("pad_x", self.pad.1),
        ]
    }

    fn is_pointwise(&self) -> bool {
        self.kernel == (1, 1) && self.stride == (1, 1) && self.input == self.output
    }
}

pub struct Conv {
    pub x: usize,
    pub weights: usize,
    pub bias: Option<usize>,
    pub batch: usize,
    pub channels_in: usize,
    pub channels_out: usize,
    pub groups: usize,
    pub window: Window,
    pub tail: Tail,
}

pub fn lower(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let (x, w) = (inputs.need(0)?, inputs.need(1)?);
    if w.shape.len() != x.shape.len() || w.shape.len() < 3 {
        return Err(format!("weights of shape {:?} for an input of shape {:?}", w.shape, x.shape));
    }
    let window = Window::of(node, &x.shape, Some(&w.shape[2..]))?;
    let groups = usize::try_from(int(node, "group", 1)).unwrap_or(0);
    let (channels_in, channels_out) = (x.shape[1], w.shape[0]);
    if groups == 0 || w.shape[1].checked_mul(groups) != Some(channels_in) || !channels_out.is_multiple_of(groups) {
        return Err(format!("{channels_in} channels, {groups} groups, weights of shape {:?}", w.shape));
    }
    let bias = match inputs.get(2) {
        Some(bias) if bias.count() != channels_out => return Err(format!("a bias of shape {:?}", bias.shape)),
        Some(bias) => Some(planner.view(bias)?.buffer),
        None => None,
    };
    let (x_view, weights) = (planner.view(x)?, planner.view(w)?.buffer);
    let shape = window.shape(&x.shape, channels_out);
    let work = if groups == 1 && window.is_pointwise() {
        let pixels = window.output.0 * window.output.1;
        let product = Product::pointwise(weights, x_view.buffer, bias, channels_out, channels_in, pixels, x.shape[0]);
        Work::Product(product)
    } else {
        let tail = Tail::default();
        let (x, batch) = (x_view.buffer, x.shape[0]);
        Work::Conv(Conv { x, weights, bias, batch, channels_in, channels_out, groups, window, tail })
    };
    let output = node.get_output().first().cloned().unwrap_or_default();
    Ok(planner.step(node, &output, &shape, work))
}

impl Conv {
    /// One that keeps the sizes: so many channels, in and out, pixels a side and taps a side; buffers 0 and 1.
    pub fn plain(channels: usize, side: usize, taps: usize) -> Conv {
        let (whole, one, pad) = ((side, side), (1, 1), (taps / 2, taps / 2));
        let window =
            Window { input: whole, output: whole, kernel: (taps, taps), stride: one, dilation: one, pad, after: pad };
        let (channels_in, channels_out) = (channels, channels);
        Conv {
            x: 0,
            weights: 1,
            bias: None,
            batch: 1,
            channels_in,
            channels_out,
            groups: 1,
            window,
            tail: Tail::default(),
        }
    }

    /// The same with nothing that follows it.
    pub fn without_tail(&self) -> Conv {
        Conv { tail: Tail::default(), ..*self }
    }

    pub fn reads(&self) -> Vec<usize> {
        [Some(self.x), Some(self.weights), self.bias, self.tail.residual].into_iter().flatten().collect()
    }

    pub fn multiplications(&self) -> usize {
        let Window { output, kernel, .. } = self.window;
        let results = self.batch * self.channels_out * output.0 * output.1;
        results * (self.channels_in / self.groups) * kernel.0 * kernel.1
    }

    /// Channels and pixels per thread. Blocks of some 300 multiplications in a row are what a CPU adapter still keeps in
    /// registers; a GPU wants many threads.
    fn tile(&self, tuning: Tuning) -> (usize, usize) {
        let per_group = self.channels_out / self.groups;
        let width = self.window.output.1;
        let (most_channels, most_pixels) = if tuning.software { (8, 8) } else { (4, 4) };
        let mut pixels = most_pixels.min(width);
        let columns = |pixels: usize| {
            (pixels - 1) * self.window.stride.1 + (self.window.kernel.1 - 1) * self.window.dilation.1 + 1
        };
        while pixels > 1 && columns(pixels) > 24 {
            pixels /= 2;
        }
        let room = (320 / (pixels * self.window.kernel.1)).clamp(1, most_channels);
        let channels = (1..=room).rev().find(|&channels| per_group.is_multiple_of(channels)).unwrap_or(1);
        (channels, pixels)
    }

    /// Its kernel; `half`: whether its weights are stored in f16.
    pub fn kernel(mut self, tuning: Tuning, half: bool) -> Result<Kernel, String> {
        let window = self.window;
        if tuning.gathers(self.channels_out * window.output.0 * window.output.1 * self.batch) {
            let tail = std::mem::take(&mut self.tail);
            match Product::convolution(&self, tail) {
                Ok(product) => return product.kernel(tuning, [half, false]),
                Err(tail) => self.tail = tail,
            }
        }
        self.direct(tuning, half)
    }

    /// The kernel that computes it without being a product.
    pub fn direct(self, tuning: Tuning, half: bool) -> Result<Kernel, String> {
        let window = self.window;
        let (tm, tx) = self.tile(tuning);
        let strips = window.output.1.div_ceil(tx);
        let strip_groups = (window.output.0 * strips).div_ceil(64);
        let blocks = self.channels_out / tm;
        let workgroups = spread(strip_groups * blocks * self.batch, 1);
        let columns = (tx - 1) * window.stride.1 + (window.kernel.1 - 1) * window.dilation.1 + 1;
        let reads = self.reads().len();
        let numbers = [
            ("batch", self.batch),
            ("cin", self.channels_in),
            ("cout", self.channels_out),
            ("cin_per_group", self.channels_in / self.groups),
            ("cout_per_group", self.channels_out / self.groups),
            ("tm", tm),
            ("tx", tx),
            ("strips", strips),
            ("strip_groups", strip_groups),
            ("blocks", blocks),
            ("columns", columns),
            ("groups_x", workgroups.0 as usize),
            ("output_binding", reads),
            ("residual_binding", reads - 1),
        ];
        let mut context = Context::new();
        for (name, number) in numbers.into_iter().chain(window.numbers()) {
            context.insert(name, &number);
        }
        context.insert("half", &half);
        context.insert("bias", &self.bias.is_some());
        context.insert("residual", &self.tail.residual.is_some());
        context.insert("helpers", &self.tail.helpers());
        context.insert("activation", &self.tail.body());
        Ok(Kernel { shader: render("conv", &context)?, workgroups })
    }
}
