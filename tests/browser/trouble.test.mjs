/** What goes wrong is said in a sentence, and the page goes on. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { AVIF, PHOTO, SUITE_MS, dropFile, dropFiles, dropPainted, holdBack, launch, onlyHearing } from './harness.mjs';

const browser = launch();

const MISSING = /Failed to load resource/;

describe('trouble', { timeout: SUITE_MS }, () => {
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
        assert.match(await zeg.text(), /Type at least one name/);
        await page.fill('#classes', 'cat,');
        await zeg.state('done');
        assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length), 1);
        assert.equal((await zeg.stages()).filter(({ stage, state }) => stage === 'compose' && state === 'start').length, 1, 'it ran without a name');
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
        assert.match(await zeg.text(), /^segmenter\.onnx could not be read: the server has another version of it, or it came damaged; reload the page\.$/);
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
        const { asked } = holdBack(browser.server, 'segmenter.onnx');
        await page.setInputFiles('#file', PHOTO);
        await asked;
        browser.server.intercept = (path) => (path.endsWith('bundle.json') || path.endsWith('.onnx') ? { status: 503, body: Buffer.from('') } : undefined);
        // Nor is it kept.
        await page.evaluate(() => caches.delete('zegformer-models'));
        await page.click('#stop');
        await page.waitForSelector('#status[data-state=error]');
        assert.match(await zeg.text(), /the server answered 503 for bundle\.json/i);
        // What is tried meanwhile says why it fails.
        const asks = () => browser.server.paths.filter((path) => path.endsWith('bundle.json')).length;
        const before = asks();
        await page.fill('#classes', 'wall,');
        // At first the line says what it said before.
        while (asks() === before) await page.waitForTimeout(50);
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
        // One that would have it from the visit before.
        const context = await browser.browser.newContext({ serviceWorkers: 'block' });
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat', { context });
        await zeg.state('ready');
        // The picture on its button is there already.
        const { asked, release } = holdBack(browser.server, 'rocket.jpg');
        await page.click('#examples button >> nth=3');
        await asked;
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const late = page.waitForResponse((response) => response.url().endsWith('rocket.jpg'));
        release();
        // Its body is a few thousand bytes more. (Playwright's `finished` may wait for ever here.)
        await late;
        await page.waitForTimeout(1000);
        assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length), 1);
        assert.equal((await zeg.lastMap()).width, 451);
        await zeg.close({ expected: /Service Worker registration blocked/ });
        await context.close();
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
        const { asked, release } = holdBack(browser.server, 'segmenter.onnx');
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await asked;
        let workers = 0;
        page.on('worker', (worker) => {
            if (worker.url().endsWith('/worker.js')) workers += 1;
        });
        // The second is not for the worker that takes the first one's place.
        await page.evaluate(() => {
            document.getElementById('stop')?.click();
            setTimeout(() => document.getElementById('stop')?.click(), 250);
        });
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
        assert.equal(await zeg.state('ready'), 'ready');
        release();
        await page.fill('#classes', 'wall,');
        await zeg.state('done');
        assert.equal((await zeg.legend()).length, 2, 'the new worker was not told the names');
        assert.equal(workers, 1);
        await zeg.close();
    });

    test('stop between two steps ends the run within the old worker', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await onlyHearing(page);
        await page.evaluate(() => document.addEventListener('zegformer:stage', () => document.getElementById('stop')?.click(), { once: true }));
        await page.setInputFiles('#file', PHOTO);
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
        await page.fill('#classes', 'wall,');
        await zeg.state('done');
        await zeg.close();
    });

    test('an engine that is changed within a run begins the run again', async () => {
        const { asked, release } = holdBack(browser.server, 'segmenter.onnx');
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await asked;
        await page.evaluate(() => {
            const said = /** @type {string[]} */ ([]);
            Object.assign(globalThis, { said });
            const line = /** @type {HTMLElement} */ (document.getElementById('status-text'));
            new MutationObserver(() => said.push(line.innerText)).observe(line, { childList: true, characterData: true, subtree: true });
        });
        await page.click('#settings-box summary');
        await page.locator('select[name=engine]').selectOption('auto');
        await page.waitForFunction(() => /** @type {any} */ (globalThis).said.includes('Starting'));
        assert.ok(await page.locator('#stop').isVisible());
        release();
        await zeg.state('done');
        const said = /** @type {string[]} */ (await page.evaluate(() => /** @type {any} */ (globalThis).said));
        assert.equal(said[0], 'Changing the engine');
        assert.deepEqual(said.filter((text) => /^(Stopped|Ready)/.test(text)), []);
        await zeg.close();
    });

    test('Escape ends a run, but not from within a name that is edited', async () => {
        const { asked, release } = holdBack(browser.server, 'segmenter.onnx');
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await asked;
        await page.click('.chip-name >> text=cat');
        await page.keyboard.press('Escape');
        assert.equal(await page.locator('.chip-name').innerText(), 'cat');
        await page.keyboard.press('Escape');
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
        release();
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length), 1);
        await zeg.close();
    });

    test('what is refused meanwhile is told aside, and the run goes on', async () => {
        const { asked, release } = holdBack(browser.server, 'segmenter.onnx');
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await page.setInputFiles('#file', PHOTO);
        await asked;
        await dropFiles(page, ['notes.txt', 'list.txt'].map((name) => ({ name, bytes: Buffer.from('cats'), type: 'text/plain' })));
        await page.waitForFunction(() => document.getElementById('notice')?.innerText.includes('None of these 2 files is a picture'));
        assert.equal(await page.locator('#status').getAttribute('data-state'), 'running');
        assert.ok(await page.locator('#stop').isVisible());
        release();
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
        await page.waitForFunction(() => document.getElementById('status')?.innerText.startsWith('Stopped'));
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
