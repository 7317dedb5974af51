/** The whole way in a real browser: a dropped photo, typed names, a label map; on both engines. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { PHOTO, SUITE_MS, agreement, dropFile, launch, nextFrame, onlyHearing } from './harness.mjs';

const NAMES = 'cat, sofa | couch, wall';

// Isolated, so that the CPU engine has threads.
const browser = launch({ webgpu: true, serving: { isolated: true } });
/** @type {Record<string, Uint8Array>} */
const maps = {};

/** @param {{name: string, share: number}[]} legend */
function assertCatIsLargest(legend) {
    assert.deepEqual(legend.map(({ name }) => name).sort(), ['cat', 'sofa', 'wall']);
    const cat = legend.find(({ name }) => name === 'cat');
    for (const { name, share } of legend) {
        assert.ok(share >= 0 && share <= 1, `${name} has the share ${share}`);
        assert.ok(name === 'cat' || share < (cat?.share ?? 0), `${name} (${share}) is larger than cat (${cat?.share})`);
    }
}

describe('one photo', { timeout: SUITE_MS }, () => {
    for (const engine of ['cpu', 'webgpu']) {
        test(`a dropped photo and typed names make a label map on ${engine}`, async () => {
            const { page, ...zeg } = await browser.open(`?engine=${engine}`);
            await zeg.state('ready');
            assert.equal(await page.locator('#status').getAttribute('data-engine'), engine);
            await page.fill('#classes', NAMES);
            await page.press('#classes', 'Enter');
            await dropFile(page, 'chelsea.png', await readFile(PHOTO), 'image/png');
            await zeg.state('done');
            assert.equal(await page.locator('#status').getAttribute('data-engine'), engine, 'the engine changed');
            assert.ok(Number(await page.locator('#status').getAttribute('data-ms')) > 0);
            assertCatIsLargest(await zeg.legend());
            const map = await zeg.lastMap();
            assert.deepEqual([map.width, map.height], [451, 300]);
            maps[engine] = map.labels;
            await nextFrame(page);
            const painted = await page.evaluate(() => {
                const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById('overlay'));
                const { data } = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height);
                return data.filter((value, at) => at % 4 === 3 && value > 0).length / (data.length / 4);
            });
            const named = map.labels.filter((label) => label !== 255).length / map.labels.length;
            assert.ok(Math.abs(painted - named) < 0.01, `${painted} of the overlay is painted, ${named} is named`);
            await zeg.close();
        });
    }

    test('both engines agree on the labels', (t) => {
        assert.ok(maps.cpu && maps.webgpu, 'an engine made no map');
        const same = agreement(maps.cpu, maps.webgpu);
        t.diagnostic(`equal labels: ${(same * 100).toFixed(3)} %`);
        assert.ok(same >= 0.99, `they agree on ${(same * 100).toFixed(2)} % of the pixels`);
    });

    test('stop is heard while shaders compile and in the midst of a graph, and the same worker makes the next result', async () => {
        const { page, ...zeg } = await browser.open(`?engine=webgpu&classes=${encodeURIComponent(NAMES)}`);
        await zeg.state('ready');
        await onlyHearing(page);
        // In the first run the shaders are compiled, in the second they are there.
        for (const made of [1, 2]) {
            await zeg.forgetStages();
            await page.evaluate(() => {
                let heard = 0;
                /** @param {Event} event */
                const listen = (event) => {
                    const { stage, state } = /** @type {CustomEvent} */ (event).detail;
                    // The first says that the stage begins, the others that it goes on.
                    if (stage !== 'segmenter' || state !== 'start' || ++heard < 3) return;
                    document.removeEventListener('zegformer:stage', listen);
                    document.getElementById('stop')?.click();
                };
                document.addEventListener('zegformer:stage', listen);
            });
            await page.setInputFiles('#file', PHOTO);
            await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
            assert.deepEqual((await zeg.stages()).filter(({ state }) => state === 'done'), [], 'the segmenter ran to its end');
            await page.setInputFiles('#file', PHOTO);
            await page.waitForFunction((count) => /** @type {any} */ (globalThis).seen.results.length === count, made);
            const { labels } = await zeg.lastMap();
            assert.equal(agreement(maps.webgpu, labels), 1, 'the labels are not those of a run that was not stopped');
        }
        await zeg.close();
    });

    test('a name added, a slider moved: neither segmenter nor crops run again', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const first = (await zeg.stages()).filter((event) => event.state === 'done');
        assert.deepEqual(first.filter((event) => event.cached).map((event) => event.stage), [], 'kept from nowhere');
        await zeg.forgetStages();
        await page.fill('#classes', 'blanket');
        await page.press('#classes', 'Enter');
        await page.waitForSelector('#legend li[data-class="blanket"]');
        const second = (await zeg.stages()).filter((event) => event.state === 'done');
        const cached = Object.fromEntries(second.map((event) => [event.stage, event.cached]));
        assert.equal(cached.segmenter, true);
        assert.equal(cached.crops, true);
        assert.equal(cached.text, false, 'a new name has to be read');
        assert.equal(cached.compose, false);

        await zeg.forgetStages();
        await page.click('#settings-box summary');
        await page.locator('input[name=threshold]').fill('0.2');
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.stages.some((/** @type {any} */ event) => event.stage === 'compose' && event.state === 'done'));
        for (const event of (await zeg.stages()).filter((found) => found.state === 'done')) {
            if (['segmenter', 'text', 'crops'].includes(event.stage)) assert.equal(event.cached, true, event.stage);
        }
        await zeg.close();
    });

    test('the address chooses a mode, the list another, and crops that are there stay', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall&mode=fast');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        await page.click('#settings-box summary');
        const list = page.locator('select[name=mode]');
        assert.equal(await list.inputValue(), 'fast');
        // The default model has no one-pass graph.
        assert.deepEqual(await list.locator('option').evaluateAll((all) => all.map((option) => /** @type {HTMLOptionElement} */ (option).value)), ['official', 'fast', 'lite']);
        const { total } = (await zeg.stages()).findLast((event) => event.state === 'progress') ?? {};
        await zeg.forgetStages();
        await list.selectOption('official');
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.length === 2);
        const more = (await zeg.stages()).findLast((event) => event.state === 'progress');
        const queries = await page.evaluate(() => /** @type {any} */ (globalThis).seen.results[1].segments.length);
        assert.equal((total ?? 0) + (more?.total ?? 0), queries, 'crops were made twice, or not at all');
        await zeg.close();
    });

    test('a plural needs no text model, a phrase says what it is looked for as', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=the%20cats,walls');
        /** @type {string[]} */
        const read = [];
        page.on('request', (request) => read.push(new URL(request.url()).pathname));
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const [cats] = await zeg.legend();
        assert.ok(cats.name === 'the cats' && cats.share > 0.2, `${cats.name}: ${cats.share}`);
        assert.equal(await page.locator('.legend-about').count(), 0);
        assert.deepEqual(read.filter((path) => path.endsWith('text.onnx')), [], 'the text model was read for a plural');
        const hint = page.locator('output[name=lambda-hint]');
        assert.equal(await hint.textContent(), '');

        await page.fill('#classes', 'a striped cat');
        await page.press('#classes', 'Enter');
        const about = page.locator('#legend li[data-class="a striped cat"] .legend-about');
        assert.equal(await about.innerText(), 'looked for as “cat”');
        assert.ok(read.some((path) => path.endsWith('text.onnx')), 'a phrase needs the text model');

        await page.fill('#classes', 'wildcat');
        await page.press('#classes', 'Enter');
        const note = page.locator('#legend li[data-class="wildcat"] .legend-about');
        assert.equal(await note.innerText(), 'no masks in training');

        await page.fill('#classes', 'animals');
        await page.press('#classes', 'Enter');
        await page.click('[aria-label="Remove the cats"]');
        await page.click('[aria-label="Remove a striped cat"]');
        const found = page.locator('#legend li[data-class="animals"] .legend-about');
        // The run before has the cats still.
        await page.waitForFunction(() => /^found as .*\bcat\b/.test(document.querySelector('#legend li[data-class="animals"] .legend-about')?.textContent ?? ''));
        assert.match(await found.getAttribute('title') ?? '', /looks for “animals” and for \d+ kinds of it: /);

        // Of walls and lawns a crop shows too little to ask the image branch.
        for (const name of ['wildcat', 'animals']) await page.click(`[aria-label="Remove ${name}"]`);
        await page.waitForFunction(() => document.querySelector('#legend')?.children.length === 2);
        assert.match(await hint.textContent() ?? '', /No say at present/);
        await zeg.close();
    });

    test('what nothing named may be is a click away', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=wall');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        assert.match(await page.innerText('.legend-other .legend-about'), /^perhaps cat/);
        await page.click('[aria-label="Add the name cat"]');
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.length === 2);
        assert.deepEqual(await page.locator('.chip-name').allInnerTexts(), ['wall', 'cat']);
        assert.ok((await zeg.legend()).some(({ name, share }) => name === 'cat' && share > 0.3));
        assert.equal(await page.locator('[aria-label="Add the name cat"]').count(), 0);
        assert.match(await page.evaluate(() => document.activeElement?.ariaLabel) ?? '', /^cat, /, 'the focus got lost');
        await zeg.close();
    });

    test('an example photo brings its names and runs', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu');
        await zeg.state('ready');
        await page.click('#examples button >> nth=0');
        await zeg.state('done');
        assertCatIsLargest(await zeg.legend());
        await zeg.close();
    });

    test('classes are hidden, shown alone, by mouse and by keyboard', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const cat = page.locator('#legend li[data-class="cat"] .legend-toggle');
        const wall = page.locator('#legend li[data-class="wall"] .legend-toggle');
        await cat.focus();
        await page.keyboard.press('Enter');
        assert.equal(await cat.getAttribute('aria-pressed'), 'false');
        assert.ok(await cat.evaluate((button) => button === document.activeElement), 'the focus is lost');
        await page.click('#legend li[data-class="cat"] >> text=only');
        assert.equal(await cat.getAttribute('aria-pressed'), 'true');
        assert.equal(await wall.getAttribute('aria-pressed'), 'false');
        await page.locator('#segments-box summary').click();
        await page.hover('#segments tbody tr >> nth=0');
        assert.ok(await page.locator('#segment-box').isVisible(), 'the segment is not framed');
        await page.hover('#overlay');
        assert.ok(await page.locator('#segment-box').isHidden());
        assert.match(await page.locator('#readout').innerText(), /^(cat|wall) · \d+ %$|^nothing named$/);
        await zeg.close();
    });

    test('results are saved under the photo’s name', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        /** @param {string} selector */
        const saved = async (selector) => {
            const [download] = await Promise.all([page.waitForEvent('download'), page.click(selector)]);
            return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
        };
        const labels = await saved('[data-kind="labels.png"]');
        assert.equal(labels.name, 'chelsea.labels.png');
        // Width, height, depth and colour type stand in the header; 3 is a palette.
        assert.deepEqual([labels.bytes.readUInt32BE(16), labels.bytes.readUInt32BE(20), labels.bytes[24], labels.bytes[25]], [451, 300, 8, 3]);
        const overlay = await saved('[data-kind="overlay.png"]');
        assert.equal(overlay.bytes.subarray(1, 4).toString(), 'PNG');
        for (const [kind, name] of [['json', 'chelsea.json'], ['coco', 'chelsea.coco.json'], ['geojson', 'chelsea.geojson']]) {
            const report = await saved(`[data-kind="${kind}"]`);
            assert.equal(report.name, name);
            assert.ok(JSON.parse(report.bytes.toString()), kind);
        }
        const cutout = await saved('#legend li[data-class="cat"] >> text=cut out');
        assert.equal(cutout.name, 'chelsea.cat.png');
        assert.equal(cutout.bytes[25], 6, 'no alpha');
        await zeg.close();
    });

    test('a GPU that is lost in the middle of a second run: the CPU goes on', async () => {
        const { page, ...zeg } = await browser.open('?engine=webgpu&classes=cat,wall');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        await zeg.forgetStages();
        await page.click('#examples button >> nth=2');
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.stages.some((/** @type {any} */ event) => event.stage === 'segmenter'));
        const session = await browser.browser.newBrowserCDPSession();
        await session.send('Browser.crashGpuProcess').catch(() => {});
        await zeg.state('done');
        assert.equal(await page.locator('#status').getAttribute('data-engine'), 'cpu');
        assert.match(await page.locator('#notice').innerText(), /The CPU goes on .*GPU/);
        if (await page.evaluate(() => navigator.hardwareConcurrency) > 1) {
            assert.match(await page.locator('#engine-badge').innerText(), /^CPU, \d threads$/);
        }
        assert.deepEqual((await zeg.legend()).map(({ name }) => name), ['cat', 'wall']);
        await zeg.close();
    });
});
