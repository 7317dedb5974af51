/** Photos to drop, several at a time, and how to wait for one of them. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { AVIF, PHOTO, dropFiles } from './harness.mjs';

/** @import { Page } from 'playwright-core' */
/** @import { TestFile, launch } from './harness.mjs' */
/** @typedef {Pick<ReturnType<typeof launch>, 'open'>} Started */

/** By name, of different sizes. @type {Record<string, TestFile>} */
export const files = await read();

async function read() {
    /** @type {Record<string, TestFile>} */
    const found = {};
    const example = (/** @type {string} */ name) => fileURLToPath(new URL(`../../www/examples/${name}`, import.meta.url));
    const sources = { 'cat.png': PHOTO, 'kitten.avif': AVIF, 'coffee.jpg': example('coffee.jpg'), 'rocket.jpg': example('rocket.jpg') };
    for (const [name, path] of Object.entries(sources)) {
        found[name] = { name, bytes: await readFile(path), type: `image/${name.split('.')[1].replace('jpg', 'jpeg')}` };
    }
    // Of the same name but for its ending; what is in it is seen as it is read.
    found['coffee.png'] = { ...found['coffee.jpg'], name: 'coffee.png' };
    found['broken.jpg'] = { name: 'broken.jpg', bytes: Buffer.from('this is no picture'), type: 'image/jpeg' };
    found['notes.txt'] = { name: 'notes.txt', bytes: Buffer.from('cats'), type: 'text/plain' };
    return found;
}

/** @type {Record<string, [number, number]>} */
export const SIZES = { 'cat.png': [451, 300], 'kitten.avif': [226, 150], 'coffee.jpg': [600, 400] };

/** @param {Started} browser @param {string[]} names @param {Parameters<Started['open']>[1] & {classes?: string}} [options] */
export async function opened(browser, names, { classes = 'cat,wall', ...options } = {}) {
    const zeg = await browser.open(`?engine=cpu&classes=${encodeURIComponent(classes)}`, options);
    await zeg.state('ready');
    await dropFiles(zeg.page, names.map((name) => files[name]));
    return zeg;
}

/** Waits for the result of a photo of this width. @param {Page} page @param {string} name */
export async function shown(page, name) {
    await page.waitForFunction(([text, width]) => document.getElementById('position')?.textContent?.endsWith(` ${text}`)
        && document.getElementById('status')?.dataset.state === 'done'
        && /** @type {any} */ (globalThis).seen.results.at(-1)?.width === width, /** @type {const} */ ([name, SIZES[name][0]]));
    const canvas = await page.evaluate(() => {
        const { width, height } = /** @type {HTMLCanvasElement} */ (document.getElementById('photo'));
        return [width, height];
    });
    assert.deepEqual(canvas, SIZES[name]);
}

/** What the page saves of the photo that is shown. @param {Page} page @param {string} kind */
export async function savedOne(page, kind) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(`[data-kind="${kind}"]`)]);
    return readFile(await download.path());
}

/** Width and height in a PNG's header. @param {Buffer} png */
export const sizeOf = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)];

/** @param {Page} page */
export const position = (page) => page.textContent('#position');
