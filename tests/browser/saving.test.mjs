/** What is saved is what is shown: contents, sizes, and after a run that was stopped. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { PHOTO, SUITE_MS, dropPainted, holdBack, launch } from './harness.mjs';

/** @import { Page } from 'playwright-core' */

const browser = launch();

/** @param {Page} page @param {string} selector */
async function saved(page, selector) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(selector)]);
    return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

/** @param {Page} page @param {string} kind */
const savedJson = async (page, kind) => JSON.parse((await saved(page, `[data-kind="${kind}"]`)).bytes.toString());

/** Width and height in a PNG's header. @param {Buffer} png */
const sizeOf = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)];

/** @param {Uint8Array} labels @param {number} label */
const count = (labels, label) => labels.filter((found) => found === label).length;

/** The pixels of an image file, RGBA. @param {Page} page @param {Buffer} bytes */
async function pixelsOf(page, bytes) {
    const text = await page.evaluate(async (base64) => {
        const file = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        const bitmap = await createImageBitmap(new Blob([file]));
        const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d'));
        context.drawImage(bitmap, 0, 0);
        const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
        let rgba = '';
        for (let at = 0; at < data.length; at += 32768) rgba += String.fromCharCode(...data.subarray(at, at + 32768));
        return btoa(rgba);
    }, bytes.toString('base64'));
    return Buffer.from(text, 'base64');
}

/** @param {Page} page */
const lastOptions = (page) => page.evaluate(() => /** @type {any} */ (globalThis).seen.results.at(-1).options);

describe('saving', { timeout: SUITE_MS }, () => {
    test('documents tell of the photo, the names and the map that is shown', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat|kitten,wall');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const { labels } = await zeg.lastMap();
        const json = await savedJson(page, 'json');
        assert.deepEqual(json.photo, { file: 'chelsea.png', width: 451, height: 300 });
        assert.deepEqual(json.classes.map((/** @type {any} */ { name, synonyms, area }) => ({ name, synonyms, area })), [
            { name: 'cat', synonyms: ['kitten'], area: count(labels, 0) },
            { name: 'wall', synonyms: [], area: count(labels, 1) },
        ]);
        assert.equal(json.options.resolution, (await lastOptions(page)).resolution);
        const coco = await savedJson(page, 'coco');
        assert.deepEqual(coco.images, [{ id: 1, file_name: 'chelsea.png', width: 451, height: 300 }]);
        assert.deepEqual(coco.categories.map((/** @type {any} */ { name }) => name), ['cat', 'wall']);
        for (const { category_id: id, area } of coco.annotations) assert.equal(area, count(labels, id - 1));
        const geojson = await savedJson(page, 'geojson');
        assert.deepEqual(geojson.pixels, { width: 451, height: 300, y: 'down' });
        for (const { properties: { index, pixels } } of geojson.features) assert.equal(pixels, count(labels, index));
        await zeg.close();
    });

    test('the overlay is saved as it is shown', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const { labels } = await zeg.lastMap();
        assert.ok(count(labels, 0) > 0 && count(labels, 255) > 0);
        const photo = await pixelsOf(page, await readFile(PHOTO));
        const overlay = async () => pixelsOf(page, (await saved(page, '[data-kind="overlay.png"]')).bytes);
        await page.click('#settings-box summary');
        await page.locator('input[name=opacity]').fill('1');
        const item = page.locator('#legend li[data-class="cat"]');
        const cat = await item.evaluate((element) => getComputedStyle(element).getPropertyValue('--colour'));
        const solid = await overlay();
        for (const [at, label] of labels.entries()) {
            const [red, green, blue] = (label === 0 ? solid : photo).subarray(at * 4);
            if (label === 0) assert.equal(`rgb(${red} ${green} ${blue})`, cat, `pixel ${at} of the cat`);
            else assert.deepEqual([red, green, blue], [...solid.subarray(at * 4, at * 4 + 3)], `pixel ${at}`);
        }
        await item.locator('.legend-toggle').click();
        assert.ok((await overlay()).equals(photo), 'what is hidden is painted');
        await zeg.close();
    });

    test('a photo beyond 4096 pixels is saved at its own size, and the page says how it was worked on', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall');
        await zeg.state('ready');
        await dropPainted(page, 'wide.png', 5000, 60);
        await zeg.state('done');
        assert.match(await zeg.text(), /Worked on at 4096 × 49 pixels; .* the photo’s 5000 × 60\.$/);
        assert.deepEqual(sizeOf((await saved(page, '[data-kind="labels.png"]')).bytes), [5000, 60]);
        assert.deepEqual(sizeOf((await saved(page, '[data-kind="overlay.png"]')).bytes), [4096, 49]);
        const { images: [image] } = await savedJson(page, 'coco');
        assert.deepEqual([image.file_name, image.width, image.height], ['wide.png', 5000, 60]);
        await zeg.close();
    });

    test('a stopped run has no part in what is saved, whether its worker goes on or not', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const { labels } = await zeg.lastMap();
        const check = async () => {
            const json = await savedJson(page, 'json');
            assert.equal(json.options.resolution, 'fast');
            assert.deepEqual(json.classes.map((/** @type {any} */ { area }) => area), [count(labels, 0), count(labels, 1)]);
            return json;
        };
        const before = await check();
        await page.click('#settings-box summary');
        await page.evaluate(() => document.addEventListener('zegformer:stage', function stop(event) {
            const { stage, state } = /** @type {CustomEvent} */ (event).detail;
            if (stage !== 'segmenter' || state !== 'done') return;
            document.removeEventListener('zegformer:stage', stop);
            document.getElementById('stop')?.click();
        }));
        await page.locator('select[name=resolution]').selectOption('fine');
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
        assert.deepEqual(await check(), before);

        const { asked, release } = holdBack(browser.server, 'text.onnx');
        await page.fill('#classes', 'flurb,');
        await asked;
        await page.click('#stop');
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
        release();
        assert.deepEqual(await check(), before);
        assert.match(await zeg.text(), /^Saved/);
        // And the worker is told again what it was told before.
        await page.fill('#classes', 'sky,');
        await page.waitForSelector('#legend li[data-class="sky"]');
        assert.equal((await lastOptions(page)).resolution, 'fine');
        assert.deepEqual((await zeg.legend()).map(({ name }) => name).sort(), ['cat', 'flurb', 'sky', 'wall']);
        await zeg.close();
    });

    test('a cut-out is never of another class than the one that was clicked', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=wall,cat');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const { asked, release } = holdBack(browser.server, 'text.onnx');
        await page.click('[aria-label="Remove wall"]');
        await page.fill('#classes', 'flurb, blorp,');
        await asked;
        let downloads = 0;
        page.on('download', () => {
            downloads += 1;
        });
        await page.click('#legend li[data-class="cat"] >> text=cut out');
        release();
        await page.waitForSelector('#status[data-state=error]');
        assert.match(await zeg.text(), /not the last one any more; save again/);
        assert.equal(downloads, 0);
        assert.equal((await saved(page, '#legend li[data-class="cat"] >> text=cut out')).name, 'chelsea.cat.png');
        await zeg.close();
    });
});
