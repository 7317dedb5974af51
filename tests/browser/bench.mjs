/**
 * Times the page on each engine in one browser: cold start, then warm medians of each stage.
 *
 *     node tests/browser/bench.mjs [--runs N] [--out FILE] [--gpu]
 *
 * Writes a list of {row, engine, cold_ms, warm_ms, runs}. Without --gpu, WebGPU runs on Chromium's software adapter, whose
 * figures say nothing of a graphics card's speed.
 */

import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PHOTO, start } from './harness.mjs';

const { values: given } = parseArgs({
    options: {
        runs: { type: 'string', default: '5' },
        out: { type: 'string', default: fileURLToPath(new URL('../../bench.json', import.meta.url)) },
        gpu: { type: 'boolean', default: false },
    },
});
const RUNS = Number(given.runs);
const OTHER_PHOTO = fileURLToPath(new URL('../../www/examples/coffee.jpg', import.meta.url));
const STAGES = ['segmenter', 'text', 'crops', 'classify', 'compose'];

/** @param {number[]} values */
function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @typedef {{ms: number, wall: number, stages: Record<string, number>}} Run */

/**
 * Runs once and gives the stages' milliseconds.
 *
 * @param {import('playwright-core').Page} page
 * @param {() => Promise<unknown>} act
 * @returns {Promise<Run>}
 */
async function once(page, act) {
    const before = await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length);
    const from = performance.now();
    await act();
    await page.waitForFunction((count) => /** @type {any} */ (globalThis).seen.results.length > count
        || document.getElementById('status')?.dataset.state === 'error', before);
    const status = page.locator('#status');
    if (await status.getAttribute('data-state') === 'error') throw new Error(await status.innerText());
    const wall = performance.now() - from;
    const { ms, stages } = await page.evaluate(() => {
        const result = /** @type {any} */ (globalThis).seen.results.at(-1);
        return { ms: result.ms, stages: result.stages };
    });
    return { ms, wall, stages };
}

const browser = await start(given.gpu ? { gpu: true } : { webgpu: true });
/** @type {{row: string, engine: string, cold_ms: number, warm_ms: number, runs: number}[]} */
const rows = [];
try {
    for (const engine of ['cpu', 'webgpu']) {
        // A context of its own has an empty cache.
        const context = await browser.browser.newContext();
        const opened = performance.now();
        const { page, ...zeg } = await browser.open(`?engine=${engine}&classes=${encodeURIComponent('cat, sofa | couch, wall')}`, { context });
        await zeg.state('ready');
        const found = await page.locator('#status').getAttribute('data-engine');
        if (found !== engine) {
            console.error(`${engine}: not available here`);
            await context.close();
            continue;
        }
        const cold = await once(page, () => page.setInputFiles('#file', PHOTO));
        const firstOverlay = performance.now() - opened;
        const bytes = [...browser.server.sent.values()].reduce((sum, size) => sum + size, 0);
        browser.server.sent.clear();
        /** @type {Run[]} */
        const photos = [];
        /** @type {Run[]} */
        const names = [];
        for (let run = 0; run < RUNS; run++) {
            photos.push(await once(page, () => page.setInputFiles('#file', run % 2 === 0 ? OTHER_PHOTO : PHOTO)));
        }
        for (let run = 0; run < RUNS; run++) {
            names.push(await once(page, () => page.fill('#classes', `striped thing number ${run},`)));
        }
        /** @param {string} row @param {number} coldMs @param {number[]} warm */
        const add = (row, coldMs, warm) => rows.push({ row, engine, cold_ms: Math.round(coldMs), warm_ms: Math.round(median(warm) * 10) / 10, runs: RUNS });
        add('page to the first overlay', firstOverlay, photos.map(({ wall }) => wall));
        add('another photo', cold.ms, photos.map(({ ms }) => ms));
        add('another name', names[0].ms, names.slice(1).concat(names.length > 1 ? [] : names).map(({ ms }) => ms));
        for (const stage of STAGES) {
            const runs = stage === 'text' ? names : photos;
            add(`stage ${stage}`, cold.stages[stage] ?? 0, runs.map(({ stages }) => stages[stage] ?? 0));
        }
        console.error(`${engine}: ${(bytes / 1e6).toFixed(1)} MB served to the first overlay, uncompressed`);
        await context.close();
    }
} finally {
    await browser.stop();
}
console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} threads; medians of ${RUNS} runs`);
console.log(`${'row'.padEnd(28)}${'engine'.padEnd(10)}${'cold ms'.padStart(10)}${'warm ms'.padStart(10)}`);
for (const { row, engine, cold_ms, warm_ms } of rows) {
    console.log(`${row.padEnd(28)}${engine.padEnd(10)}${String(cold_ms).padStart(10)}${String(warm_ms).padStart(10)}`);
}
await writeFile(given.out, `${JSON.stringify(rows, null, 1)}\n`);
