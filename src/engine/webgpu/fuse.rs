//! Fusing: what follows a product, a convolution or an elementwise operator, and is read by nothing else, joins its kernel.

use super::lower::product::Bias;
use super::lower::{MOST_BUFFERS, Map, Tail, Work};
use super::plan::Step;

/// Fuses `steps`; the buffers in `kept` are read by the caller.
pub fn fuse(steps: &mut Vec<Step>, kept: &[usize]) {
    // Sums first, while they are statements of their own; then chains, and chains that became one argument's function.
    while fuse_once(steps, kept, join_tail) {}
    while fuse_once(steps, kept, join_maps) {}
    while fuse_once(steps, kept, join_tail) {}
}

/// Applies `join` to every producer and its only reader, and says whether anything changed.
fn fuse_once(steps: &mut Vec<Step>, kept: &[usize], join: fn(&mut Step, &Step) -> Option<()>) -> bool {
    let mut readers: std::collections::HashMap<usize, Vec<usize>> = std::collections::HashMap::new();
    for (at, step) in steps.iter().enumerate() {
        for buffer in step.work.reads() {
            readers.entry(buffer).or_default().push(at);
        }
    }
    let mut gone = vec![false; steps.len()];
    let mut changed = false;
    for at in 0..steps.len() {
        let output = steps[at].output;
        let Some(&[reader]) = readers.get(&output).map(Vec::as_slice) else { continue };
        if kept.contains(&output) || reader <= at || gone[reader] || gone[at] {
            continue;
        }
        let (before, after) = steps.split_at_mut(reader);
        let (producer, consumer) = (&mut before[at], &mut after[0]);
        // The joined step stands where the reader stood: all that it reads is computed there.
        if join(producer, consumer).is_some() {
            std::mem::swap(producer, consumer);
            gone[at] = true;
            changed = true;
        }
    }
    let mut gone = gone.into_iter();
    steps.retain(|_| !gone.next().unwrap_or(false));
    changed
}

/// Two maps over the same shape become one.
fn join_maps(producer: &mut Step, consumer: &Step) -> Option<()> {
    let (Work::Map(first), Work::Map(second)) = (&mut producer.work, &consumer.work) else { return None };
    if first.shape != second.shape {
        return None;
    }
    let mut inputs = first.inputs.clone();
    for input in &second.inputs {
        if input.buffer == first.output {
            if input.shape != first.shape {
                return None;
            }
            continue;
        }
        match inputs.iter().find(|known| known.buffer == input.buffer) {
            Some(known) if known.shape == input.shape => {}
            Some(_) => return None,
            None => inputs.push(input.clone()),
        }
    }
    if inputs.len() >= MOST_BUFFERS {
        return None;
    }
    first.inputs = inputs;
    first.body.extend(second.body.iter().cloned());
    first.output = second.output;
    take_name(producer, consumer);
    Some(())
}

fn take_name(producer: &mut Step, consumer: &Step) {
    producer.output = consumer.output;
    producer.operator = format!("{}+{}", producer.operator, consumer.operator);
}

/// A map joins the product or convolution before it: as bias, as residual, as activation.
fn join_tail(producer: &mut Step, consumer: &Step) -> Option<()> {
    let Work::Map(map) = &consumer.work else { return None };
    let count: usize = map.shape.iter().product();
    let read = map.inputs.iter().find(|input| input.buffer == producer.output)?;
    let (whole, bias, tail): (bool, Option<&mut Option<(usize, Bias)>>, &mut Tail) = match &mut producer.work {
        Work::Product(product) => {
            let all = product.stacks * product.m * product.n;
            (all == count && map.shape.last() == Some(&product.n), Some(&mut product.bias), &mut product.tail)
        }
        Work::Conv(conv) => {
            let all = conv.batch * conv.channels_out * conv.window.output.0 * conv.window.output.1;
            (all == count, None, &mut conv.tail)
        }
        _ => return None,
    };
    // Element i of the map must be element i of the result.
    let result_is_whole = if bias.is_some() { read.count() == count } else { read.shape == map.shape };
    if !result_is_whole || read.count() != count {
        return None;
    }
    match map.inputs.as_slice() {
        [_] => activation(tail, map, read.buffer),
        [one, two] if tail.activation.is_none() && map.body.len() == 1 => {
            let other = if one.buffer == producer.output { two } else { one };
            let sums = [(producer.output, other.buffer), (other.buffer, producer.output)];
            let is_sum = sums.iter().any(|(a, b)| map.body[0] == format!("let v{} = v{a} + v{b};", map.output));
            let width = map.shape.last().copied().unwrap_or(1);
            if !is_sum {
                return None;
            }
            match bias {
                Some(bias @ None)
                    if whole && other.shape.last() == Some(&width) && other.count() == width && width > 1 =>
                {
                    *bias = Some((other.buffer, Bias::Column));
                }
                _ if other.count() == count && other.shape == map.shape && tail.residual.is_none() => {
                    tail.residual = Some(other.buffer);
                }
                _ => return None,
            }
        }
        _ => return None,
    }
    take_name(producer, consumer);
    Some(())
}

fn activation(tail: &mut Tail, map: &Map, input: usize) {
    match &mut tail.activation {
        Some((_, body, output)) => {
            body.extend(map.body.iter().cloned());
            *output = map.output;
        }
        none => *none = Some((input, map.body.clone(), map.output)),
    }
}
