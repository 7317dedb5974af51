/** The page itself, from a visit to a result, and each stage of a run. */

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { PHOTO } from '../harness.mjs';
import { failed, timed } from './report.mjs';

/** @import { Page } from 'playwright-core' */
/** @import { Result } from './report.mjs' */
/** @typedef {{ms: number, wall: number, stages: Record<string, number>}} Run */

const OTHER_PHOTO = fileURLToPath(new URL('../../../www/examples/coffee.jpg', import.meta.url));
/** PASCAL VOC's. */
const TWENTY_NAMES = 'airplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse, motorcycle, '
    + 'person, potted plant, sheep, sofa, train, tv';
/** Some of these have no masks in the default model's training. */
const WITHOUT_MASKS = 'airplane, saucer, bird, espresso, bottle, coffee, car, a ginger cat, chair, cow, a wooden table, dog, horse, fur, '
    + 'person, eye, sheep, nose, train, tv';
const STAGES = ['segmenter', 'text', 'crops', 'classify', 'compose'];

/**
 * Runs once and gives the stages' milliseconds.
 *
 * @param {Page} page
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

/** @param {Page} page @param {string} file @returns {Promise<{name: string, mimeType: string, buffer: Buffer}>} at 640 x 480 */
async function resized(page, file) {
    const bytes = [...await readFile(file)];
    const png = await page.evaluate(async (given) => {
        const bitmap = await createImageBitmap(new Blob([new Uint8Array(given)]));
        const canvas = new OffscreenCanvas(640, 480);
        canvas.getContext('2d')?.drawImage(bitmap, 0, 0, 640, 480);
        return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
    }, bytes);
    return { name: 'photo.png', mimeType: 'image/png', buffer: Buffer.from(png) };
}

/**
 * @param {Awaited<ReturnType<typeof import('../harness.mjs').start>>} browser
 * @param {string} engine
 * @param {number} runs
 * @returns {Promise<Result[]>}
 */
export async function timePage(browser, engine, runs) {
    // A context of its own has an empty cache.
    const context = await browser.browser.newContext();
    try {
        browser.server.sent.clear();
        const opened = performance.now();
        const { page, ...zeg } = await browser.open(`?engine=${engine}&classes=${encodeURIComponent('cat, sofa | couch, wall')}`, { context });
        await zeg.state('ready');
        const found = await page.locator('#status').getAttribute('data-engine');
        if (found !== engine) return [failed('page to the first overlay', engine, 'the page has no such engine here')];
        const overlay = page.waitForFunction(() => {
            const { previews, results } = /** @type {any} */ (globalThis).seen;
            return previews.length + results.length > 0;
        }).then(() => performance.now() - opened);
        const cold = await once(page, () => page.setInputFiles('#file', PHOTO));
        const firstResult = performance.now() - opened;
        const firstOverlay = await overlay;
        const bytes = [...browser.server.sent.values()].reduce((sum, size) => sum + size, 0);
        console.error(`page on ${engine}: ${(bytes / 1e6).toFixed(1)} MB served to the first result, uncompressed`);
        /** @type {Run[]} */
        const photos = [];
        /** @type {Run[]} */
        const names = [];
        for (let run = 0; run < runs; run++) {
            photos.push(await once(page, () => page.setInputFiles('#file', run % 2 === 0 ? OTHER_PHOTO : PHOTO)));
        }
        // The first name loads the text graph.
        for (let run = 0; run <= runs; run++) {
            names.push(await once(page, () => page.fill('#classes', `striped thing number ${run},`)));
        }
        const [firstName, ...laterNames] = names;
        await once(page, () => page.fill('#classes', TWENTY_NAMES));
        const large = [await resized(page, OTHER_PHOTO), await resized(page, PHOTO)];
        /** @type {Run[]} */
        const larges = [];
        // The first one has a new size.
        for (let run = 0; run <= runs; run++) {
            larges.push(await once(page, () => page.setInputFiles('#file', large[run % 2])));
        }
        const firstMixed = await once(page, () => page.fill('#classes', WITHOUT_MASKS));
        /** @type {Run[]} */
        const mixed = [];
        for (let run = 0; run < runs; run++) {
            mixed.push(await once(page, () => page.setInputFiles('#file', large[run % 2])));
        }
        const [firstLarge, ...laterLarges] = larges;
        return [
            timed('page to the first overlay', engine, firstOverlay, photos.map(({ wall }) => wall)),
            timed('page to the first result', engine, firstResult, photos.map(({ wall }) => wall)),
            timed('another photo', engine, cold.ms, photos.map(({ ms }) => ms)),
            timed('another photo, 640x480, 20 names', engine, firstLarge.ms, laterLarges.map(({ ms }) => ms)),
            timed('another photo, 640x480, 20 names, some without masks', engine, firstMixed.ms, mixed.map(({ ms }) => ms)),
            timed('another name', engine, firstName.ms, laterNames.map(({ ms }) => ms)),
            ...STAGES.map((stage) => {
                const [first, later] = stage === 'text' ? [firstName, laterNames] : [cold, photos];
                return timed(`stage ${stage}`, engine, first.stages[stage] ?? 0, later.map(({ stages }) => stages[stage] ?? 0));
            }),
        ];
    } catch (error) {
        return [failed('page to the first overlay', engine, error)];
    } finally {
        await context.close();
    }
}
