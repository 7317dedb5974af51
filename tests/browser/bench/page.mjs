/** In the browser: the engines' workers, and what each put out for the present row. */

import { disagreement } from './compare.mjs';

/** @import { Input } from './operators.mjs' */
/** @import { Output } from './worker.mjs' */

/** The present row. @type {{model: Uint8Array, inputs: Input[]}} */
let row = { model: new Uint8Array(), inputs: [] };

/** @type {Map<string, Worker>} */
const workers = new Map();
/** @type {Map<string, Output[]>} */
const outputs = new Map();

/** @param {string} engine @param {string} call @param {unknown} [argument] @returns {Promise<any>} */
function ask(engine, call, argument) {
    const worker = workers.get(engine);
    if (!worker) throw new Error(`${engine} is not open`);
    return new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => ('error' in data ? reject(new Error(data.error)) : resolve(data.value));
        worker.onerror = (event) => reject(new Error(event.message || 'the worker could not be started'));
        worker.postMessage({ call, argument });
    });
}

/** Starts an engine. @param {string} engine */
export async function open(engine) {
    workers.set(engine, new Worker(new URL('./worker.mjs', import.meta.url), { type: 'module' }));
    await ask(engine, 'open', engine);
}

/**
 * Takes row `at` from the server. Its weights become f32 here, once and for all engines alike: onnxruntime-web would unpack
 * int8 anew in each run.
 *
 * @param {number} at
 * @param {{name: string, shape: number[]}[]} ends
 */
export async function take(at, ends) {
    /** @param {string} name */
    const bytes = async (name) => {
        const answer = await fetch(new URL(`../rows/${at}/${name}`, import.meta.url));
        if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
        return answer.arrayBuffer();
    };
    const wasm = await import(new URL('../www/wasm/zegformer.js', import.meta.url).href);
    await wasm.default();
    const model = wasm.widenWeights(new Uint8Array(await bytes('model.onnx')));
    const inputs = await Promise.all(ends.map(async ({ name, shape }) => ({ name, shape, data: new Float32Array(await bytes(name)) })));
    row = { model, inputs };
}

/** Loads the row and runs it once; keeps the outputs. @param {string} engine */
export async function cold(engine) {
    const { outputs: found, ...said } = await ask(engine, 'cold', row);
    outputs.set(engine, found);
    return said;
}

/** What is wrong with each engine's outputs; empty where all is well. @returns {Record<string, string>} */
export function verdicts() {
    return disagreement(outputs);
}

/** @param {string} engine @returns {Promise<number>} milliseconds */
export const warm = (engine) => ask(engine, 'warm');

/** Forgets the row. */
export async function free() {
    outputs.clear();
    for (const engine of workers.keys()) await ask(engine, 'free').catch(() => {});
}
