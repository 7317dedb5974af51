/** What the query branch says is shown while the image branch's graph is on its way. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { PHOTO, SUITE_MS, holdBack, launch, nextFrame } from './harness.mjs';

/** @import { Page } from 'playwright-core' */

const ADDRESS = '?engine=cpu&classes=cat,wall';

const browser = launch();

/** @param {Page} page */
const seen = (page) => page.evaluate(() => {
    const { previews, results } = /** @type {any} */ (globalThis).seen;
    const summary = (/** @type {import('../../www/protocol.js').Result} */ { options, labels, serial, classes }) => ({
        serial, branch: options.branch, labels: [...labels], names: classes.map(({ name }) => name),
    });
    return { previews: previews.map(summary), results: results.map(summary) };
});

/** @param {Page} page */
const previewed = (page) => page.waitForFunction(() => /** @type {any} */ (globalThis).seen.previews.length > 0);

/** How many pixels have a colour. @param {Page} page */
async function painted(page) {
    await nextFrame(page);
    return page.evaluate(() => {
        const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById('overlay'));
        const { data } = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height);
        return data.filter((value, at) => at % 4 === 3 && value > 0).length;
    });
}

describe('the preview', { timeout: SUITE_MS }, () => {
    test('a first visit shows it before the image branch has come, after 20 MB at most, and then the result', async (t) => {
        const context = await browser.browser.newContext();
        const { asked, release } = holdBack(browser.server, 'image.onnx');
        browser.server.sent.clear();
        const { page, ...zeg } = await browser.open(ADDRESS, { context });
        await page.setInputFiles('#file', PHOTO);
        await previewed(page);
        await asked;
        const bytes = [...browser.server.sent.values()].reduce((sum, size) => sum + size, 0);
        t.diagnostic(`${(bytes / 1e6).toFixed(1)} MB served before the preview, uncompressed`);
        assert.ok(bytes < 20e6, `${bytes} bytes, uncompressed`);
        assert.ok(browser.server.sent.has('www/wasm/zegformer_bg.wasm'));
        assert.ok(await painted(page) > 10_000);
        assert.ok((await zeg.legend())[0].share > 0.3);
        assert.ok(await page.locator('#preview').isVisible());
        assert.equal(await page.locator('#status').getAttribute('data-state'), 'running');
        const saving = page.locator('#save button, #legend li[data-class="cat"] .legend-action:last-child');
        assert.deepEqual(await saving.evaluateAll((all) => all.map((button) => /** @type {HTMLButtonElement} */ (button).disabled)), Array(6).fill(true));
        assert.equal((await seen(page)).results.length, 0);

        release();
        await zeg.state('done');
        assert.ok(await page.locator('#preview').isHidden());
        const { previews, results } = await seen(page);
        assert.deepEqual([previews.length, results.length], [1, 1]);
        assert.deepEqual([previews[0].branch, results[0].branch], ['query', 'fused']);
        assert.equal(previews[0].serial, results[0].serial);

        // It is what that branch says alone when it is chosen.
        await page.click('#settings-box summary');
        await page.locator('select[name=branch]').selectOption('query');
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.length === 2);
        assert.deepEqual((await seen(page)).results[1].labels, previews[0].labels);
        await zeg.close();

        // What is kept is there at once.
        const again = await browser.open(ADDRESS, { context });
        await again.page.setInputFiles('#file', PHOTO);
        await again.state('done');
        assert.equal((await seen(again.page)).previews.length, 0);
        assert.deepEqual((await seen(again.page)).results[0].labels, results[0].labels);
        await again.close();
        await context.close();
    });

    test('stopped, it stays, says that it is one, and can be saved', async () => {
        const context = await browser.browser.newContext();
        const { asked, release } = holdBack(browser.server, 'image.onnx');
        const { page, ...zeg } = await browser.open(ADDRESS, { context });
        await page.setInputFiles('#file', PHOTO);
        await asked;
        await page.click('#stop');
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
        assert.ok(await painted(page) > 10_000);
        assert.ok(await page.locator('#preview').isVisible());
        const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-kind="json"]')]);
        const json = JSON.parse((await readFile(await download.path())).toString());
        const [preview] = (await seen(page)).previews;
        assert.equal(json.options.ensembling, 'query');
        assert.equal(json.classes[0].area, preview.labels.filter((/** @type {number} */ label) => label === 0).length);

        release();
        await page.fill('#classes', 'sofa,');
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.length === 1);
        const { results } = await seen(page);
        assert.deepEqual([results[0].branch, results[0].names], ['fused', ['cat', 'wall', 'sofa']]);
        assert.ok(await page.locator('#preview').isHidden());
        await zeg.close();
        await context.close();
    });

    test('where the image branch has no say, or alone has one, there is none', async () => {
        const context = await browser.browser.newContext();
        const stuff = await browser.open('?engine=cpu&classes=wall,sky', { context });
        await stuff.page.setInputFiles('#file', PHOTO);
        await stuff.state('done');
        assert.equal((await seen(stuff.page)).previews.length, 0);
        await stuff.page.click('#settings-box summary');
        await stuff.page.locator('select[name=branch]').selectOption('image');
        await stuff.page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.length === 2);
        const { previews, results } = await seen(stuff.page);
        assert.deepEqual([previews.length, results[1].branch], [0, 'image']);
        await stuff.close();
        await context.close();
    });
});
