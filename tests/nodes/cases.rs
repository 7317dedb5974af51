//! The cases, by family.

use super::Case;

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    elementwise(&mut all);
    products(&mut all);
    convolutions(&mut all);
    depthwise(&mut all);
    rows(&mut all);
    moves(&mut all);
    samples(&mut all);
    all
}

fn elementwise(all: &mut Vec<Case>) {
    for operator in [
        "Relu",
        "LeakyRelu",
        "Sigmoid",
        "Tanh",
        "Exp",
        "Erf",
        "Gelu",
        "Neg",
        "Abs",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "Elu",
        "Softplus",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Sin",
        "Cos",
    ] {
        for shape in [&[1][..], &[7], &[3, 5, 4], &[70_007]] {
            all.push(Case::new(&format!("{shape:?}"), operator, &[shape]));
        }
    }
    all.push(Case::new("of large numbers", "Tanh", &[&[1000]]).range(-200.0, 200.0));
    all.push(Case::new("of large numbers", "Sigmoid", &[&[1000]]).range(-200.0, 200.0));
    all.push(Case::new("of large numbers", "Erf", &[&[1000]]).range(-50.0, 50.0));
    // More than 65,535 workgroups of 64.
    all.push(Case::new("of many", "Relu", &[&[4_200_001]]));
    for operator in ["Log", "Sqrt", "Reciprocal"] {
        all.push(Case::new("", operator, &[&[2, 9]]).range(0.1, 5.0));
    }
    for operator in ["Add", "Sub", "Mul", "Div", "Min", "Max"] {
        let shapes: [(&[usize], &[usize]); 9] = [
            (&[6, 8], &[6, 8]),
            (&[6, 7], &[7]),
            (&[2, 3, 8], &[8]),
            (&[2, 3, 8], &[3, 1]),
            (&[3, 1, 5], &[4, 1]),
            (&[1], &[4, 4]),
            (&[2, 6, 4, 4], &[6, 1, 1]),
            (&[2, 1, 4], &[2, 3, 1]),
            (&[5], &[1]),
        ];
        for (a, b) in shapes {
            all.push(Case::new(&format!("{a:?} {b:?}"), operator, &[a, b]).range(0.5, 3.0));
        }
        all.push(Case::new("a constant", operator, &[&[4, 5]]).floats(&[], &[3.0]));
    }
    for operator in ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"] {
        for (a, b) in [(&[6, 8][..], &[6, 8][..]), (&[2, 3, 7], &[3, 1]), (&[9], &[1])] {
            all.push(Case::new(&format!("{a:?} {b:?}"), operator, &[a, b]).cast());
        }
        all.push(Case::new("a constant", operator, &[&[4, 5]]).floats(&[], &[0.5]).cast());
    }
    for operator in ["Sum", "Mean"] {
        all.push(Case::new("of three", operator, &[&[6, 8], &[8], &[6, 1]]));
        all.push(Case::new("of one", operator, &[&[3, 7]]));
    }
    all.push(Case::new("by channel", "PRelu", &[&[2, 3, 5, 4]]).weights(&[3, 1, 1]));
    all.push(Case::new("alpha", "LeakyRelu", &[&[3, 7]]).float("alpha", 0.3));
    for shape in [&[6, 8][..], &[8], &[6, 1]] {
        all.push(Case::new(&format!("{shape:?}"), "Where", &[&[6, 8], &[8]]).truths(shape));
    }
    // Not to truth values: there rten keeps integers.
    for to in [6, 7] {
        all.push(Case::new(&format!("to {to}"), "Cast", &[&[3, 35]]).range(-9.0, 9.0).int("to", to).cast());
    }
    for exponent in [2.0, 3.0, 0.0, 1.0, -1.0, 4.0, -3.0] {
        all.push(Case::new(&format!("of negative bases, {exponent}"), "Pow", &[&[33]]).floats(&[], &[exponent]));
        all.push(Case::new(&format!("of exponents, {exponent}"), "Pow", &[&[33]]).floats(&[33], &[exponent; 33]));
    }
    all.push(Case::new("", "Pow", &[&[4, 5], &[5]]).range(0.1, 3.0));
    all.push(Case::new("both", "Clip", &[&[4, 6]]).floats(&[], &[-0.05]).floats(&[], &[0.7]));
    all.push(Case::new("above", "Clip", &[&[4, 6]]).missing().floats(&[], &[0.7]));
    all.push(Case::new("below", "Clip", &[&[4, 6]]).floats(&[], &[0.05]));
    all.push(Case::new("data", "Clip", &[&[4, 6], &[], &[]]));
}

fn products(all: &mut Vec<Case>) {
    let sizes = [
        (1, 1, 1),
        (4, 4, 4),
        (5, 7, 3),
        (1, 64, 17),
        (33, 16, 1),
        (16, 12, 20),
        (63, 65, 66),
        (100, 32, 48),
        (9, 3, 6),
    ];
    for (m, k, n) in sizes {
        all.push(Case::new(&format!("{m} {k} {n}"), "MatMul", &[&[m, k], &[k, n]]));
        all.push(Case::new(&format!("stack {m} {k} {n}"), "MatMul", &[&[3, m, k], &[3, k, n]]));
        all.push(Case::new(&format!("weights {m} {k} {n}"), "MatMul", &[&[2, 3, m, k]]).weights(&[k, n]));
    }
    // Not a stack times a vector: there rten keeps an axis that ONNX drops.
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[2, 1, 5, 8], &[3, 8, 4]),
        (&[5, 8], &[2, 3, 8, 4]),
        (&[1, 5, 8], &[6, 8, 4]),
        (&[7], &[7, 5]),
        (&[4, 7], &[7]),
        (&[8], &[8]),
    ];
    for (a, b) in shapes {
        all.push(Case::new(&format!("{a:?} {b:?}"), "MatMul", &[a, b]));
    }
    // More than 65,535 stacks.
    all.push(Case::new("many stacks", "MatMul", &[&[70_000, 1, 4], &[70_000, 4, 2]]));
    for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for (m, k, n) in [(5, 7, 3), (8, 12, 16)] {
            let left: &[usize] = if a == 1 { &[k, m] } else { &[m, k] };
            let right: &[usize] = if b == 1 { &[n, k] } else { &[k, n] };
            for bias in [&[n][..], &[m, n], &[1, n], &[m, 1], &[1]] {
                let name = format!("transA {a} transB {b} {m} {k} {n} bias {bias:?}");
                let case = Case::new(&name, "Gemm", &[left, right, bias]).int("transA", a).int("transB", b);
                all.push(case.float("alpha", 0.5).float("beta", 2.0));
            }
            all.push(
                Case::new(&format!("plain {a} {b} {m}"), "Gemm", &[left, right]).int("transA", a).int("transB", b),
            );
        }
    }
}

fn convolutions(all: &mut Vec<Case>) {
    struct Shape {
        x: [usize; 4],
        w: [usize; 4],
        group: i64,
        strides: [i64; 2],
        pads: [i64; 4],
        dilations: [i64; 2],
    }
    let c = |x, w, group, strides, pads, dilations| Shape { x, w, group, strides, pads, dilations };
    let shapes = [
        c([1, 3, 9, 11], [8, 3, 3, 3], 1, [1, 1], [1, 1, 1, 1], [1, 1]),
        c([2, 5, 8, 8], [7, 5, 3, 3], 1, [1, 1], [1, 1, 1, 1], [1, 1]),
        c([1, 4, 16, 12], [8, 4, 3, 3], 1, [2, 2], [0, 0, 1, 1], [1, 1]),
        c([1, 4, 16, 12], [8, 4, 5, 5], 1, [2, 2], [1, 1, 2, 2], [1, 1]),
        c([1, 6, 10, 10], [6, 1, 3, 3], 6, [1, 1], [1, 1, 1, 1], [1, 1]),
        c([2, 6, 11, 13], [6, 1, 5, 5], 6, [2, 2], [1, 1, 2, 2], [1, 1]),
        c([1, 4, 10, 10], [12, 1, 3, 3], 4, [1, 1], [1, 1, 1, 1], [1, 1]),
        c([1, 8, 9, 9], [12, 4, 3, 3], 2, [1, 2], [1, 0, 2, 1], [1, 1]),
        c([1, 4, 12, 12], [4, 4, 3, 3], 1, [1, 1], [2, 2, 2, 2], [2, 2]),
        c([1, 3, 32, 32], [32, 3, 16, 16], 1, [16, 16], [0, 0, 0, 0], [1, 1]),
        c([1, 3, 17, 17], [16, 3, 7, 7], 1, [2, 2], [3, 3, 3, 3], [1, 1]),
        c([1, 8, 7, 7], [16, 8, 1, 1], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
        c([2, 8, 4, 4], [6, 8, 1, 1], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
        c([2, 5, 3, 3], [3, 5, 1, 1], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
        c([1, 8, 8, 8], [4, 8, 1, 1], 1, [2, 2], [0, 0, 0, 0], [1, 1]),
        c([1, 1, 1, 1], [1, 1, 1, 1], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
        c([1, 4, 1, 9], [4, 4, 1, 3], 1, [1, 1], [0, 1, 0, 1], [1, 1]),
        c([1, 1, 2100, 2100], [1, 1, 1, 2], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
    ];
    for s in shapes {
        for bias in [false, true] {
            let name = format!("{:?} {:?} strides {:?} pads {:?} bias {bias}", s.x, s.w, s.strides, s.pads);
            let mut case = Case::new(&name, "Conv", &[&s.x]).weights(&s.w);
            if bias {
                case = case.weights(&[s.w[0]]);
            }
            let case = case.int("group", s.group).list("strides", &s.strides).list("pads", &s.pads);
            all.push(case.list("dilations", &s.dilations).list("kernel_shape", &[s.w[2] as i64, s.w[3] as i64]));
        }
    }
    for (groups, stride) in [(1, 1), (2, 2)] {
        let case = Case::new(&format!("of a line, {groups} groups, strides {stride}"), "Conv", &[&[2, 4, 23]]);
        let case = case.weights(&[6, 4 / groups as usize, 5]).weights(&[6]).int("group", groups);
        all.push(case.list("strides", &[stride]).list("pads", &[2, 1]).list("kernel_shape", &[5]));
    }
    let auto = Case::new("auto_pad", "Conv", &[&[1, 2, 9, 10]]).weights(&[3, 2, 3, 3]);
    all.push(auto.word("auto_pad", "SAME_UPPER").list("strides", &[2, 2]).list("kernel_shape", &[3, 3]));
}

/// Sizes below, at and above the tiles of both engines, with paddings that cover the kernel's reach, half of it, or nothing.
fn depthwise(all: &mut Vec<Case>) {
    for (height, width) in [(1, 1), (3, 5), (4, 8), (6, 19), (13, 16)] {
        for (strides, dilations) in
            [([1, 1], [1, 1]), ([2, 2], [1, 1]), ([1, 3], [2, 1]), ([3, 2], [1, 3]), ([2, 1], [2, 2])]
        {
            for (at, kernel) in [[3, 3], [5, 5], [1, 4]].into_iter().enumerate() {
                let reach = [(kernel[0] - 1) * dilations[0], (kernel[1] - 1) * dilations[1]];
                let before = if at == 0 { reach } else { [reach[0] / 2, reach[1] / 2] };
                let after = if width % 2 == 0 { [0, 0] } else { reach };
                if height + before[0] + after[0] <= reach[0] || width + before[1] + after[1] <= reach[1] {
                    continue;
                }
                let x = [1, 3, height as usize, width as usize];
                let pads = [before[0], before[1], after[0], after[1]];
                let name =
                    format!("depthwise {x:?} {kernel:?} strides {strides:?} pads {pads:?} dilations {dilations:?}");
                let case = Case::new(&name, "Conv", &[&x]).weights(&[3, 1, kernel[0] as usize, kernel[1] as usize]);
                let case = case.weights(&[3]).int("group", 3).list("strides", &strides).list("pads", &pads);
                all.push(case.list("dilations", &dilations).list("kernel_shape", &kernel));
            }
        }
    }
}

fn rows(all: &mut Vec<Case>) {
    for shape in [&[5, 7][..], &[2, 3, 200], &[1, 1], &[2, 4, 3, 5]] {
        for axis in 0..shape.len() as i64 {
            for operator in ["Softmax", "LogSoftmax"] {
                all.push(Case::new(&format!("{shape:?} axis {axis}"), operator, &[shape]).int("axis", axis));
            }
        }
    }
    all.push(Case::new("of large numbers", "Softmax", &[&[4, 33]]).range(-1000.0, 1000.0).int("axis", -1));
    // More than 65,535 workgroups: of 64 rows each, and of one row each.
    for shape in [[4_200_000, 2], [66_000, 256]] {
        let name = format!("many rows {shape:?}");
        let n = shape[1];
        all.push(Case::new(&name, "Softmax", &[&shape]).int("axis", -1));
        all.push(Case::new(&name, "LayerNormalization", &[&shape]).weights(&[n]).weights(&[n]).float("epsilon", 1e-2));
        all.push(Case::new(&name, "ReduceMax", &[&shape]).ints(&[-1]));
    }
    for shape in [&[3, 8][..], &[2, 5, 7], &[1, 200, 64], &[1, 1]] {
        let n = shape[shape.len() - 1];
        let case = Case::new(&format!("{shape:?}"), "LayerNormalization", &[shape]).weights(&[n]).weights(&[n]);
        all.push(case.float("epsilon", 1e-5).int("axis", -1));
    }
    for axis in [0, 1, -2] {
        let sides = &[2, 5, 7][if axis < 0 { 1 } else { axis as usize }..];
        let case = Case::new(&format!("axis {axis}"), "LayerNormalization", &[&[2, 5, 7]]);
        all.push(case.weights(sides).weights(sides).float("epsilon", 1e-3).int("axis", axis));
    }
    all.push(Case::new("of lines", "InstanceNormalization", &[&[2, 3, 70]]).weights(&[3]).weights(&[3]));
    let case = Case::new("", "InstanceNormalization", &[&[2, 3, 5, 6]]).weights(&[3]).weights(&[3]);
    all.push(case.float("epsilon", 1e-3));
    let case = Case::new("", "BatchNormalization", &[&[2, 3, 5, 6]]).weights(&[3]).weights(&[3]).weights(&[3]);
    all.push(case.floats(&[3], &[0.5, 1.0, 2.0]));
    for operator in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"] {
        for axes in [&[-1][..], &[1], &[0, 2], &[1, 2], &[0, 1, 2]] {
            for keep in [0, 1] {
                let name = format!("{axes:?} keep {keep}");
                all.push(Case::new(&name, operator, &[&[3, 4, 5]]).ints(axes).int("keepdims", keep));
            }
        }
        all.push(Case::new("all", operator, &[&[3, 70]]));
        all.push(Case::new("wide", operator, &[&[3, 5, 300]]).ints(&[0, 2]));
    }
}

fn moves(all: &mut Vec<Case>) {
    for order in [&[1, 0, 2, 3][..], &[0, 2, 1, 3], &[3, 2, 1, 0], &[0, 2, 3, 1], &[0, 1, 2, 3]] {
        all.push(Case::new(&format!("{order:?}"), "Transpose", &[&[2, 3, 4, 5]]).list("perm", order));
    }
    all.push(Case::new("of many", "Transpose", &[&[3, 1_400_001]]).list("perm", &[1, 0]));
    all.push(Case::new("of many", "Gather", &[&[9, 1_400_001]]).ints(&[8, 0, 3]).int("axis", 0));
    all.push(Case::new("of a column", "Transpose", &[&[1, 7, 1, 5]]).list("perm", &[0, 2, 1, 3]));
    for axis in [0, 1, 2, -1] {
        let shapes: [&[usize]; 2] = [&[2, 3, 4], &[2, 3, 4]];
        all.push(Case::new(&format!("axis {axis}"), "Concat", &shapes).int("axis", axis));
        let case = Case::new(&format!("axis {axis}"), "Gather", &[&[5, 6, 7]]).ints(&[4, 0, -1, 2]);
        all.push(case.int("axis", axis));
    }
    let ten: [&[usize]; 10] = [
        &[2, 1, 3],
        &[2, 2, 3],
        &[2, 3, 3],
        &[2, 1, 3],
        &[2, 1, 3],
        &[2, 1, 3],
        &[2, 5, 3],
        &[2, 1, 3],
        &[2, 1, 3],
        &[2, 4, 3],
    ];
    all.push(Case::new("of ten", "Concat", &ten).int("axis", 1));
    all.push(Case::new("uneven", "Split", &[&[2, 9, 4]]).ints(&[2, 3, 4]).int("axis", 1).outputs(3));
    all.push(Case::new("even", "Split", &[&[6, 3]]).ints(&[3, 3]).int("axis", 0).outputs(2));
    let slices: [[&[i64]; 4]; 5] = [
        [&[1], &[3], &[1], &[1]],
        [&[0, 1], &[i64::MAX, -1], &[0, 2], &[1, 2]],
        [&[-1], &[i64::MIN], &[1], &[-1]],
        [&[-2], &[-5], &[2], &[-2]],
        [&[0], &[100], &[0], &[3]],
    ];
    for [starts, ends, axes, steps] in slices {
        let case = Case::new(&format!("{starts:?} {ends:?} {axes:?} {steps:?}"), "Slice", &[&[4, 5, 6]]);
        all.push(case.ints(starts).ints(ends).ints(axes).ints(steps));
    }
    all.push(Case::new("", "Expand", &[&[3, 1]]).ints(&[2, 3, 4]));
    all.push(Case::new("", "Tile", &[&[2, 3]]).ints(&[2, 3]));
    all.push(Case::new("uneven", "Pad", &[&[2, 3, 4]]).ints(&[0, 1, 2, 3, 0, 1]).floats(&[], &[1.5]));
    all.push(Case::new("zeros", "Pad", &[&[1, 2, 5, 5]]).ints(&[0, 0, 1, 1, 0, 0, 2, 2]));
    for mode in ["edge", "reflect", "wrap"] {
        let case = Case::new(mode, "Pad", &[&[2, 5, 6]]).ints(&[0, 1, 2, 0, 0, 3]);
        all.push(case.word("mode", mode));
    }
    all.push(Case::new("", "Reshape", &[&[2, 3, 4]]).ints(&[0, -1]));
    all.push(Case::new("", "Flatten", &[&[2, 3, 4]]).int("axis", 2));
    all.push(Case::new("", "Squeeze", &[&[1, 3, 1, 4]]).ints(&[0, 2]));
    all.push(Case::new("", "Unsqueeze", &[&[3, 4]]).ints(&[0, -1]));
}

fn samples(all: &mut Vec<Case>) {
    for (mode, coordinates, nearest) in [
        ("nearest", "asymmetric", "floor"),
        ("nearest", "half_pixel", "round_prefer_floor"),
        ("linear", "half_pixel", "floor"),
        ("linear", "align_corners", "floor"),
        ("linear", "asymmetric", "floor"),
        ("linear", "pytorch_half_pixel", "floor"),
    ] {
        for sizes in [[1, 2, 12, 16], [1, 2, 5, 7], [1, 2, 3, 4], [1, 2, 6, 8]] {
            let name = format!("{mode} {coordinates} {sizes:?}");
            let case = Case::new(&name, "Resize", &[&[1, 2, 6, 8]]).missing().missing().ints(&sizes);
            let case = case.word("mode", mode).word("nearest_mode", nearest);
            all.push(case.word("coordinate_transformation_mode", coordinates));
        }
        let case = Case::new(&format!("{mode} {coordinates} scales"), "Resize", &[&[1, 2, 5, 7]]).missing();
        let case = case.floats(&[4], &[1.0, 1.0, 2.0, 2.0]).word("mode", mode).word("nearest_mode", nearest);
        all.push(case.word("coordinate_transformation_mode", coordinates));
    }
    let many = Case::new("of many", "Resize", &[&[1, 1, 700, 700]]).missing().missing().ints(&[1, 1, 2100, 2100]);
    all.push(
        many.word("mode", "nearest").word("coordinate_transformation_mode", "asymmetric").word("nearest_mode", "floor"),
    );
    all.push(
        Case::new("of many", "MaxPool", &[&[1, 1, 2100, 2100]]).list("kernel_shape", &[2, 2]).list("strides", &[1, 1]),
    );
    for operator in ["AveragePool", "MaxPool"] {
        for (kernel, stride, pads) in
            [(2, 2, [0, 0, 0, 0]), (3, 2, [1, 1, 1, 1]), (3, 1, [0, 1, 1, 0]), (4, 4, [0, 0, 0, 0])]
        {
            let name = format!("{kernel} {stride} {pads:?}");
            let case = Case::new(&name, operator, &[&[2, 3, 12, 8]]).list("kernel_shape", &[kernel, kernel]);
            all.push(case.list("strides", &[stride, stride]).list("pads", &pads));
        }
    }
    for operator in ["AveragePool", "MaxPool"] {
        let case = Case::new("of a line", operator, &[&[2, 3, 21]]).list("kernel_shape", &[3]);
        all.push(case.list("strides", &[2]).list("pads", &[1, 1]));
        let case = Case::new("ceil_mode", operator, &[&[2, 3, 12, 9]]).list("kernel_shape", &[3, 3]);
        all.push(case.list("strides", &[2, 2]).int("ceil_mode", 1));
        let case = Case::new("auto_pad", operator, &[&[2, 3, 12, 9]]).list("kernel_shape", &[3, 4]);
        all.push(case.list("strides", &[2, 2]).word("auto_pad", "SAME_UPPER"));
    }
    let counted = Case::new("counting the padding", "AveragePool", &[&[2, 3, 12, 9]]).list("kernel_shape", &[3, 3]);
    let counted = counted.list("pads", &[1, 0, 1, 2]).list("strides", &[2, 1]);
    all.push(counted.int("count_include_pad", 1));
    let counted = Case::new("counting auto_pad", "AveragePool", &[&[2, 3, 12, 9]]).list("kernel_shape", &[3, 3]);
    let counted = counted.word("auto_pad", "SAME_UPPER").list("strides", &[1, 2]);
    all.push(counted.int("count_include_pad", 1));
    all.push(Case::new("of lines", "GlobalAveragePool", &[&[2, 3, 70]]));
    all.push(Case::new("", "GlobalAveragePool", &[&[2, 3, 7, 9]]));
    all.push(Case::new("", "GlobalMaxPool", &[&[2, 3, 7, 9]]));
}
