/** Results and how they are shown. */

import { cpus } from 'node:os';

/** Milliseconds; `error` stands in the place of times. @typedef {{row: string, engine: string, cold_ms: number | null, warm_ms: number | null, runs: number, error?: string}} Result */

/** @param {number[]} values */
export function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @param {number} value */
const rounded = (value) => Math.round(value * 100) / 100;

/** @param {string} row @param {string} engine @param {number} cold @param {number[]} warm @returns {Result} */
export function timed(row, engine, cold, warm) {
    return { row, engine, cold_ms: rounded(cold), warm_ms: rounded(median(warm)), runs: warm.length };
}

/** @param {string} row @param {string} engine @param {unknown} error @returns {Result} */
export function failed(row, engine, error) {
    const text = error instanceof Error ? error.message.replace(/^page\.evaluate: Error: /, '').split('\n    at ')[0] : String(error);
    return { row, engine, cold_ms: null, warm_ms: null, runs: 0, error: text };
}

/** @param {Result[]} results @param {string} row @param {string} one @param {string} other how many times as long `other` takes */
function ratio(results, row, one, other) {
    const time = (/** @type {string} */ engine) => results.find((result) => result.row === row && result.engine === engine)?.warm_ms;
    const [ours, theirs] = [time(one), time(other)];
    return ours && theirs ? `${(theirs / ours).toFixed(1)}x` : '';
}

/** One line for each row and engine, then how the engines compare. @param {Result[]} results */
export function print(results) {
    const width = Math.max(...results.map(({ row }) => row.length)) + 2;
    console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} threads`);
    console.log(`${'row'.padEnd(width)}${'engine'.padEnd(14)}${'cold ms'.padStart(10)}${'warm ms'.padStart(10)}${'runs'.padStart(6)}`);
    for (const { row, engine, cold_ms, warm_ms, runs, error } of results) {
        const times = error ?? `${String(cold_ms).padStart(10)}${String(warm_ms).padStart(10)}${String(runs).padStart(6)}`;
        console.log(`${row.padEnd(width)}${engine.padEnd(14)}${times}`);
    }
    const rows = [...new Set(results.filter(({ engine }) => engine.startsWith('ort-')).map(({ row }) => row))];
    if (rows.length === 0) return;
    console.log(`\n${'ours is faster by (warm)'.padEnd(width)}${'webgpu : ort-webgpu'.padStart(22)}${'cpu : ort-wasm-1'.padStart(22)}${'cpu-n : ort-wasm-n'.padStart(22)}`);
    for (const row of rows) {
        const pairs = [['webgpu', 'ort-webgpu'], ['cpu', 'ort-wasm-1'], ['cpu-n', 'ort-wasm-n']];
        console.log(row.padEnd(width) + pairs.map(([one, other]) => ratio(results, row, one, other).padStart(22)).join(''));
    }
}
