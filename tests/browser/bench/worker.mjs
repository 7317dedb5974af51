/**
 * One engine in a worker of its own, in the browser. It is told `{call, argument}` and answers `{value}` or `{error}`.
 * Times are those of the engine alone: the model's bytes and the inputs are there before.
 */

/** @import { Input } from './operators.mjs' */

/**
 * @typedef {{name: string, shape: number[], data: Float32Array}} Output
 * @typedef {{run(inputs: Input[]): Promise<Output[]>, free(): Promise<void>}} Loaded
 * @typedef {{load(model: Uint8Array): Promise<Loaded>, describe(): Promise<string>}} Engine
 */

/** Threads of onnxruntime-web's wasm: left alone it would take half of the processor's. @type {Record<string, number>} */
const ORT_THREADS = { 'ort-webgpu': 1, 'ort-wasm-1': 1, 'ort-wasm-n': navigator.hardwareConcurrency };

/** What WebGPU was asked to compute in this worker, by whichever engine. */
let dispatches = 0;

function countDispatches() {
    const { GPUComputePassEncoder } = /** @type {any} */ (globalThis);
    for (const name of GPUComputePassEncoder ? ['dispatchWorkgroups', 'dispatchWorkgroupsIndirect'] : []) {
        const original = GPUComputePassEncoder.prototype[name];
        /** @this {any} @param {...any} sizes */
        GPUComputePassEncoder.prototype[name] = function (...sizes) {
            dispatches += 1;
            return original.apply(this, sizes);
        };
    }
}

/** @param {string} kind @returns {Promise<Engine>} */
async function openOwn(kind) {
    const { startThreads, startWasm } = await import(new URL('../www/wasm-module.js', location.href).href);
    const started = await startWasm();
    const { wasm } = started;
    const threads = kind === 'cpu-n' ? await startThreads(started, () => {}) : 1;
    let adapter = '';
    return {
        async load(model) {
            const graph = await wasm.OnnxGraph.load(model, kind.replace('-n', ''));
            adapter = threads > 1 ? `${threads} threads` : graph.adapter;
            return { run: (inputs) => graph.run(inputs), free: async () => graph.free() };
        },
        describe: async () => adapter,
    };
}

/** @param {string} kind @returns {Promise<Engine>} */
async function openOrt(kind) {
    const provider = kind === 'ort-webgpu' ? 'webgpu' : 'wasm';
    const ort = await import(new URL(`../ort/ort.${provider}.min.mjs`, location.href).href);
    ort.env.wasm.numThreads = ORT_THREADS[kind];
    return {
        async load(model) {
            const session = await ort.InferenceSession.create(model, { executionProviders: [provider] });
            return {
                async run(inputs) {
                    const feeds = Object.fromEntries(inputs.map(({ name, shape, data }) => [name, new ort.Tensor('float32', data, shape)]));
                    const results = await session.run(feeds);
                    return session.outputNames.map((/** @type {string} */ name) => ({ name, shape: [...results[name].dims], data: results[name].data }));
                },
                free: () => session.release(),
            };
        },
        async describe() {
            if (provider === 'wasm') return `${ort.env.wasm.numThreads} threads`;
            const { vendor, architecture, description } = (await ort.env.webgpu.device).adapterInfo;
            return description || `${vendor} ${architecture}`;
        },
    };
}

/** @type {Engine | undefined} */
let engine;
/** @type {Loaded | undefined} */
let loaded;
/** @type {Input[]} */
let inputs = [];
let kind = '';

/** Runs once and says how long it took and what came out. */
async function run() {
    if (!loaded) throw new Error('no graph is loaded');
    const before = dispatches;
    const from = performance.now();
    const outputs = await loaded.run(inputs);
    const ms = performance.now() - from;
    // An engine that quietly fell back to the CPU would be timed under a wrong name.
    if (kind.endsWith('webgpu') && dispatches === before) throw new Error('nothing was computed on WebGPU');
    return { ms, dispatches: dispatches - before, outputs };
}

const calls = {
    /** @param {string} name */
    async open(name) {
        kind = name;
        countDispatches();
        engine = await (name.startsWith('ort-') ? openOrt(name) : openOwn(name));
    },
    /** Loads a row and runs it the first time. @param {{model: Uint8Array, inputs: Input[]}} row */
    async cold({ model, inputs: given }) {
        if (!engine) throw new Error('the engine is not there');
        inputs = given;
        const from = performance.now();
        loaded = await engine.load(model);
        const { outputs, dispatches: count } = await run();
        const ms = performance.now() - from;
        // The engine may reuse what it gave.
        return { ms, dispatches: count, adapter: await engine.describe(), outputs: outputs.map((output) => ({ ...output, data: output.data.slice() })) };
    },
    async warm() {
        return (await run()).ms;
    },
    async free() {
        await loaded?.free();
        loaded = undefined;
    },
};

globalThis.onmessage = async (/** @type {MessageEvent<{call: string, argument: any}>} */ { data: { call, argument } }) => {
    try {
        const value = await calls[/** @type {keyof typeof calls} */ (call)](argument);
        globalThis.postMessage({ value });
    } catch (error) {
        globalThis.postMessage({ error: error instanceof Error ? error.message : String(error) });
    }
};
