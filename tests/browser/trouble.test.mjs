/** What goes wrong is said in a sentence, and the page goes on. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, describe, test } from 'node:test';
import { AVIF, PATIENCE_MS, PHOTO, dropFile, dropPainted, start } from './harness.mjs';

/** @type {Awaited<ReturnType<typeof start>>} */
let browser;

before(async () => {
    browser = await start();
});
afterEach(() => {
    browser.server.intercept = () => undefined;
});
after(() => browser.stop());

const MISSING = /Failed to load resource/;

describe('trouble', { timeout: 2 * PATIENCE_MS }, () => {
    test('a broken image is named as such, and the next photo works', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await dropFile(page, 'broken.png', Buffer.from('this is no picture'), 'image/png');
        await zeg.state('error');
        assert.match(await zeg.text(), /^This is not an image.*\.$/);
        await dropFile(page, 'cut.png', (await readFile(PHOTO)).subarray(0, 30_000), 'image/png');
        await page.waitForFunction(() => document.getElementById('status')?.innerText.includes('damaged'));
        await page.setInputFiles('#file', PHOTO);
        await page.waitForSelector('#status[data-state=done]');
        await zeg.close();
    });

    test('what the module does not decode the browser may, and nothing else', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall');
        await zeg.state('ready');
        const picture = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>');
        await dropFile(page, 'drawing.svg', picture, 'image/svg+xml');
        await zeg.state('error');
        assert.match(await zeg.text(), /^This is not an image that can be read here/);
        await page.setInputFiles('#file', AVIF);
        await page.waitForSelector('#status[data-state=done]');
        const { width, height, labels } = await zeg.lastMap();
        assert.deepEqual([width, height], [226, 150]);
        assert.ok(labels.filter((label) => label === 0).length > labels.length / 3, 'the cat is not found');
        await zeg.close();
    });

    test('a photo that takes all memory is told as such, and the page goes on', async () => {
        const path = 'www/wasm-module.js';
        const script = (await readFile(new URL(`../../dist/${path}`, import.meta.url))).toString();
        assert.match(script, /MOST_PAGES = \[65536/);
        const small = Buffer.from(script.replace(/MOST_PAGES = \[[^\]]*\]/, 'MOST_PAGES = [4096]'));
        browser.server.intercept = (asked) => (asked === path ? { type: 'text/javascript', body: small } : undefined);
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        await dropPainted(page, 'huge.png', 9000, 7000);
        await page.waitForSelector('#status[data-state=error]');
        assert.match(await zeg.text(), /memory runs out; choose a smaller photo/);
        // The result that is still shown is made again.
        const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-kind="labels.png"]')]);
        assert.equal(download.suggestedFilename(), 'chelsea.labels.png');
        await page.setInputFiles('#file', AVIF);
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.at(-1).width === 226);
        await zeg.close();
    });

    test('an image of absurd size is refused before it takes the memory', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        const bytes = await readFile(PHOTO);
        bytes.writeUInt32BE(900_000, 16);
        bytes.writeUInt32BE(900_000, 20);
        await dropFile(page, 'huge.png', bytes, 'image/png');
        await zeg.state('error');
        assert.match(await zeg.text(), /^(The|This) image .*\.$/);
        await zeg.close();
    });

    test('no names: the page says what it waits for', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await page.waitForFunction(() => document.getElementById('status')?.innerText.includes('Type at least one name'));
        await page.fill('#classes', ' ,; , ');
        assert.equal(await page.inputValue('#classes'), '');
        assert.equal(await page.locator('.chip').count(), 0);
        // A run would have begun by then.
        await page.waitForTimeout(500);
        assert.deepEqual(await zeg.stages(), []);
        assert.match(await zeg.text(), /Type at least one name/);
        await zeg.close();
    });

    test('without WebGPU the CPU does the work, and the page says why', async () => {
        const { page, ...zeg } = await browser.open('?engine=webgpu&classes=cat');
        await zeg.state('ready');
        assert.equal(await page.locator('#status').getAttribute('data-engine'), 'cpu');
        assert.match(await page.locator('#notice').innerText(), /WebGPU does not work here.*CPU/s);
        // Chromium itself warns that there is no adapter.
        await zeg.close({ expected: /WebGPU/ });
    });

    test('a model that is not there', async () => {
        const zeg = await browser.open('?model=not-there');
        await zeg.state('error');
        assert.match(await zeg.text(), /not-there could not be loaded.*bundle\.json is not on the server\.$/);
        await zeg.close({ expected: MISSING });
    });

    test('a damaged model file is noticed, and fetched again', async () => {
        const path = 'models/zegformer-lite/segmenter.onnx';
        browser.server.intercept = (asked) => {
            if (asked !== path) return undefined;
            return { body: Buffer.alloc(1000) };
        };
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await page.waitForSelector('#status[data-state=error]');
        assert.match(await zeg.text(), /segmenter\.onnx.*download the model again/);
        browser.server.intercept = () => undefined;
        await page.fill('#classes', 'wall,');
        await page.waitForSelector('#status[data-state=done]');
        await zeg.close();
    });

    test('a model that failed to load is loaded once it can be', async () => {
        for (const path of ['models/zegformer-lite/bundle.json', 'www/wasm/zegformer_bg.wasm', 'www/wasm/zegformer.js', 'www/worker.js']) {
            browser.server.intercept = (asked) => (asked === path ? { status: 503, body: Buffer.from('') } : undefined);
            const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
            await page.waitForSelector('#status[data-state=error]');
            assert.match(await zeg.text(), /zegformer-lite could not be loaded/, path);
            browser.server.intercept = () => undefined;
            await page.click('#retry');
            await zeg.state('ready');
            assert.ok(await page.locator('#retry').isHidden());
            await page.setInputFiles('#file', PHOTO);
            await zeg.state('done');
            await zeg.close({ expected: MISSING });
        }
    });

    test('a worker in the place of a stopped one that does not come up is tried again, and told all', async () => {
        // None that keeps bundle.json.
        const context = await browser.browser.newContext({ serviceWorkers: 'block' });
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat', { context });
        await zeg.state('ready');
        // Held here the worker does not hear of a stop, and is replaced.
        const asked = new Promise((resolve) => {
            browser.server.intercept = (path) => {
                if (!path.endsWith('segmenter.onnx')) return undefined;
                resolve(undefined);
                return new Promise(() => {});
            };
        });
        await page.setInputFiles('#file', PHOTO);
        await asked;
        browser.server.intercept = (path) => (path.endsWith('bundle.json') || path.endsWith('.onnx') ? { status: 503, body: Buffer.from('') } : undefined);
        // Nor is it kept.
        await page.evaluate(() => caches.delete('zegformer-models'));
        await page.click('#stop');
        await page.waitForSelector('#status[data-state=error]');
        assert.match(await zeg.text(), /the server answered 503 for bundle\.json/i);
        // What is tried meanwhile says why it fails.
        await page.fill('#classes', 'wall,');
        await page.waitForTimeout(600);
        await page.waitForSelector('#status[data-state=error]');
        assert.match(await zeg.text(), /the server answered 503 for bundle\.json/i);
        browser.server.intercept = () => undefined;
        await page.click('#retry');
        await zeg.state('done');
        assert.deepEqual((await zeg.legend()).map(({ name }) => name).sort(), ['cat', 'wall']);
        await zeg.close({ expected: /Failed to load resource|Service Worker registration blocked/ });
        await context.close();
    });

    test('a slow example does not take the place of a photo that was chosen later', async () => {
        /** @type {() => void} */
        let release = () => {};
        const held = new Promise((resolve) => {
            release = () => resolve(undefined);
        });
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        // The picture on its button is there already.
        browser.server.intercept = (path) => (path.endsWith('rocket.jpg') ? held.then(() => {}) : undefined);
        await page.click('#examples button >> nth=3');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const late = page.waitForResponse((response) => response.url().endsWith('rocket.jpg'));
        release();
        // Its body is a few thousand bytes more. (Playwright's `finished` may wait for ever here.)
        await late;
        await page.waitForTimeout(1000);
        assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length), 1);
        assert.equal((await zeg.lastMap()).width, 451);
        await zeg.close();
    });

    test('no room in the cache: it works from memory and says so', async () => {
        const context = await browser.browser.newContext();
        const blank = await context.newPage();
        const session = await context.newCDPSession(blank);
        await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(browser.server.url).origin, quotaSize: 10_000 });
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat', { context });
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        assert.match(await page.locator('#notice').innerText(), /no room to keep the model/);
        await zeg.close();
        await context.close();
    });

    test('class names are text, whatever they look like', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu');
        const hostile = ['<img src=x onerror="window.hacked=1">', '"><script>hacked=1</script>', '__proto__', 'constructor', '\u202Etac', '🐈'];
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        for (const name of hostile) {
            await page.fill('#classes', name);
            await page.press('#classes', 'Enter');
        }
        await page.waitForFunction((count) => document.querySelectorAll('#legend li[data-class]').length === count
            || document.getElementById('status')?.dataset.state === 'error', hostile.length);
        await zeg.state('done');
        const names = (await zeg.legend()).map(({ name }) => name);
        assert.deepEqual(names.sort(), [...hostile].sort());
        assert.equal(await page.locator('aside img, aside script').count(), 0);
        assert.equal(await page.evaluate(() => 'hacked' in globalThis), false);
        await zeg.close();
    });

    test('the address cannot name a model elsewhere', async () => {
        const zeg = await browser.open('?engine=cpu&model=..%2F..%2Fevil&classes=%3Cb%3Ecat');
        await zeg.state('ready');
        assert.equal(browser.server.paths.some((path) => path.includes('evil')), false);
        assert.equal(await zeg.page.locator('.chip-name').innerText(), '<b>cat');
        await zeg.close();
    });

    test('stop ends a run that cannot hear it, and the next run works', async () => {
        /** @type {() => void} */
        let release = () => {};
        const held = new Promise((resolve) => {
            release = () => resolve(undefined);
        });
        browser.server.intercept = (path) => (path.endsWith('segmenter.onnx') ? held.then(() => {}) : undefined);
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await page.waitForSelector('#status[data-state=running]');
        await page.click('#stop');
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'), null, { timeout: 10_000 });
        assert.equal(await zeg.state('ready'), 'ready');
        release();
        await page.fill('#classes', 'wall,');
        await zeg.state('done');
        assert.equal((await zeg.legend()).length, 2, 'the new worker was not told the names');
        await zeg.close();
    });

    test('stop between two steps ends the run within the old worker', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.evaluate(() => document.addEventListener('zegformer:stage', () => document.getElementById('stop')?.click(), { once: true }));
        await page.setInputFiles('#file', PHOTO);
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'), null, { timeout: 20_000 });
        await page.fill('#classes', 'wall,');
        await zeg.state('done');
        await zeg.close();
    });

    test('stop while the photo is taken ends the run before its first stage', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.evaluate(() => {
            const post = Worker.prototype.postMessage;
            /** @param {any} message */
            Worker.prototype.postMessage = function heard(message) {
                post.call(this, message);
                if (message.call !== 'setPhoto') return;
                Worker.prototype.postMessage = post;
                document.getElementById('stop')?.click();
            };
        });
        await page.setInputFiles('#file', PHOTO);
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
        assert.deepEqual(await zeg.stages(), []);
        await page.fill('#classes', 'wall,');
        await zeg.state('done');
        assert.equal((await zeg.legend()).length, 2);
        await zeg.close();
    });

    test('a photo and a setting that a stopped worker never took are taken by the next', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.evaluate(() => {
            const post = Worker.prototype.postMessage;
            /** @param {any} message */
            Worker.prototype.postMessage = function deaf(message) {
                // As if the worker were busy for ever.
                if (message.call !== 'setPhoto' || this !== first) post.call(this, message);
                else document.getElementById('stop')?.click();
            };
            /** @type {Worker | undefined} */
            let first;
            const listen = Worker.prototype.postMessage;
            /** @param {any} message */
            Worker.prototype.postMessage = function once(message) {
                first = this;
                Worker.prototype.postMessage = listen;
                listen.call(this, message);
            };
        });
        await page.setInputFiles('#file', PHOTO);
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'), null, { timeout: 10_000 });
        await page.fill('#classes', 'wall,');
        await zeg.state('done');
        assert.equal((await zeg.lastMap()).width, 451);
        await zeg.close();
    });

    test('text that is dragged is left to the field it is for', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        const heard = await page.evaluate(() => {
            const text = new DataTransfer();
            text.setData('text/plain', 'dog');
            return ['dragenter', 'dragover', 'drop'].map((kind) => {
                const event = new DragEvent(kind, { dataTransfer: text, bubbles: true, cancelable: true });
                document.getElementById('classes')?.dispatchEvent(event);
                return event.defaultPrevented || document.getElementById('drop')?.classList.contains('is-over');
            });
        });
        assert.deepEqual(heard, [false, false, false]);
        assert.equal(await zeg.state('ready'), 'ready');
        await zeg.close();
    });
});
