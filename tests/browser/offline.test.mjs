/** After one visit the page works without a network. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { join } from 'node:path';
import { DIST, OFFLINE, PHOTO, TEST_MS, launch } from './harness.mjs';

const browser = launch();
const elsewhere = launch({ serving: { mounts: { 'models/other/': join(DIST, 'models/zegformer-lite') } } });

test('a second visit without a network segments a photo', { timeout: TEST_MS }, async () => {
    const context = await browser.browser.newContext();
    const first = await browser.open('?engine=cpu&classes=cat,wall', { context });
    await first.page.setInputFiles('#file', PHOTO);
    await first.state('done');
    await first.page.evaluate(() => navigator.serviceWorker.ready);
    const online = await first.lastMap();
    await first.close();

    await browser.server.close();
    const second = await browser.open('?engine=cpu&classes=cat,wall', { context });
    await second.state('ready');
    await second.page.click('#examples button >> nth=1');
    await second.state('done');
    await second.page.setInputFiles('#file', PHOTO);
    await second.page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.at(-1).width === 451);
    assert.deepEqual((await second.lastMap()).labels, online.labels);
    await second.close({ expected: OFFLINE });
    await context.close();
});

test('a server in trouble does not take a kept model away that is no part of the page', { timeout: TEST_MS }, async () => {
    const address = '?engine=cpu&classes=cat,wall&model=other';
    const context = await elsewhere.browser.newContext();
    const first = await elsewhere.open(address, { context });
    await first.page.setInputFiles('#file', PHOTO);
    await first.state('done');
    await first.close();
    elsewhere.server.intercept = (path) => (path.endsWith('bundle.json') ? { status: 503, body: Buffer.from('busy') } : undefined);
    const second = await elsewhere.open(address, { context });
    await second.page.setInputFiles('#file', PHOTO);
    await second.state('done');
    await second.close({ expected: /Failed to load resource/ });
    // A model that is gone is gone.
    elsewhere.server.intercept = (path) => (path.endsWith('bundle.json') ? { status: 404, body: Buffer.from('') } : undefined);
    const third = await elsewhere.open(address, { context });
    await third.state('error');
    await third.close({ expected: /Failed to load resource/ });
    await context.close();
});

test('what a visit did not need is not there without a network, unless all is kept', { timeout: TEST_MS }, async () => {
    const context = await elsewhere.browser.newContext();
    const { page, ...zeg } = await elsewhere.open('?engine=cpu&classes=cat,wall', { context });
    await zeg.state('ready');
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.setInputFiles('#file', PHOTO);
    await zeg.state('done');

    await context.setOffline(true);
    await page.fill('#classes', 'a frumious bandersnatch,');
    await page.waitForSelector('#status[data-state=error]');
    assert.match(await zeg.text(), /one of the names needs the text model, which was not kept, and there is no connection; connect once/);
    await page.click('[aria-label="Remove a frumious bandersnatch"]');
    await page.waitForSelector('#status[data-state=done]');

    await page.click('#settings-box summary');
    const keep = page.locator('#keep button');
    await page.waitForSelector('#keep button', { state: 'visible' });
    assert.match(await keep.innerText(), /^Keep all for offline use \(\d+ MB\)$/);
    await keep.click();
    await page.waitForFunction(() => document.getElementById('keep')?.innerText.includes('Not all could be kept'));
    await context.setOffline(false);
    await keep.click();
    await page.waitForFunction(() => document.getElementById('keep')?.innerText.includes('All is kept'));
    assert.ok(await keep.isHidden());

    await context.setOffline(true);
    await page.reload();
    await zeg.state('ready');
    await page.click('#settings-box summary');
    await page.waitForFunction(() => document.getElementById('keep')?.innerText.includes('All is kept'));
    await page.fill('#classes', 'a frumious bandersnatch,');
    await page.setInputFiles('#file', PHOTO);
    await zeg.state('done');
    await zeg.close({ expected: OFFLINE });
    await context.close();
});

test('the service worker keeps every file of the page', async () => {
    const www = new URL('../../www/', import.meta.url);
    const listed = [...(await readFile(new URL('sw.js', www), 'utf8')).matchAll(/'(www\/[^']+)'/g)].map(([, path]) => path);
    const files = (await readdir(www, { recursive: true }))
        .filter((path) => /\.(js|css|svg|jpg)$/.test(path) && path !== 'sw.js')
        .map((path) => `www/${path}`);
    const built = ['www/wasm/zegformer.js', 'www/wasm/zegformer_bg.wasm'];
    assert.deepEqual(listed.sort(), [...files, ...built].sort());
});
