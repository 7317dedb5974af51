/** From one version of the page to the next: files of two versions never meet, and all tabs change together. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DIST, OFFLINE, PHOTO, TEST_MS, holdBack, launch } from './harness.mjs';

const ADDRESS = '?engine=cpu&classes=cat,wall';
const MODEL = 'models/zegformer-lite';

const folder = await mkdtemp(join(tmpdir(), 'versions-'));
after(() => rm(folder, { recursive: true }));
const browser = launch(async () => ({ dist: await version('first', {}) }));

/**
 * A copy of dist/ that is of another version: another bundle.json, names with one more line break, and a mark on the page.
 *
 * @param {string} name
 * @param {Record<string, unknown>} more of bundle.json
 */
async function version(name, more) {
    const dist = join(folder, name);
    await cp(DIST, dist, { recursive: true });
    const worker = await readFile(join(dist, 'sw.js'), 'utf8');
    await writeFile(join(dist, 'sw.js'), worker.replace(/VERSION = '\w+'/, `VERSION = '${name}'`));
    const html = await readFile(join(dist, 'index.html'), 'utf8');
    await writeFile(join(dist, 'index.html'), html.replace(/(?<=name="version" content=")\w+/, name));
    const names = join(dist, MODEL, 'vocabulary.json');
    const bytes = `${await readFile(names, 'utf8')}${'\n'.repeat(name.length)}`;
    await writeFile(names, bytes);
    const bundle = JSON.parse(await readFile(join(dist, MODEL, 'bundle.json'), 'utf8'));
    bundle.files['vocabulary.json'] = { bytes: Buffer.byteLength(bytes), sha256: hashOf(bytes) };
    await writeFile(join(dist, MODEL, 'bundle.json'), JSON.stringify({ ...bundle, description: `the ${name} model`, ...more }));
    return dist;
}

/** @param {string} text */
const hashOf = (text) => createHash('sha256').update(text).digest('hex');

/** @param {import('playwright-core').Page} page */
const versionOf = (page) => page.locator('meta[name=version]').getAttribute('content');

/** The hashes under which the list of names is kept. @param {import('playwright-core').Page} page */
const keptNames = (page) => page.evaluate(async () => {
    const keys = await (await caches.open('zegformer-models')).keys();
    return keys.map(({ url }) => new URL(url)).filter(({ pathname }) => pathname.endsWith('/vocabulary.json')).map(({ searchParams }) => searchParams.get('sha256'));
});

test('a new version is offered, and until it is taken the old one works, with and without a network', { timeout: TEST_MS }, async () => {
    const context = await browser.browser.newContext();
    const first = await browser.open(ADDRESS, { context });
    await first.page.setInputFiles('#file', PHOTO);
    await first.state('done');
    await first.page.evaluate(() => navigator.serviceWorker.ready);
    await first.close();

    // As a newer page's, whose wasm module knows the field.
    browser.server.root = await version('second', { novelty: 1 });
    const offered = await browser.open(ADDRESS, { context });
    await offered.state('ready');
    await offered.page.waitForFunction(() => document.getElementById('notice')?.innerText.includes('new version'));
    await offered.page.setInputFiles('#file', PHOTO);
    await offered.state('done');
    assert.equal(await versionOf(offered.page), 'first');
    await offered.page.evaluate(() => document.getElementById('settings-box')?.setAttribute('open', ''));
    assert.match(await offered.page.innerText('#about'), /the first model/i);

    await context.setOffline(true);
    const offline = await browser.open(ADDRESS, { context });
    await offline.state('ready');
    await offline.page.setInputFiles('#file', PHOTO);
    await offline.state('done');
    assert.equal(await versionOf(offline.page), 'first');
    await offline.close({ expected: OFFLINE });
    await context.setOffline(false);
    await offered.close();
    await context.close();
});

test('an answer of the old version brings no cache of it back', { timeout: TEST_MS }, async () => {
    browser.server.root = join(folder, 'first');
    const context = await browser.browser.newContext();
    const { page, state, close } = await browser.open(ADDRESS, { context });
    await state('ready');
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    const [gone, answered, kept] = await page.evaluate(async () => {
        const gone = await caches.delete('zegformer-page-first');
        const { ok } = await fetch('www/app.js');
        return [gone, ok, await caches.keys()];
    });
    assert.equal(gone, true);
    assert.equal(answered, true);
    assert.deepEqual(kept, ['zegformer-models']);
    await close();
    await context.close();
});

test('one tab takes the new version: all reload, keep their names, and have its model', { timeout: TEST_MS }, async () => {
    browser.server.root = join(folder, 'first');
    const context = await browser.browser.newContext();
    // The tab of the first visit changes too, though no service worker gave it its files.
    const one = await browser.open(ADDRESS, { context });
    await one.page.setInputFiles('#file', PHOTO);
    await one.state('done');
    await one.page.evaluate(() => navigator.serviceWorker.ready);
    assert.equal((await keptNames(one.page)).length, 1);
    await one.page.fill('#classes', 'dog,');

    browser.server.root = await version('third', {});
    const two = await browser.open(ADDRESS, { context });
    await two.state('ready');
    await two.page.click('#notice >> text=Reload');
    for (const { page, state } of [one, two]) {
        await page.waitForSelector('meta[name=version][content=third]', { state: 'attached' });
        await state('ready');
        assert.match(await page.locator('#about').textContent() ?? '', /the third model/i);
    }
    assert.deepEqual(await one.page.locator('.chip-name').allInnerTexts(), ['cat', 'wall', 'dog']);
    const names = await readFile(join(folder, 'third', MODEL, 'vocabulary.json'), 'utf8');
    assert.deepEqual(await keptNames(two.page), [hashOf(names)]);
    // The old version's goes, and stays away.
    await two.page.waitForFunction(async () => (await caches.keys()).sort().join() === 'zegformer-models,zegformer-page-third');

    await context.setOffline(true);
    await two.page.reload();
    await two.state('ready');
    await two.page.setInputFiles('#file', PHOTO);
    await two.state('done');
    assert.equal(await versionOf(two.page), 'third');
    await one.close();
    await two.close({ expected: OFFLINE });
    await context.close();
});

test('a tab whose first run takes long changes with the others', { timeout: TEST_MS }, async () => {
    browser.server.root = join(folder, 'first');
    const context = await browser.browser.newContext();
    const visit = await browser.open(ADDRESS, { context });
    await visit.state('ready');
    await visit.page.evaluate(() => navigator.serviceWorker.ready);
    await visit.close();

    browser.server.root = await version('fourth', {});
    const { asked, release } = holdBack(browser.server, 'segmenter.onnx');
    const [one, two] = [await browser.open(ADDRESS, { context }), await browser.open(ADDRESS, { context })];
    await one.page.setInputFiles('#file', PHOTO);
    await asked;
    await two.page.click('#notice >> text=Reload');
    for (const { page } of [one, two]) await page.waitForSelector('meta[name=version][content=fourth]', { state: 'attached' });
    release();
    await one.close({ expected: OFFLINE });
    await two.close();
    await context.close();
});

test('files of two versions on the host make none, until all are of one', { timeout: TEST_MS }, async () => {
    browser.server.root = join(folder, 'first');
    const context = await browser.browser.newContext();
    const { page, ...zeg } = await browser.open(ADDRESS, { context });
    await zeg.state('ready');
    await page.evaluate(() => navigator.serviceWorker.ready);
    const update = () => page.evaluate(async () => {
        const registration = await navigator.serviceWorker.ready;
        await registration.update();
        const { installing } = registration;
        await new Promise((resolve) => {
            if (installing) installing.onstatechange = resolve;
            else resolve(undefined);
        });
        return registration.waiting !== null;
    });
    const dist = await version('fifth', {});
    browser.server.root = dist;
    for (const file of ['www/app.js', 'index.html']) {
        const whole = await readFile(join(dist, file));
        const older = file === 'index.html' ? await readFile(join(folder, 'first', file)) : Buffer.concat([whole, Buffer.from('\n')]);
        await writeFile(join(dist, file), older);
        assert.equal(await update(), false, file);
        assert.equal(await page.locator('#notice').isHidden(), true);
        await writeFile(join(dist, file), whole);
    }
    assert.equal(await update(), true);
    await page.click('#notice >> text=Reload');
    await page.waitForSelector('meta[name=version][content=fifth]', { state: 'attached' });
    await zeg.state('ready');
    await zeg.close({ expected: /integrity|Failed to load|An unknown error/ });
    await context.close();
});
