/** Many photos: one ZIP file with the labels of them all. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { SUITE_MS, dropFiles, holdBack, launch } from './harness.mjs';
import { SIZES, files, opened, position, savedOne, shown, sizeOf } from './photos.mjs';

/** @import { Download, Page } from 'playwright-core' */

const browser = launch();

/** The entries of a saved ZIP file, as another program reads and checks them. @param {Download} download */
async function entriesOf(download) {
    assert.equal(download.suggestedFilename(), 'zegformer-labels.zip');
    const script = 'import base64, json, sys, zipfile\n'
        + 'with zipfile.ZipFile(sys.argv[1]) as z:\n'
        + '    assert z.testzip() is None\n'
        + '    print(json.dumps({i.filename: base64.b64encode(z.read(i)).decode() for i in z.infolist()}))';
    /** @type {Record<string, string>} */
    const entries = JSON.parse(execFileSync('python3', ['-c', script, await download.path()], { maxBuffer: 1e9 }).toString());
    return Object.fromEntries(Object.entries(entries).map(([name, text]) => [name, Buffer.from(text, 'base64')]));
}

/** Presses Stop in the middle of a photo's run. @param {Page} page @param {string} at as the status begins then */
const stopAt = (page, at) => page.evaluate((text) => document.addEventListener('zegformer:stage', function stop(event) {
    const { stage, state } = /** @type {CustomEvent} */ (event).detail;
    if (stage !== 'segmenter' || state !== 'done' || !document.getElementById('status')?.innerText.startsWith(text)) return;
    document.removeEventListener('zegformer:stage', stop);
    document.getElementById('stop')?.click();
}), at);

describe('saving all', { timeout: SUITE_MS }, () => {
    test('the ZIP file has of each photo what the page saves of it alone', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'broken.jpg', 'coffee.jpg', 'kitten.avif', 'cat.png'], { classes: 'cat, cup | mug, wall' });
        await shown(page, 'cat.png');
        // A setting that counts, and one that only concerns the eye.
        await page.click('#settings-box summary');
        await page.locator('input[name=threshold]').fill('0.5');
        await page.locator('input[name=opacity]').fill('1');
        await page.click('#photos button >> nth=3');
        await shown(page, 'kitten.avif');
        const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save-all')]);
        const entries = await entriesOf(download);
        // As it was before, and worked on again.
        await shown(page, 'kitten.avif');
        assert.equal(await position(page), '4 of 5 kitten.avif');
        assert.match(await zeg.text(), /^Saved 4 of 5 photos\. Done in/);
        assert.match(await page.innerText('#notice'), /^Saved 4 of 5 photos; broken\.jpg: this is not an image/);
        assert.deepEqual(await page.locator('.has-failed').evaluateAll((all) => all.map((button) => button.textContent)), ['broken.jpg']);

        assert.deepEqual(Object.keys(entries), ['labels/cat.png', 'labels/coffee.png', 'labels/kitten.png', 'labels/cat (2).png', 'coco.json']);
        const coco = JSON.parse(entries['coco.json'].toString());
        assert.deepEqual(coco.images.map((/** @type {any} */ image) => [image.id, image.file_name, image.labels]), [
            [1, 'cat.png', 'labels/cat.png'], [2, 'coffee.jpg', 'labels/coffee.png'],
            [3, 'kitten.avif', 'labels/kitten.png'], [4, 'cat (2).png', 'labels/cat (2).png'],
        ]);
        assert.deepEqual(coco.categories.map((/** @type {any} */ { id, name }) => [id, name]), [[1, 'cat'], [2, 'cup'], [3, 'wall']]);
        assert.deepEqual(coco.annotations.map((/** @type {any} */ { id }) => id), coco.annotations.map((/** @type {any} */ _, /** @type {number} */ at) => at + 1));
        for (const [at, image] of coco.images.entries()) {
            const index = [0, 2, 3, 4][at];
            const name = ['cat.png', 'coffee.jpg', 'kitten.avif', 'cat.png'][at];
            const size = SIZES[name];
            const png = entries[image.labels];
            assert.deepEqual([image.width, image.height], size);
            assert.deepEqual(sizeOf(png), size);
            await page.click(`#photos button >> nth=${index}`);
            await shown(page, name);
            assert.ok((await savedOne(page, 'labels.png')).equals(png), `labels of ${image.file_name}`);
            const alone = JSON.parse((await savedOne(page, 'coco')).toString());
            const regions = (/** @type {any[]} */ all) => all.map(({ id, image_id, ...region }) => region);
            const own = coco.annotations.filter((/** @type {any} */ found) => found.image_id === image.id);
            assert.ok(own.length > 0, `no annotation of ${image.file_name}`);
            assert.deepEqual(regions(own), regions(alone.annotations));
            assert.deepEqual(coco.categories, alone.categories);
        }
        await zeg.close();
    });

    test('meanwhile it says how far it is, and what could change the labels is locked', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'kitten.avif', 'coffee.jpg']);
        await shown(page, 'cat.png');
        await page.evaluate(() => {
            const told = /** @type {any[]} */ ([]);
            Object.assign(globalThis, { told });
            const line = /** @type {HTMLElement} */ (document.getElementById('status'));
            new MutationObserver(() => {
                const locked = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('aside, #tray'))].every((part) => part.inert);
                const asks = !dispatchEvent(new Event('beforeunload', { cancelable: true }));
                told.push([line.innerText, locked, document.activeElement?.id, asks]);
                if (!line.innerText.includes('Labelling 2')) return;
                // By hand none of these can be done now; whatever does them, this run keeps its names and its photos.
                const names = /** @type {HTMLInputElement} */ (document.getElementById('classes'));
                names.value = 'sofa,';
                names.dispatchEvent(new Event('input', { bubbles: true }));
                const dropped = new DataTransfer();
                dropped.items.add(new File(['x'], 'late.png', { type: 'image/png' }));
                line.dispatchEvent(new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true }));
            }).observe(line, { childList: true, subtree: true, characterData: true });
        });
        await page.locator('#save-all').focus();
        const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.at(-1).classes.length === 3);
        const told = /** @type {[string, boolean, string, boolean][]} */ (await page.evaluate(() => /** @type {any} */ (globalThis).told));
        const steps = told.filter(([text]) => text.startsWith('Labelling'));
        assert.deepEqual([...new Set(steps.map(([text]) => text))].filter((text) => text.includes(' of ')), [
            'Labelling 1 of 3: cat.png', 'Labelling 2 of 3: kitten.avif', 'Labelling 3 of 3: coffee.jpg',
        ]);
        assert.ok(steps.every(([, locked]) => locked), 'the controls are not locked');
        assert.ok(steps.every(([, , , asks]) => asks), 'the tab closes without asking');
        assert.equal(told.at(-1)?.[3], false, 'it asks for nothing');
        assert.equal(steps.at(-1)?.[2], 'stop', 'the focus got lost');
        assert.match(await page.innerText('#notice'), /^The photos are being labelled: wait, or stop that first\./);
        assert.equal(await page.locator('#photos button').count(), 3);
        assert.equal(await page.evaluate(() => [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('aside, #tray'))].some((part) => part.inert)), false);
        assert.equal(await page.evaluate(() => document.activeElement?.id), 'save-all');
        const entries = await entriesOf(download);
        assert.equal(Object.keys(entries).length, 4);
        assert.deepEqual(JSON.parse(entries['coco.json'].toString()).categories.map((/** @type {any} */ { name }) => name), ['cat', 'wall']);
        await shown(page, 'cat.png');
        await zeg.close();
    });

    test('stopped midway what is done is saved, and the photo of before comes back', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'coffee.jpg', 'kitten.avif', 'coffee.png']);
        await shown(page, 'cat.png');
        await stopAt(page, 'Labelling 3 of 4');
        const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save-all')]);
        const entries = await entriesOf(download);
        assert.deepEqual(Object.keys(entries), ['labels/cat.png', 'labels/coffee.jpg.png', 'coco.json']);
        await shown(page, 'cat.png');
        assert.match(await zeg.text(), /^Stopped: saved 2 of 4 photos\. Done in/);
        assert.equal(JSON.parse(entries['coco.json'].toString()).images.length, 2);
        assert.ok((await savedOne(page, 'labels.png')).equals(entries['labels/cat.png']));
        await zeg.close();
    });

    test('a worker that cannot hear is stopped too, with nothing to save; the next try works', async () => {
        const { page, ...zeg } = await opened(browser, ['broken.jpg', 'cat.png', 'kitten.avif']);
        await page.waitForSelector('#status[data-state=error]');
        let downloads = 0;
        page.on('download', () => {
            downloads += 1;
        });
        const { asked, release } = holdBack(browser.server, 'segmenter.onnx');
        await page.click('#save-all');
        await asked;
        await page.click('#stop');
        await page.waitForFunction(() => document.getElementById('notice')?.innerText.startsWith('Stopped: none of 3 photos were saved; broken.jpg: '));
        assert.equal(downloads, 0);
        release();
        // Of the photo that is shown there is nothing to see, as before.
        await page.waitForSelector('#status[data-state=error]');
        const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save-all')]);
        assert.deepEqual(Object.keys(await entriesOf(download)), ['labels/cat.png', 'labels/kitten.png', 'coco.json']);
        await zeg.close();
    });

    test('an engine that is changed just before is the one that labels', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'kitten.avif']);
        await shown(page, 'cat.png');
        await page.click('#settings-box summary');
        await page.selectOption('select[name=engine]', 'auto');
        const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save-all')]);
        const entries = await entriesOf(download);
        assert.deepEqual(Object.keys(entries), ['labels/cat.png', 'labels/kitten.png', 'coco.json']);
        await shown(page, 'cat.png');
        assert.match(await zeg.text(), /^Saved 2 of 2 photos\./);
        assert.ok((await savedOne(page, 'labels.png')).equals(entries['labels/cat.png']));
        assert.ok(await page.locator('#notice').isHidden());
        await zeg.close({ expected: /WebGPU/ });
    });

    test('a photo that takes all memory does not keep the others from being saved', async () => {
        const path = 'www/wasm-module.js';
        const script = (await readFile(new URL(`../../dist/${path}`, import.meta.url))).toString();
        const small = Buffer.from(script.replace(/MOST_PAGES = \[[^\]]*\]/, 'MOST_PAGES = [4096]'));
        browser.server.intercept = (asked) => (asked === path ? { type: 'text/javascript', body: small } : undefined);
        const { page, ...zeg } = await opened(browser, ['cat.png', 'kitten.avif']);
        await shown(page, 'cat.png');
        const base64 = await page.evaluate(async () => {
            const canvas = new OffscreenCanvas(9000, 7000);
            canvas.getContext('2d')?.fillRect(0, 0, 9000, 7000);
            const bytes = new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer());
            let text = '';
            for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
            return btoa(text);
        });
        await dropFiles(page, [{ name: 'huge.png', bytes: Buffer.from(base64, 'base64'), type: 'image/png' }, files['coffee.jpg']]);
        await page.waitForSelector('#status[data-state=error]');
        await page.click('#photos button >> nth=0');
        await shown(page, 'cat.png');
        const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save-all')]);
        const entries = await entriesOf(download);
        assert.deepEqual(Object.keys(entries), ['labels/cat.png', 'labels/kitten.png', 'labels/coffee.png', 'coco.json']);
        assert.deepEqual(sizeOf(entries['labels/coffee.png']), [600, 400]);
        await shown(page, 'cat.png');
        assert.match(await page.innerText('#notice'), /^Saved 3 of 4 photos; huge\.png: .*memory runs out/);
        assert.ok((await savedOne(page, 'labels.png')).equals(entries['labels/cat.png']));
        await zeg.close();
    });

    test('without names it says what it waits for, with names that are refused why', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'kitten.avif'], { classes: '' });
        await page.waitForFunction(() => document.getElementById('status')?.innerText.includes('Type at least one name'));
        await page.click('#save-all');
        assert.match(await page.innerText('#notice'), /^Type at least one name/);
        browser.server.intercept = (path) => (path.endsWith('text.onnx') ? { status: 503, body: Buffer.from('') } : undefined);
        await page.fill('#classes', 'a frumious bandersnatch,');
        await page.waitForSelector('#status[data-state=error]');
        let downloads = 0;
        page.on('download', () => {
            downloads += 1;
        });
        await page.click('#save-all');
        await page.waitForFunction(() => !document.getElementById('tray')?.inert && document.getElementById('status')?.dataset.state === 'error');
        assert.match(await zeg.text(), /503/);
        assert.equal(downloads, 0);
        await zeg.close({ expected: /Failed to load resource/ });
    });
});
