/** What the benchmark believes. It runs no engine here. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { disagreement } from './bench/compare.mjs';
import { operatorRows } from './bench/operators.mjs';
import { median } from './bench/report.mjs';
import { ends } from './onnx.mjs';

/** @param {...number} values */
const output = (...values) => [{ name: 'y', shape: [values.length], data: new Float32Array(values) }];

test('rounding is no disagreement', () => {
    const outputs = new Map([['webgpu', output(1, 100)], ['cpu', output(1.0001, 100)], ['ort-wasm-1', output(1, 100.01)]]);
    assert.deepEqual(disagreement(outputs), {});
});

test('the engine that stands alone is wrong', () => {
    const outputs = new Map([['webgpu', output(1, 101)], ['cpu', output(1, 100)], ['ort-wasm-1', output(1, 100)]]);
    assert.deepEqual(Object.keys(disagreement(outputs)), ['webgpu']);
});

test('of two engines that differ none is believed', () => {
    assert.deepEqual(Object.keys(disagreement(new Map([['webgpu', output(0)], ['cpu', output(1)]]))), ['webgpu', 'cpu']);
});

test('what is not a number, has another shape or another name is wrong', () => {
    const right = output(1, 2);
    for (const wrong of [output(1, NaN), output(1), [{ ...right[0], name: 'z' }], []]) {
        const outputs = new Map([['webgpu', wrong], ['cpu', right], ['ort-wasm-1', right]]);
        assert.deepEqual(Object.keys(disagreement(outputs)), ['webgpu']);
    }
});

test('medians', () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1]), 2.5);
});

test('the rows of operators are models with the inputs that they are fed', () => {
    for (const { row, model, inputs } of operatorRows()) {
        assert.deepEqual(ends(model).inputs, inputs.map(({ name }) => name), row);
    }
});
