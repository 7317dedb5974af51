//! Nodes of random shapes and attributes, the same on every run.

use super::Case;

struct Dice(u64);

impl Dice {
    /// From `low` to `high`, both included.
    fn between(&mut self, low: usize, high: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + (self.0 >> 11) as usize % (high - low + 1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.between(0, of.len() - 1)]
    }

    /// A side: often 1, a few, a multiple of four, or more than a workgroup.
    fn side(&mut self) -> usize {
        match self.between(0, 5) {
            0 => 1,
            1 => 4 * self.between(1, 16),
            2 => self.between(30, 150),
            _ => self.between(2, 12),
        }
    }

    fn shape(&mut self, least: usize, most: usize) -> Vec<usize> {
        let rank = self.between(least, most);
        let mut shape: Vec<usize> = (0..rank).map(|_| self.side()).collect();
        while shape.iter().product::<usize>() > 40_000 {
            let at = self.between(0, rank - 1);
            shape[at] = self.between(1, 8);
        }
        shape
    }

    /// A shape that broadcasts to this one.
    fn part(&mut self, shape: &[usize]) -> Vec<usize> {
        let lead = self.between(0, shape.len() - 1);
        shape[lead..].iter().map(|&side| if self.between(0, 3) == 0 { 1 } else { side }).collect()
    }
}

/// So many cases.
pub fn random_cases(count: usize) -> Vec<Case> {
    let mut dice = Dice(0x5eed);
    (0..count).map(|at| case(&mut dice, at)).collect()
}

fn case(dice: &mut Dice, number: usize) -> Case {
    match number % 14 {
        0 | 1 => {
            let (m, k, n) = (dice.side(), dice.side(), dice.side());
            let stack = if dice.between(0, 1) == 0 { Vec::new() } else { vec![dice.between(1, 4), dice.between(1, 3)] };
            let a: Vec<usize> = stack.iter().copied().chain([m, k]).collect();
            let right = if stack.is_empty() || dice.between(0, 1) == 0 { Vec::new() } else { dice.part(&stack) };
            let b: Vec<usize> = right.into_iter().chain([k, n]).collect();
            Case::new(&format!("{number} {a:?} {b:?}"), "MatMul", &[&a, &b])
        }
        2 => {
            let (m, k, n) = (dice.side(), dice.side(), dice.side());
            let (turn_a, turn_b) = (dice.between(0, 1) as i64, dice.between(0, 1) as i64);
            let a = if turn_a == 1 { [k, m] } else { [m, k] };
            let b = if turn_b == 1 { [n, k] } else { [k, n] };
            let name = format!("{number} {turn_a} {turn_b} {a:?} {b:?}");
            let case = Case::new(&name, "Gemm", &[&a, &b]).weights(&[n]).int("transA", turn_a).int("transB", turn_b);
            case.float("alpha", dice.one(&[1.0, 0.5])).float("beta", dice.one(&[1.0, -2.0]))
        }
        3..=5 => convolution(dice, number),
        6 => {
            let shape = dice.shape(1, 4);
            let axis = dice.between(0, shape.len() - 1) as i64;
            let operator = dice.one(&["Softmax", "LogSoftmax"]);
            Case::new(&format!("{number} {shape:?} axis {axis}"), operator, &[&shape]).int("axis", axis)
        }
        7 => {
            let shape = dice.shape(1, 4);
            let operator = dice.one(&["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"]);
            let mut axes: Vec<i64> = (0..shape.len() as i64).filter(|_| dice.between(0, 1) == 0).collect();
            if axes.is_empty() {
                axes.push(-1);
            }
            let case = Case::new(&format!("{number} {shape:?} {axes:?}"), operator, &[&shape]).ints(&axes);
            case.int("keepdims", dice.between(0, 1) as i64)
        }
        8 => {
            let shape = dice.shape(2, 3);
            let n = shape[shape.len() - 1];
            let case = Case::new(&format!("{number} {shape:?}"), "LayerNormalization", &[&shape]);
            case.weights(&[n]).weights(&[n]).float("epsilon", 1e-3).int("axis", -1)
        }
        9 => {
            let shape = dice.shape(1, 4);
            let part = dice.part(&shape);
            let operator = dice.one(&["Add", "Sub", "Mul", "Div", "Min", "Max"]);
            let turned: [&[usize]; 2] = if dice.between(0, 1) == 0 { [&shape, &part] } else { [&part, &shape] };
            Case::new(&format!("{number} {turned:?}"), operator, &turned).range(0.5, 3.0)
        }
        10 => {
            let shape = dice.shape(2, 5);
            let mut order: Vec<i64> = (0..shape.len() as i64).collect();
            for at in (1..order.len()).rev() {
                order.swap(at, dice.between(0, at));
            }
            Case::new(&format!("{number} {shape:?} {order:?}"), "Transpose", &[&shape]).list("perm", &order)
        }
        11 => {
            let shape = dice.shape(2, 4);
            let at = dice.between(0, shape.len() - 1);
            match dice.between(0, 2) {
                0 => {
                    let mut other = shape.clone();
                    other[at] = dice.between(1, 9);
                    let name = format!("{number} {shape:?} {other:?} axis {at}");
                    Case::new(&name, "Concat", &[&shape, &other]).int("axis", at as i64)
                }
                1 => {
                    let side = shape[at] as i64;
                    let picked: Vec<i64> = (0..5).map(|_| dice.between(0, 2 * shape[at] - 1) as i64 - side).collect();
                    let case = Case::new(&format!("{number} {shape:?} {picked:?} axis {at}"), "Gather", &[&shape]);
                    case.ints(&picked).int("axis", at as i64)
                }
                _ => {
                    let (start, step) = (dice.between(0, shape[at] - 1) as i64, dice.between(1, 3) as i64);
                    let name = format!("{number} {shape:?} from {start} by {step} axis {at}");
                    Case::new(&name, "Slice", &[&shape])
                        .ints(&[start])
                        .ints(&[i64::MAX])
                        .ints(&[at as i64])
                        .ints(&[step])
                }
            }
        }
        12 => {
            let (planes, height, width) = (dice.between(1, 3), dice.between(1, 20), dice.between(1, 20));
            let shape = [1, planes, height, width];
            // The nearest element only by whole factors: elsewhere a place may lie half way, and roundings decide.
            let nearest = dice.between(0, 1) == 0;
            let mut side = |from: usize| if nearest { from * dice.between(1, 4) } else { dice.between(1, 40) } as i64;
            let to = [1, planes as i64, side(height), side(width)];
            let case = Case::new(&format!("{number} {shape:?} {to:?}"), "Resize", &[&shape]).missing().missing();
            let case = case.ints(&to).word("nearest_mode", "floor");
            let coordinates = dice.one(&["asymmetric", "half_pixel", "align_corners"]);
            let (mode, coordinates) = if nearest { ("nearest", "asymmetric") } else { ("linear", coordinates) };
            case.word("mode", mode).word("coordinate_transformation_mode", coordinates)
        }
        _ => {
            let (kernel, stride) = (dice.between(1, 4), dice.between(1, 3) as i64);
            let pad = dice.between(0, kernel / 2) as i64;
            let shape = [dice.between(1, 2), dice.between(1, 5), dice.between(4, 19), dice.between(4, 19)];
            let name = format!("{number} {shape:?} {kernel} {stride} {pad}");
            let case = Case::new(&name, dice.one(&["AveragePool", "MaxPool"]), &[&shape]);
            case.list("kernel_shape", &[kernel as i64; 2]).list("strides", &[stride; 2]).list("pads", &[pad; 4])
        }
    }
}

fn convolution(dice: &mut Dice, number: usize) -> Case {
    let groups = dice.one(&[1, 1, 1, 2, 3]);
    let (each_in, each_out) = (dice.between(1, 12), dice.between(1, 12));
    let (c_in, c_out) = if dice.between(0, 3) == 0 { (32, 36) } else { (each_in * groups, each_out * groups) };
    let groups = if c_in == 32 && c_out == 36 { 1 } else { groups };
    let kernel = [dice.one(&[1, 1, 2, 3, 3, 5]), dice.one(&[1, 1, 2, 3, 3, 5])];
    let dilations = [dice.between(1, 2), dice.between(1, 2)];
    let strides = [dice.between(1, 3) as i64, dice.between(1, 3) as i64];
    let reach = [(kernel[0] - 1) * dilations[0] + 1, (kernel[1] - 1) * dilations[1] + 1];
    let image =
        [dice.between(1, 2), c_in, dice.between(reach[0], reach[0] + 20), dice.between(reach[1], reach[1] + 20)];
    let pads: Vec<i64> = (0..4).map(|at| dice.between(0, reach[at % 2] / 2) as i64).collect();
    let name = format!("{number} {image:?} to {c_out} in {groups}, {kernel:?} {dilations:?} {strides:?} {pads:?}");
    let case = Case::new(&name, "Conv", &[&image]).weights(&[c_out, c_in / groups, kernel[0], kernel[1]]);
    let case = if dice.between(0, 1) == 0 { case } else { case.weights(&[c_out]) };
    let case = case.int("group", groups as i64).list("strides", &strides).list("pads", &pads);
    case.list("dilations", &dilations.map(|it| it as i64)).list("kernel_shape", &kernel.map(|it| it as i64))
}
