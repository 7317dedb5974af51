/** Single operators as small ONNX models, at the sizes that segmentation models have. */

import { writeModel } from '../onnx.mjs';

/**
 * A model with what it is fed.
 *
 * @typedef {{name: string, shape: number[], data: Float32Array}} Input
 * @typedef {{row: string, model: Uint8Array, inputs: Input[]}} Row
 * @typedef {import('../onnx.mjs').ModelNode} ModelNode
 */

/** Numbers in -1..1, the same each time (xorshift). @param {number} seed */
function numbers(seed) {
    let state = seed * 2654435761 | 1;
    return () => {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        return state / 2 ** 31;
    };
}

/** @param {string} name @param {number[]} shape @param {number} seed @param {number} [scale] @returns {Input} */
function filled(name, shape, seed, scale = 1) {
    const next = numbers(seed);
    const data = new Float32Array(shape.reduce((product, side) => product * side, 1));
    return { name, shape, data: data.map(() => scale * next()) };
}

/** @param {string} row @param {Input[]} inputs @param {Input[]} weights @param {ModelNode[]} nodes @param {number[]} shape @returns {Row} */
function model(row, inputs, weights, nodes, shape) {
    return { row, inputs, model: writeModel({ nodes, inputs, weights, outputs: [{ name: 'y', shape }] }) };
}

/** @param {number} m @param {number} k @param {number} n */
function matmul(m, k, n) {
    const weights = [filled('w', [k, n], 2, k ** -0.5)];
    const nodes = [{ operator: 'MatMul', inputs: ['x', 'w'], output: 'y' }];
    return model(`MatMul ${m}x${k}x${n}`, [filled('x', [m, k], 1)], weights, nodes, [m, n]);
}

/** @param {number} heads @param {number} tokens @param {number} width */
function attention(heads, tokens, width) {
    const shape = [1, heads, tokens, width];
    /** @type {ModelNode[]} */
    const nodes = [
        { operator: 'Transpose', inputs: ['k'], output: 'kt', attributes: { perm: [0, 1, 3, 2] } },
        { operator: 'MatMul', inputs: ['q', 'kt'], output: 'products' },
        { operator: 'Mul', inputs: ['products', 'scale'], output: 'scores' },
        { operator: 'Softmax', inputs: ['scores'], output: 'shares', attributes: { axis: -1 } },
        { operator: 'MatMul', inputs: ['shares', 'v'], output: 'y' },
    ];
    const scale = { name: 'scale', shape: [1], data: new Float32Array([width ** -0.5]) };
    const inputs = [filled('q', shape, 1, 3), filled('k', shape, 2, 3), filled('v', shape, 3)];
    return model(`attention ${heads}x${tokens}x${width}x${tokens}`, inputs, [scale], nodes, shape);
}

/** @param {{name: string, kernel: number, from: number, to: number, side: number, group?: number}} conv */
function conv({ name, kernel, from, to, side, group = 1 }) {
    const fan = from / group * kernel * kernel;
    const weights = [filled('w', [to, from / group, kernel, kernel], 2, fan ** -0.5), filled('b', [to], 3)];
    const pad = kernel >> 1;
    const attributes = { kernel_shape: [kernel, kernel], pads: [pad, pad, pad, pad], group };
    const nodes = [{ operator: 'Conv', inputs: ['x', 'w', 'b'], output: 'y', attributes }];
    return model(`${name} @${side}x${side}`, [filled('x', [1, from, side, side], 1)], weights, nodes, [1, to, side, side]);
}

/** @param {number} rows @param {number} width */
function softmax(rows, width) {
    const nodes = [{ operator: 'Softmax', inputs: ['x'], output: 'y', attributes: { axis: -1 } }];
    return model(`Softmax ${rows}x${width}`, [filled('x', [rows, width], 1, 5)], [], nodes, [rows, width]);
}

/** @param {number} rows @param {number} width */
function layerNormalization(rows, width) {
    const weights = [filled('scale', [width], 2), filled('bias', [width], 3)];
    const attributes = { axis: -1, epsilon: { float: 1e-5 } };
    const nodes = [{ operator: 'LayerNormalization', inputs: ['x', 'scale', 'bias'], output: 'y', attributes }];
    return model(`LayerNormalization ${rows}x${width}`, [filled('x', [rows, width], 1, 5)], weights, nodes, [rows, width]);
}

/** @returns {Row[]} */
export function operatorRows() {
    return [
        matmul(200, 768, 3072),
        attention(12, 200, 64),
        conv({ name: 'conv 3x3 256->256', kernel: 3, from: 256, to: 256, side: 40 }),
        conv({ name: 'conv 1x1 256->256', kernel: 1, from: 256, to: 256, side: 80 }),
        conv({ name: 'depthwise 3x3 96', kernel: 3, from: 96, to: 96, side: 80, group: 96 }),
        softmax(2400, 200),
        layerNormalization(200, 768),
    ];
}
