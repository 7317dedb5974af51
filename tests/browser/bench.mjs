/**
 * Times our engines and onnxruntime-web side by side in one browser, on the same models and inputs, and the page itself:
 * cold start, then warm medians.
 *
 *     node tests/browser/bench.mjs [--runs N] [--out FILE] [--gpu] [--only ROW]...
 *
 * Writes a list of {row, engine, cold_ms, warm_ms, runs, error?}. `--only` takes the rows whose names contain ROW; `page` are
 * the timings of the page. Without --gpu, WebGPU runs on Chromium's software adapter, whose figures say nothing of a graphics
 * card's speed.
 */

import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PATIENCE_MS, start } from './harness.mjs';
import { graphRows } from './bench/graphs.mjs';
import { operatorRows } from './bench/operators.mjs';
import { print } from './bench/report.mjs';
import { timePage } from './bench/stages.mjs';
import { openEngines, timeRow } from './bench/timing.mjs';

/** @import { Row } from './bench/operators.mjs' */
/** @import { Result } from './bench/report.mjs' */

/** @param {string} path from the repository's root */
const inRepository = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

const { values: given } = parseArgs({
    options: {
        runs: { type: 'string', default: '5' },
        out: { type: 'string', default: inRepository('bench.json') },
        gpu: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true, default: [] },
    },
});
const RUNS = Number(given.runs);
if (!(Number.isInteger(RUNS) && RUNS > 0)) throw new Error(`--runs takes a whole number from 1, not ${given.runs}`);

/** @param {string} row */
const wanted = (row) => given.only.length === 0 || given.only.some((part) => row.includes(part));

const mounts = { 'bench/': inRepository('tests/browser/bench/'), 'ort/': inRepository('node_modules/onnxruntime-web/dist/') };
const browser = await start({ webgpu: !given.gpu, gpu: given.gpu, serving: { isolated: true, mounts } });

/** @param {Row[]} rows */
function serveRows(rows) {
    browser.server.intercept = (path) => {
        if (path === 'rows/') return { type: 'text/html', body: Buffer.from('<!doctype html><title>rows</title>') };
        const [, at, name] = path.match(/^rows\/(\d+)\/(.+)$/) ?? [];
        const row = rows[Number(at)];
        const data = row?.inputs.find((input) => input.name === name)?.data;
        const body = name === 'model.onnx' ? row?.model : data && new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        return body && { body };
    };
}

/** @returns {Promise<Result[]>} */
async function timeRows() {
    const page = await browser.browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    serveRows([]);
    await page.goto(`${browser.server.url}rows/`);
    const rows = [...operatorRows(), ...await graphRows(page, inRepository('models/zegformer-lite'))].filter(({ row }) => wanted(row));
    if (rows.length === 0) return [];
    serveRows(rows);
    await page.evaluate(async () => {
        Object.assign(globalThis, { bench: await import(new URL('../bench/page.mjs', location.href).href) });
    });
    const absent = await openEngines(page);
    const results = [];
    for (const [at, row] of rows.entries()) results.push(...await timeRow(page, row, at, { runs: RUNS, absent }));
    await page.close();
    browser.server.intercept = () => undefined;
    return results;
}

/** @type {Result[]} */
const results = [];
try {
    results.push(...await timeRows());
    if (wanted('page')) {
        for (const engine of ['cpu', 'webgpu']) results.push(...await timePage(browser, engine, RUNS));
    }
} finally {
    await browser.stop();
}
if (results.length === 0) throw new Error(`no row is called ${given.only.join(' or ')}`);
print(results);
await writeFile(given.out, `${JSON.stringify(results, null, 1)}\n`);
