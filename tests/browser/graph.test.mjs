/** A single graph through the wasm module, on both engines: right numbers, and a sentence for what cannot run. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SUITE_MS, TEST_MS, openModule, start } from './harness.mjs';
import { writeModel } from './onnx.mjs';

/** relu(x · w + b) for any number of rows. */
const MODEL = writeModel({
    nodes: [
        { operator: 'MatMul', inputs: ['x', 'w'], output: 'product' },
        { operator: 'Add', inputs: ['product', 'b'], output: 'sum' },
        { operator: 'Relu', inputs: ['sum'], output: 'y' },
    ],
    inputs: [{ name: 'x', shape: ['rows', 3] }],
    outputs: [{ name: 'y', shape: ['rows', 2] }],
    weights: [
        { name: 'w', shape: [3, 2], data: new Float32Array([1, -1, 2, 0, -3, 0.5]) },
        { name: 'b', shape: [2], data: new Float32Array([0.25, 1]) },
    ],
});
const X = { name: 'x', shape: [2, 3], values: [1, 2, 3, -1, 4, 0.5] };
const Y = [{ name: 'y', shape: [2, 2], values: [0, 1.5, 5.75, 2.25] }];

/** @type {Awaited<ReturnType<typeof start>>} */
let browser;
/** @type {import('playwright-core').Page} */
let page;

before(async () => {
    browser = await start({ webgpu: true });
    page = await openModule(browser);
});
after(() => browser.stop());

/**
 * Loads and runs a model in the page; an error comes as its text.
 *
 * @param {string} engine
 * @param {Uint8Array} model
 * @param {{name: string, shape: number[], values: number[]}[]} inputs
 * @param {{widen?: boolean}} [options]
 */
function run(engine, model, inputs, { widen = false } = {}) {
    return page.evaluate(async ([kind, bytes, given, first]) => {
        const { OnnxGraph, widenWeights } = /** @type {any} */ (globalThis).wasm;
        try {
            const content = new Uint8Array(/** @type {number[]} */ (bytes));
            const graph = await OnnxGraph.load(first ? widenWeights(content) : content, kind);
            const fed = /** @type {{name: string, shape: number[], values: number[]}[]} */ (given);
            const results = await graph.run(fed.map(({ name, shape, values }) => ({ name, shape, data: new Float32Array(values) })));
            graph.free();
            return results.map((/** @type {any} */ { name, shape, data }) => ({ name, shape, values: [...data] }));
        } catch (error) {
            return error instanceof Error ? error.message : String(error);
        }
    }, [engine, [...model], inputs, widen]);
}

for (const engine of ['cpu', 'webgpu']) {
    describe(`a graph on ${engine}`, { timeout: SUITE_MS }, () => {
        test('gives right numbers', async () => {
            assert.deepEqual(await run(engine, MODEL, [X]), Y);
        });

        test('gives the same with its weights widened first', async () => {
            assert.deepEqual(await run(engine, MODEL, [X], { widen: true }), Y);
        });

        test('takes another number of rows', async () => {
            const found = await run(engine, MODEL, [{ name: 'x', shape: [1, 3], values: X.values.slice(3) }]);
            assert.deepEqual(found, [{ name: 'y', shape: [1, 2], values: [5.75, 2.25] }]);
        });

        test('says what is wrong with a file that is no graph', async () => {
            assert.match(await run(engine, new Uint8Array([1, 2, 3]), [X]), /^the graph file is damaged or not ONNX/);
        });

        test('says which operator it does not know', async () => {
            const model = writeModel({
                nodes: [{ operator: 'Frobnicate', inputs: ['x'], output: 'y' }],
                inputs: [{ name: 'x', shape: [1] }],
                outputs: [{ name: 'y', shape: [1] }],
            });
            assert.match(await run(engine, model, [{ name: 'x', shape: [1], values: [1] }]), /Frobnicate/);
        });

        test('says which input is missing', async () => {
            assert.equal(await run(engine, MODEL, []), 'the graph needs an input called "x"');
        });

        test('refuses numbers that do not fill the shape', async () => {
            assert.match(await run(engine, MODEL, [{ ...X, shape: [2, 4] }]), /6 values do not fill a tensor of shape \[2, 4\]/);
        });
    });
}

/** Rows of a table, at places that come with the data. */
const PICKED = writeModel({
    nodes: [
        { operator: 'Cast', inputs: ['at'], output: 'place', attributes: { to: 7 } },
        { operator: 'Gather', inputs: ['table', 'place'], output: 'y' },
    ],
    inputs: [{ name: 'at', shape: [4] }],
    outputs: [{ name: 'y', shape: [4, 2] }],
    weights: [{ name: 'table', shape: [3, 2], data: new Float32Array([1, 2, 3, 4, 5, 6]) }],
});

test('what is not in the table is no number on webgpu, an error on the CPU', { timeout: TEST_MS }, async () => {
    /** @param {number[]} values */
    const at = (values) => [{ name: 'at', shape: [4], values }];
    for (const engine of ['cpu', 'webgpu']) {
        assert.deepEqual(await run(engine, PICKED, at([2, 0, -1, -3])), [{ name: 'y', shape: [4, 2], values: [5, 6, 1, 2, 5, 6, 1, 2] }]);
    }
    assert.deepEqual(await run('webgpu', PICKED, at([2, 3, -4, 0])), [{ name: 'y', shape: [4, 2], values: [5, 6, NaN, NaN, NaN, NaN, 1, 2] }]);
    assert.match(await run('cpu', PICKED, at([2, 3, -4, 0])), /^the CPU engine failed/);
});

/** x · w, both fed; and with the first transposed, which is read down its columns. */
const SIDES = [{ name: 'x', shape: ['rows', 'depth'] }, { name: 'w', shape: ['depth', 'columns'] }];
const PRODUCTS = [
    { nodes: [{ operator: 'MatMul', inputs: ['x', 'w'], output: 'y' }], inputs: SIDES },
    {
        nodes: [{ operator: 'Gemm', inputs: ['x', 'w'], output: 'y', attributes: { transA: 1 } }],
        inputs: [{ name: 'x', shape: ['depth', 'rows'] }, SIDES[1]],
    },
].map(({ nodes, inputs }) => writeModel({ nodes, inputs, outputs: [{ name: 'y', shape: ['rows', 'columns'] }] }));

// The matrix kernel of wasm has tiles of 5 rows and 8 columns, blocks of 64 rows and 256 steps.
test('products of any size on the CPU', { timeout: TEST_MS }, async () => {
    const { checked, worst } = await page.evaluate(async (models) => {
        const { OnnxGraph } = /** @type {any} */ (globalThis).wasm;
        /** @param {number} length @param {number} step */
        const values = (length, step) => Float32Array.from({ length }, (_, at) => (at * step % 23 - 11) / 16);
        let most = { off: 0, size: '' };
        let sizes = 0;
        for (const [transposed, bytes] of models.entries()) {
            const graph = await OnnxGraph.load(new Uint8Array(bytes), 'cpu');
            for (const rows of [1, 2, 3, 4, 5, 6, 9, 10, 64, 66, 131]) {
                for (const columns of [1, 3, 7, 8, 9, 16, 21]) {
                    for (const depth of [1, 2, 255, 256, 257, 515]) {
                        const [x, w] = [values(rows * depth, 7), values(depth * columns, 5)];
                        const [{ data }] = await graph.run([
                            { name: 'x', shape: transposed ? [depth, rows] : [rows, depth], data: x },
                            { name: 'w', shape: [depth, columns], data: w },
                        ]);
                        let off = data.length === rows * columns ? 0 : Infinity;
                        for (let row = 0; row < rows; row++) {
                            for (let column = 0; column < columns; column++) {
                                let sum = 0;
                                for (let k = 0; k < depth; k++) sum += x[transposed ? k * rows + row : row * depth + k] * w[k * columns + column];
                                off = Math.max(off, Math.abs(data[row * columns + column] - sum));
                            }
                        }
                        if (!(off <= most.off)) most = { off, size: `${rows}x${depth}x${columns}, transposed: ${transposed}` };
                        sizes += 1;
                    }
                }
            }
            graph.free();
        }
        return { checked: sizes, worst: most };
    }, PRODUCTS.map((model) => [...model]));
    assert.equal(checked, 2 * 11 * 7 * 6);
    // Every sum is a multiple of 1/256 that f32 holds exactly.
    assert.equal(worst.off, 0, `off by ${worst.off} at ${worst.size}`);
});

/** softmax(x · w) with weights that f16 holds exactly, and rows and products large enough for the kernels of graphics cards. */
const LARGE = writeModel({
    nodes: [
        { operator: 'MatMul', inputs: ['x', 'w'], output: 'product' },
        { operator: 'Softmax', inputs: ['product'], output: 'y' },
    ],
    inputs: [{ name: 'x', shape: ['rows', 96] }],
    outputs: [{ name: 'product', shape: ['rows', 256] }, { name: 'y', shape: ['rows', 256] }],
    weights: [{ name: 'w', shape: [96, 256], data: Float32Array.from({ length: 96 * 256 }, (_, at) => (at * 37 % 129 - 64) / 256) }],
});

describe('a graph on webgpu as on a graphics card', { timeout: SUITE_MS }, () => {
    test('gives the numbers of the CPU, by subgroups and with weights in f16', async () => {
        const { off, tuning } = await page.evaluate(async (bytes) => {
            const { OnnxGraph } = /** @type {any} */ (globalThis).wasm;
            const model = new Uint8Array(bytes);
            const input = { name: 'x', shape: [520, 96], data: Float32Array.from({ length: 520 * 96 }, (_, at) => (at * 53 % 101 - 50) / 64) };
            const [onCpu, onCard] = [await OnnxGraph.load(model, 'cpu'), await OnnxGraph.loadForCard(model)];
            const [wanted, found] = [await onCpu.run([input]), await onCard.run([input])];
            const apart = wanted.map((/** @type {any} */ { data }, /** @type {number} */ at) => data.reduce(
                (/** @type {number} */ worst, /** @type {number} */ value, /** @type {number} */ place) => Math.max(worst, Math.abs(found[at].data[place] - value)), 0));
            return { off: apart, tuning: onCard.tuning };
        }, [...LARGE]);
        assert.match(tuning, /software: false, subgroups: true, half: true/);
        assert.equal(off.length, 2);
        assert.ok(Math.max(...off) < 1e-4, `off by ${off}`);
    });
});

/** A product and a convolution, both large enough for the blocks of cards and odd at their ends. */
const CONVOLUTION = writeModel({
    nodes: [
        { operator: 'Conv', inputs: ['x', 'w'], output: 'image', attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] } },
        { operator: 'MatMul', inputs: ['rows', 'v'], output: 'product' },
    ],
    inputs: [{ name: 'x', shape: [1, 64, 33, 35] }, { name: 'rows', shape: [521, 67] }],
    outputs: [{ name: 'image', shape: [1, 130, 33, 35] }, { name: 'product', shape: [521, 259] }],
    weights: [
        { name: 'w', shape: [130, 64, 3, 3], data: Float32Array.from({ length: 130 * 64 * 9 }, (_, at) => (at * 37 % 129 - 64) / 1024) },
        { name: 'v', shape: [67, 259], data: Float32Array.from({ length: 67 * 259 }, (_, at) => (at * 41 % 127 - 63) / 256) },
    ],
});

describe('what cards choose from', { timeout: SUITE_MS }, () => {
    // Browsers have compilers of their own, stricter than the native one.
    for (const [block, winograd] of /** @type {[number, boolean][]} */ (Array.from({ length: 8 }, (_, at) => [at, at % 2 === 1]))) {
        test(`block ${block}${winograd ? ', by Winograd’s transforms' : ''}`, async () => {
            const [image, product] = await page.evaluate(async ([bytes, number, transforms]) => {
                const { OnnxGraph } = /** @type {any} */ (globalThis).wasm;
                const model = new Uint8Array(bytes);
                const filled = (/** @type {string} */ name, /** @type {number[]} */ shape) => ({
                    name, shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, at) => (at * 53 % 101 - 50) / 64),
                });
                const inputs = [filled('x', [1, 64, 33, 35]), filled('rows', [521, 67])];
                const [onCpu, onCard] = [await OnnxGraph.load(model, 'cpu'), await OnnxGraph.loadForCard(model, number, transforms)];
                const [wanted, found] = [await onCpu.run(inputs), await onCard.run(inputs)];
                for (const graph of [onCpu, onCard]) graph.free();
                return wanted.map((/** @type {any} */ { data }, /** @type {number} */ at) => data.reduce(
                    (/** @type {number} */ worst, /** @type {number} */ value, /** @type {number} */ place) => Math.max(worst, Math.abs(found[at].data[place] - value)), 0));
            }, /** @type {const} */ ([[...CONVOLUTION], block, winograd]));
            assert.ok(image < 1e-3 && product < 1e-4, `off by ${image} and ${product}`);
        });
    }

    test('is measured', async (t) => {
        const tuning = await page.evaluate(() => /** @type {any} */ (globalThis).wasm.OnnxGraph.measureAsCard());
        t.diagnostic(tuning);
        assert.match(tuning, /^Tuning \{ software: false, .*few: Block \{.*many: Block \{/);
    });
});

test('a kernel that does not compile is told by its node', { timeout: TEST_MS }, async () => {
    const said = await page.evaluate(async (bytes) => {
        const { OnnxGraph } = /** @type {any} */ (globalThis).wasm;
        const graph = await OnnxGraph.loadBroken(new Uint8Array(bytes));
        try {
            await graph.run([{ name: 'x', shape: [520, 96], data: new Float32Array(520 * 96) }]);
            return 'it ran';
        } catch (error) {
            return error instanceof Error ? error.message : String(error);
        } finally {
            graph.free();
        }
    }, [...LARGE]);
    assert.match(said, /^the shader of node "product \(MatMul\)" does not compile: .*array/s);
});

test('pipelines are made beside each other; one that is refused is told by its node, and made by the next run', { timeout: TEST_MS }, async () => {
    const { said, alone, most, finite } = await page.evaluate(async (bytes) => {
        const world = /** @type {any} */ (globalThis);
        const { createComputePipeline, createComputePipelineAsync } = world.GPUDevice.prototype;
        const seen = { alone: 0, now: 0, most: 0 };
        world.GPUDevice.prototype.createComputePipeline = function one(/** @type {any} */ description) {
            seen.alone += 1;
            return createComputePipeline.call(this, description);
        };
        let refuses = true;
        world.GPUDevice.prototype.createComputePipelineAsync = async function many(/** @type {any} */ description) {
            seen.most = Math.max(seen.most, ++seen.now);
            const pipeline = await createComputePipelineAsync.call(this, description);
            seen.now -= 1;
            if (refuses) throw new DOMException('too many threads', 'GPUPipelineError');
            return pipeline;
        };
        const graph = await world.wasm.OnnxGraph.load(new Uint8Array(bytes), 'webgpu');
        const run = () => graph.run([{ name: 'x', shape: [520, 96], data: new Float32Array(520 * 96).fill(1) }]);
        try {
            const refused = await run().then(() => 'it ran', (/** @type {any} */ error) => String(error.message ?? error));
            refuses = false;
            const [{ data }] = await run();
            return { said: refused, ...seen, finite: data.length > 0 && data.every(Number.isFinite) };
        } finally {
            Object.assign(world.GPUDevice.prototype, { createComputePipeline, createComputePipelineAsync });
            graph.free();
        }
    }, [...LARGE]);
    assert.match(said, /^the shader of node "[^"]+ \(\w+\)" does not compile: too many threads/);
    assert.equal(alone, 0, 'some were made one after the other');
    assert.ok(most > 1, `at most ${most} at a time`);
    assert.ok(finite);
});

test('a graph that is freed gives all its buffers back', { timeout: TEST_MS }, async () => {
    const { count, left } = await page.evaluate(async (bytes) => {
        const world = /** @type {any} */ (globalThis);
        const { createBuffer } = world.GPUDevice.prototype;
        const { destroy } = world.GPUBuffer.prototype;
        const made = new Set();
        let all = 0;
        world.GPUDevice.prototype.createBuffer = function create(/** @type {any} */ description) {
            const buffer = createBuffer.call(this, description);
            made.add(buffer);
            all += 1;
            return buffer;
        };
        world.GPUBuffer.prototype.destroy = function gone() {
            made.delete(this);
            return destroy.call(this);
        };
        try {
            const graph = await world.wasm.OnnxGraph.load(new Uint8Array(bytes), 'webgpu');
            for (const rows of [3, 5, 3, 7, 9, 11]) {
                await graph.run([{ name: 'x', shape: [rows, 96], data: new Float32Array(rows * 96) }]);
            }
            graph.free();
        } finally {
            world.GPUDevice.prototype.createBuffer = createBuffer;
            world.GPUBuffer.prototype.destroy = destroy;
        }
        return { count: all, left: [...made].map(({ label, size, usage }) => `${label}: ${size} bytes, usage ${usage}`) };
    }, [...LARGE]);
    assert.ok(count >= 5 * 3, `only ${count} buffers were made`);
    assert.deepEqual(left, []);
});
