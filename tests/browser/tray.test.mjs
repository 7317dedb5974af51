/** Many photos: a tray to go through, and one ZIP file with the labels of them all. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { after, afterEach, before, describe, test } from 'node:test';
import { AVIF, PATIENCE_MS, PHOTO, dropFiles, start } from './harness.mjs';

/** @import { Download, Page } from 'playwright-core' */
/** @import { TestFile } from './harness.mjs' */

/** @type {Awaited<ReturnType<typeof start>>} */
let browser;
/** By name, of different sizes. @type {Record<string, TestFile>} */
const files = {};

before(async () => {
    browser = await start();
    const example = (/** @type {string} */ name) => fileURLToPath(new URL(`../../www/examples/${name}`, import.meta.url));
    const sources = { 'cat.png': PHOTO, 'kitten.avif': AVIF, 'coffee.jpg': example('coffee.jpg'), 'rocket.jpg': example('rocket.jpg') };
    for (const [name, path] of Object.entries(sources)) {
        files[name] = { name, bytes: await readFile(path), type: `image/${name.split('.')[1].replace('jpg', 'jpeg')}` };
    }
    // Of the same name but for its ending; what is in it is seen as it is read.
    files['coffee.png'] = { ...files['coffee.jpg'], name: 'coffee.png' };
    files['broken.jpg'] = { name: 'broken.jpg', bytes: Buffer.from('this is no picture'), type: 'image/jpeg' };
    files['notes.txt'] = { name: 'notes.txt', bytes: Buffer.from('cats'), type: 'text/plain' };
});
afterEach(() => {
    browser.server.intercept = () => undefined;
});
after(() => browser.stop());

/** @type {Record<string, [number, number]>} */
const SIZES = { 'cat.png': [451, 300], 'kitten.avif': [226, 150], 'coffee.jpg': [600, 400] };

/** @param {string[]} names @param {Parameters<typeof browser.open>[1] & {classes?: string}} [options] */
async function opened(names, { classes = 'cat,wall', ...options } = {}) {
    const zeg = await browser.open(`?engine=cpu&classes=${encodeURIComponent(classes)}`, options);
    await zeg.state('ready');
    await dropFiles(zeg.page, names.map((name) => files[name]));
    return zeg;
}

/** Waits for the result of a photo of this width. @param {Page} page @param {string} name */
async function shown(page, name) {
    await page.waitForFunction(([text, width]) => document.getElementById('position')?.textContent?.endsWith(` ${text}`)
        && document.getElementById('status')?.dataset.state === 'done'
        && /** @type {any} */ (globalThis).seen.results.at(-1)?.width === width, /** @type {const} */ ([name, SIZES[name][0]]));
    const canvas = await page.evaluate(() => {
        const { width, height } = /** @type {HTMLCanvasElement} */ (document.getElementById('photo'));
        return [width, height];
    });
    assert.deepEqual(canvas, SIZES[name]);
}

/** @param {Page} page */
const marked = (page) => page.locator('#photos [aria-current]').evaluateAll((all) => all.map((button) => button.getAttribute('aria-label')));
/** @param {Page} page */
const position = (page) => page.textContent('#position');
/** @param {Page} page */
const hasBlankPhoto = (page) => page.evaluate(() => {
    const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById('photo'));
    return /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height).data.every((value) => value === 0);
});

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

/** What the page saves of the photo that is shown. @param {Page} page @param {string} kind */
async function savedOne(page, kind) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(`[data-kind="${kind}"]`)]);
    return readFile(await download.path());
}

/** Width and height in a PNG's header. @param {Buffer} png */
const sizeOf = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)];

/** Presses Stop in the middle of a photo's run. @param {Page} page @param {string} at as the status begins then */
const stopAt = (page, at) => page.evaluate((text) => document.addEventListener('zegformer:stage', function stop(event) {
    const { stage, state } = /** @type {CustomEvent} */ (event).detail;
    if (stage !== 'segmenter' || state !== 'done' || !document.getElementById('status')?.innerText.startsWith(text)) return;
    document.removeEventListener('zegformer:stage', stop);
    document.getElementById('stop')?.click();
}), at);

describe('the tray', { timeout: PATIENCE_MS }, () => {
    test('several files make a tray, whose first is shown', async () => {
        const { page, ...zeg } = await opened(['cat.png', 'notes.txt', 'coffee.jpg', 'broken.jpg']);
        await shown(page, 'cat.png');
        assert.equal(await position(page), '1 of 3 cat.png');
        assert.deepEqual(await marked(page), ['cat.png']);
        assert.match(await page.innerText('#notice'), /^Left out, as it is no picture: notes\.txt\./);
        assert.ok(await page.locator('#examples').isHidden());
        assert.equal(await page.innerText('.tray-bar .pick'), 'Add photos');
        // What the browser cannot decode goes by its name.
        await page.waitForFunction(() => document.querySelectorAll('#photos canvas').length === 2);
        assert.deepEqual(await page.locator('#photos button').allInnerTexts(), ['', '', 'broken.jpg']);
        const colours = await page.locator('#photos canvas').evaluateAll((all) => all.map((canvas) => {
            const context = /** @type {CanvasRenderingContext2D} */ (/** @type {HTMLCanvasElement} */ (canvas).getContext('2d'));
            return new Set(context.getImageData(0, 0, 112, 112).data).size;
        }));
        assert.ok(colours.every((count) => count > 50), `pictures of ${colours} values`);
        await zeg.close();
    });

    test('one photo is shown without a tray, and the next takes its place', async () => {
        const { page, ...zeg } = await opened(['cat.png', 'notes.txt']);
        await zeg.state('done');
        assert.ok(await page.locator('#tray').isHidden());
        await page.setInputFiles('#file', AVIF);
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.at(-1).width === 226);
        assert.ok(await page.locator('#tray').isHidden());
        assert.ok(await page.locator('#examples').isVisible());
        assert.equal(await page.innerText('.examples .pick'), 'Another photo');
        await zeg.close();
    });

    test('buttons, clicks and arrow keys show one after another, by the same names', async () => {
        const { page, ...zeg } = await opened(['cat.png', 'kitten.avif', 'coffee.jpg']);
        await shown(page, 'cat.png');
        // There is none before the first, though the button keeps the focus.
        await page.press('#previous', 'Enter');
        assert.equal(await position(page), '1 of 3 cat.png');
        await page.click('#next');
        await shown(page, 'kitten.avif');
        assert.deepEqual(await marked(page), ['kitten.avif']);
        await page.click('#next');
        await shown(page, 'coffee.jpg');
        assert.equal(await page.locator('#next').getAttribute('aria-disabled'), 'true');
        await page.click('#previous');
        await shown(page, 'kitten.avif');
        await page.click('#photos [aria-label="cat.png"]');
        await shown(page, 'cat.png');
        assert.ok((await zeg.legend()).some(({ name, share }) => name === 'cat' && share > 0.3));

        await page.keyboard.press('ArrowRight');
        await shown(page, 'kitten.avif');
        assert.equal(await page.evaluate(() => document.activeElement?.ariaLabel), 'kitten.avif');
        await page.keyboard.press('End');
        await shown(page, 'coffee.jpg');
        await page.keyboard.press('ArrowRight');
        await page.keyboard.press('ArrowLeft');
        await shown(page, 'kitten.avif');
        // The row is one stop of the tab key.
        assert.equal(await page.locator('#photos button[tabindex="0"]').count(), 1);
        assert.deepEqual((await zeg.legend()).map(({ name }) => name).sort(), ['cat', 'wall']);
        await zeg.close();
    });

    test('whoever hurries gets the last one', async () => {
        const { page, ...zeg } = await opened(['coffee.jpg', 'kitten.avif', 'coffee.jpg', 'cat.png']);
        await page.evaluate(() => {
            for (let times = 0; times < 3; times++) document.getElementById('next')?.click();
        });
        await shown(page, 'cat.png');
        await page.waitForTimeout(500);
        assert.equal((await zeg.lastMap()).width, 451);
        assert.ok(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length) < 3, 'each was labelled');
        await zeg.close();
    });

    test('more photos are added and shown; Clear brings the examples back and leaves the photo', async () => {
        const { page, ...zeg } = await opened(['cat.png', 'cat.png']);
        await shown(page, 'cat.png');
        await dropFiles(page, [files['kitten.avif']]);
        await shown(page, 'kitten.avif');
        assert.equal(await position(page), '3 of 3 kitten.avif');
        await page.setInputFiles('#file', [PHOTO, fileURLToPath(new URL('../../www/examples/coffee.jpg', import.meta.url))]);
        assert.equal(await page.locator('#photos button').count(), 5);
        assert.match(await position(page) ?? '', /^4 of 5 /);
        await page.click('#next');
        await shown(page, 'coffee.jpg');
        await page.click('#clear');
        assert.ok(await page.locator('#tray').isHidden());
        assert.ok(await page.locator('#examples').isVisible());
        assert.equal(await page.locator('#photos button').count(), 0);
        assert.equal(await page.innerText('.examples .pick'), 'Another photo');
        // The photo is still the one that is worked on.
        await page.fill('#classes', 'cup,');
        await page.waitForSelector('#legend li[data-class="cup"]');
        assert.deepEqual(sizeOf(await savedOne(page, 'labels.png')), [600, 400]);
        await zeg.close();
    });

    test('of a photo that cannot be read no other one’s labels are shown', async () => {
        const { page, ...zeg } = await opened(['cat.png', 'broken.jpg', 'kitten.avif']);
        await shown(page, 'cat.png');
        assert.equal(await hasBlankPhoto(page), false);
        await page.click('#next');
        await page.waitForSelector('#status[data-state=error]');
        assert.match(await zeg.text(), /^This is not an image/);
        assert.ok(await hasBlankPhoto(page), 'the photo before is still there');
        assert.ok(await page.locator('#found').isHidden());
        assert.match(await page.locator('#photos [aria-current]').getAttribute('aria-label') ?? '', /^broken\.jpg: this is not an image/);
        // Nor by a name that is added.
        await page.fill('#classes', 'sofa,');
        await page.waitForFunction(() => document.getElementById('status')?.dataset.state === 'ready');
        assert.match(await zeg.text(), /^This is not an image/);
        assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length), 1);
        await page.click('#next');
        await shown(page, 'kitten.avif');
        assert.equal((await zeg.legend()).length, 3);
        await zeg.close({ expected: /willReadFrequently/ });
    });

    test('no more photos than the page holds, and it says so', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu');
        await zeg.state('ready');
        await page.evaluate(() => {
            const dropped = new DataTransfer();
            for (let at = 0; at < 507; at++) dropped.items.add(new File([`${at}`], `${at}.jpg`, { type: 'image/jpeg' }));
            document.getElementById('drop')?.dispatchEvent(new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true }));
        });
        assert.equal(await page.locator('#photos button').count(), 500);
        assert.equal(await position(page), '1 of 500 0.jpg');
        assert.match(await page.innerText('#notice'), /^No more than 500 photos at a time: 7 more were left out\./);
        await dropFiles(page, [files['cat.png']]);
        assert.match(await page.innerText('#notice'), /: 1 more were left out\./);
        assert.equal(await page.locator('#photos button').count(), 500);
        await zeg.close();
    });

    test('on a phone the row scrolls, the page does not, and only what is in view has a picture', async () => {
        const many = Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? 'kitten.avif' : 'cat.png'));
        const { page, ...zeg } = await opened(many, { width: 390, height: 844 });
        await shown(page, 'kitten.avif');
        await dropFiles(page, [{ ...files['broken.jpg'], name: `${'a_long_name_without_any_space'.repeat(5)}.jpg` }]);
        await page.waitForSelector('#status[data-state=error]');
        const widths = () => page.evaluate(() => {
            const row = /** @type {HTMLElement} */ (document.getElementById('photos'));
            return { page: document.documentElement.scrollWidth, row: row.scrollWidth, frame: row.clientWidth, at: row.scrollLeft };
        });
        const found = await widths();
        assert.ok(found.page <= 390, `${found.page} px wide`);
        assert.ok(found.row > 2 * found.frame, 'the row does not scroll');
        assert.ok(found.at > found.row / 2, 'what is shown is not in view');
        const pictures = await page.locator('#photos canvas').count();
        assert.ok(pictures < 30, `${pictures} of 40 pictures`);
        await page.locator('#photos [aria-current]').press('Home');
        await shown(page, 'kitten.avif');
        assert.equal((await widths()).at, 0);
        await zeg.close();
    });
});

describe('saving all', { timeout: 2 * PATIENCE_MS }, () => {
    test('the ZIP file has of each photo what the page saves of it alone', async () => {
        const { page, ...zeg } = await opened(['cat.png', 'broken.jpg', 'coffee.jpg', 'kitten.avif', 'cat.png'], { classes: 'cat, cup | mug, wall' });
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
        const { page, ...zeg } = await opened(['cat.png', 'kitten.avif', 'coffee.jpg']);
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
        const { page, ...zeg } = await opened(['cat.png', 'coffee.jpg', 'kitten.avif', 'coffee.png']);
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
        /** @type {() => void} */
        let release = () => {};
        const held = new Promise((resolve) => {
            release = () => resolve(undefined);
        });
        const { page, ...zeg } = await opened(['broken.jpg', 'cat.png', 'kitten.avif']);
        await page.waitForSelector('#status[data-state=error]');
        let downloads = 0;
        page.on('download', () => {
            downloads += 1;
        });
        const asked = new Promise((resolve) => {
            browser.server.intercept = (path) => {
                if (!path.endsWith('segmenter.onnx')) return undefined;
                resolve(undefined);
                return held.then(() => {});
            };
        });
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
        const { page, ...zeg } = await opened(['cat.png', 'kitten.avif']);
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
        const { page, ...zeg } = await opened(['cat.png', 'kitten.avif']);
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
        const { page, ...zeg } = await opened(['cat.png', 'kitten.avif'], { classes: '' });
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
