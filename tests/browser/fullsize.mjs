/**
 * Runs a bundle of full size in Chromium and tells what it takes: bytes, memory, time of each stage, how soon a stop works.
 *
 *     node tests/browser/fullsize.mjs FOLDER... [--engine cpu,webgpu] [--mode NAME] [--photo FILE] [--minutes N] [--gpu]
 *
 * FOLDER is a bundle, e.g. models/zegformer-r101. The page is dist/, which ./build.sh build makes. Without --gpu, WebGPU runs
 * on Chromium's software adapter, whose times say nothing of a graphics card. Memory is read from /proc, so on Linux only.
 */

import { mkdtemp, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { DIST, PHOTO, start } from './harness.mjs';

/** @import { Page, Worker } from 'playwright-core' */

const { values: given, positionals: folders } = parseArgs({
    allowPositionals: true,
    options: {
        engine: { type: 'string', default: 'cpu,webgpu' },
        mode: { type: 'string', default: '' },
        photo: { type: 'string', default: PHOTO },
        names: { type: 'string', default: 'cat, sofa | couch, wall' },
        minutes: { type: 'string', default: '20' },
        gpu: { type: 'boolean', default: false },
    },
});
const LIMIT_MS = Number(given.minutes) * 60_000;
const STAGES = ['segmenter', 'text', 'crops', 'classify', 'compose'];

/** A folder that serves as dist/ with one model, made of links. @param {string} bundle @param {string} name */
async function siteWith(bundle, name) {
    const site = await mkdtemp(join(tmpdir(), 'zegformer-fullsize-'));
    for (const part of ['index.html', 'sw.js', 'www']) await symlink(join(DIST, part), join(site, part));
    await mkdir(join(site, 'models'));
    await symlink(resolve(bundle), join(site, 'models', name));
    return site;
}

/**
 * The largest resident set that processes of a kind had so far, in MB; of all kinds by name.
 *
 * @param {import('playwright-core').Browser} browser
 */
async function peaks(browser) {
    const session = await browser.newBrowserCDPSession();
    const { processInfo } = /** @type {{processInfo: {id: number, type: string}[]}} */ (await session.send('SystemInfo.getProcessInfo'));
    await session.detach();
    /** @type {Record<string, number>} */
    const most = {};
    for (const { id, type } of processInfo) {
        const status = await readFile(`/proc/${id}/status`, 'utf8').catch(() => '');
        const kilobytes = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? NaN);
        most[type] = Math.max(most[type] ?? 0, kilobytes / 1e3);
    }
    return most;
}

/** Bytes of the module's memory, which never shrinks: the most it ever needed. @param {Page} page */
async function wasmBytes(page) {
    const worker = /** @type {Worker} */ (page.workers().at(-1));
    return worker.evaluate(async (url) => {
        const module = await import(url);
        // A second initialisation gives the exports of the first.
        return (await module.default()).memory.buffer.byteLength;
    }, new URL('www/wasm/zegformer.js', page.url()).href);
}

/** Notes what the status line says of bytes. @param {Page} page */
async function watchBytes(page) {
    await page.evaluate(() => {
        const line = /** @type {HTMLElement} */ (document.getElementById('status-text'));
        const said = new Set();
        Object.assign(globalThis, { said });
        new MutationObserver(() => {
            if (line.innerText.startsWith('Fetching the model')) said.add(line.innerText);
        }).observe(line, { childList: true, characterData: true, subtree: true });
    });
}

/** Waits for the end of a run; false if the time is over. @param {Page} page @param {number} results there were before */
async function ended(page, results) {
    const done = page.waitForFunction((before) => /** @type {any} */ (globalThis).seen.results.length > before
        || document.getElementById('status')?.dataset.state === 'error', results, { timeout: LIMIT_MS });
    if (!await done.then(() => true, () => false)) return false;
    const line = page.locator('#status');
    if (await line.getAttribute('data-state') === 'error') throw new Error(await line.innerText());
    return true;
}

/** Stops the run as soon as `stage` goes on for a second; milliseconds until the page says so. @param {Page} page @param {string} stage */
async function stopLatency(page, stage) {
    await page.waitForFunction((wanted) => {
        const { stages } = /** @type {any} */ (globalThis).seen;
        return stages.at(-1)?.stage === wanted && stages.at(-1)?.state !== 'done';
    }, stage, { timeout: LIMIT_MS });
    await page.waitForTimeout(1000);
    return page.evaluate(async () => {
        const line = /** @type {HTMLElement} */ (document.getElementById('status'));
        const from = performance.now();
        document.getElementById('stop')?.click();
        while (!line.innerText.startsWith('Stopped')) {
            if (performance.now() - from > 60_000 || line.dataset.state === 'done') return NaN;
            await new Promise((next) => setTimeout(next, 5));
        }
        return performance.now() - from;
    });
}

/** @param {string} bundle @param {string} engine */
async function measure(bundle, engine) {
    const name = basename(resolve(bundle)).toLowerCase().replaceAll(/[^a-z0-9-]/g, '-');
    const site = await siteWith(bundle, name);
    const chromium = await start({ webgpu: engine === 'webgpu' && !given.gpu, gpu: given.gpu, dist: site, onDisk: join(site, 'profile') });
    /** @type {Record<string, string>} */
    const row = { bundle: name, engine, mode: given.mode || 'own' };
    const seconds = (/** @type {number} */ ms) => (ms / 1e3).toFixed(ms < 1e4 ? 2 : 1);
    try {
        const query = new URLSearchParams({ model: name, engine, classes: given.names, ...given.mode ? { mode: given.mode } : {} });
        const { page, ...zeg } = await chromium.open(`?${query}`);
        await zeg.state('ready');
        row.engine = await page.locator('#status').getAttribute('data-engine') ?? '?';
        await watchBytes(page);
        const from = performance.now();
        await page.setInputFiles('#file', given.photo);
        const whole = await ended(page, 0);
        row['first photo, s'] = whole ? seconds(performance.now() - from) : `none in ${given.minutes} min`;
        row['MB fetched'] = ([...chromium.server.sent].filter(([path]) => path.startsWith('models/')).reduce((sum, [, size]) => sum + size, 0) / 1e6).toFixed(0);
        row['byte steps shown'] = String(await page.evaluate(() => /** @type {any} */ (globalThis).said.size));
        const heard = await zeg.stages();
        for (const stage of STAGES) {
            const end = heard.find((event) => event.stage === stage && event.state === 'done');
            row[`${stage}, s`] = end ? seconds(/** @type {any} */ (end).ms) : 'not reached';
        }
        row['crops'] = String(heard.findLast((event) => event.stage === 'crops' && event.state === 'progress')?.total ?? '');
        const memory = await peaks(chromium.browser);
        row['tab, peak MB'] = memory.renderer.toFixed(0);
        row['GPU process, peak MB'] = (memory['GPU'] ?? NaN).toFixed(0);
        if (whole) row['wasm, peak MB'] = (await wasmBytes(page) / 1e6).toFixed(0);
        for (const stage of ['segmenter', 'crops']) {
            if (!heard.some((event) => event.stage === stage && event.state === 'done')) continue;
            await zeg.forgetStages();
            await page.setInputFiles('#file', given.photo);
            row[`stop in ${stage}, ms`] = (await stopLatency(page, stage)).toFixed(0);
        }
        row['tab after all, peak MB'] = (await peaks(chromium.browser)).renderer.toFixed(0);
    } catch (error) {
        row.error = String(error).split('\n')[0];
    } finally {
        await chromium.stop();
        await rm(site, { recursive: true, force: true });
    }
    return row;
}

if (folders.length === 0) throw new Error('give the folder of a bundle, e.g. models/zegformer-r101');
console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} threads; ${basename(given.photo)}; ${given.names}`);
for (const folder of folders) {
    for (const engine of given.engine.split(',')) {
        for (const [key, value] of Object.entries(await measure(folder, engine))) console.log(`${key.padEnd(26)}${value}`);
        console.log('');
    }
}
