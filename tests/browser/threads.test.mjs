/** Threads of the CPU engine: where the page may have them, what they compute, and what happens without them. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { threadCount } from '../../www/wasm-module.js';
import { DIST, PHOTO, SUITE_MS, launch } from './harness.mjs';
import { serve } from './server.mjs';

const ADDRESS = '?engine=cpu&classes=cat,wall';

/** A thread that comes up and, when told, ends as one does whose part of the module traps. */
const FAILING = Buffer.from(`onmessage = ({ data: { port } }) => {
    new BroadcastChannel('fail').onmessage = () => port.postMessage('unreachable');
    postMessage('waiting');
};`);

/** The module's script is served to the page's worker, but not to its threads. */
function once() {
    let asked = 0;
    return () => {
        asked += 1;
        return asked === 1 ? { type: 'text/javascript', body: SCRIPT } : { status: 404, body: Buffer.from('') };
    };
}

const SCRIPT = await readFile(join(DIST, 'www/wasm/zegformer.js'));
const WORKER = await readFile(join(DIST, 'www/worker.js'));
const REFUSING = Buffer.from("Worker.prototype.postMessage = () => { throw new DOMException('no clone', 'DataCloneError'); };");

/** Why there may be no threads, what is answered otherwise then, and how. @type {[string, string, () => {status?: number, type?: string, body: Uint8Array}][]} */
const TROUBLES = [
    ['a thread that cannot start', 'www/thread.js', () => ({ status: 404, body: Buffer.from('') })],
    ['a thread whose script fails', 'www/wasm/zegformer.js', once()],
    // As WebKitGTK 2.50 does.
    ['memory that cannot be handed over', 'www/worker.js', () => ({ type: 'text/javascript', body: Buffer.concat([WORKER, REFUSING]) })],
];

/** Hosts that isolate the page, and that do not. */
const [isolating, plain] = [launch({ serving: { isolated: true } }), launch()];

/** @param {import('playwright-core').Page} page */
const engineOf = async (page) => await page.locator('#engine-badge').innerText();

test('as many threads as pay', () => {
    const counts = [[1, 1], [2, 2], [4, 4], [6, 4], [8, 4], [12, 6], [16, 8], [128, 8]];
    for (const [cores, count] of counts) assert.equal(threadCount(cores), count, `${cores} cores`);
});

describe('threads', { timeout: SUITE_MS }, () => {
    /** @type {Uint8Array} */
    let alone;

    test('a host without isolation: one thread, from the second visit on more', async () => {
        const context = await plain.browser.newContext();
        const first = await plain.open(ADDRESS, { context });
        await first.page.setInputFiles('#file', PHOTO);
        await first.state('done');
        assert.equal(await first.page.evaluate(() => crossOriginIsolated), false);
        assert.equal(await engineOf(first.page), 'CPU');
        alone = (await first.lastMap()).labels;
        await first.page.evaluate(() => navigator.serviceWorker.ready);
        await first.close();

        const second = await plain.open(ADDRESS, { context });
        await second.state('ready');
        assert.equal(await second.page.evaluate(() => crossOriginIsolated), true);
        const cores = await second.page.evaluate(() => navigator.hardwareConcurrency);
        if (cores > 1) assert.equal(await engineOf(second.page), `CPU, ${threadCount(cores)} threads`);
        await second.page.setInputFiles('#file', PHOTO);
        await second.state('done');
        assert.deepEqual((await second.lastMap()).labels, alone);
        await second.close();
        await context.close();
    });

    test('from the second visit on workers reach no other origin', async (t) => {
        const elsewhere = await serve(DIST);
        t.after(() => elsewhere.close());
        const context = await plain.browser.newContext();
        const first = await plain.open(ADDRESS, { context });
        await first.page.evaluate(() => navigator.serviceWorker.ready);
        await first.close();
        const second = await plain.open(ADDRESS, { context });
        await second.state('ready');
        const workers = second.page.workers();
        assert.ok(workers.length > 0);
        // A thread that waits in the module evaluates nothing.
        const [worker] = workers.filter((candidate) => candidate.url().endsWith('/worker.js'));
        const answer = await worker.evaluate((url) => fetch(url, { mode: 'no-cors' }).then(() => 'fetched', String), elsewhere.url);
        assert.match(answer, /TypeError/);
        assert.deepEqual(elsewhere.paths, [], 'the other origin was asked');
        await second.close({ expected: /Content Security Policy|Refused to connect/ });
        await context.close();
    });

    test('a host that isolates: threads at once, and the same labels', async () => {
        const { page, ...zeg } = await isolating.open(ADDRESS);
        await zeg.state('ready');
        const cores = await page.evaluate(() => navigator.hardwareConcurrency);
        if (cores > 1) assert.equal(await engineOf(page), `CPU, ${threadCount(cores)} threads`);
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        assert.deepEqual((await zeg.lastMap()).labels, alone);
        await zeg.close();
    });

    test('a thread that fails: the page goes on with one', async (t) => {
        isolating.server.intercept = (path) => (path === 'www/thread.js' ? { type: 'text/javascript', body: FAILING } : undefined);
        const { page, ...zeg } = await isolating.open(ADDRESS);
        if (await page.evaluate(() => navigator.hardwareConcurrency) < 2) {
            await zeg.close();
            return t.skip('this machine has one core');
        }
        await zeg.state('ready');
        assert.match(await engineOf(page), /threads/);
        await page.evaluate(() => new BroadcastChannel('fail').postMessage(''));
        await page.waitForFunction(() => document.getElementById('notice')?.innerText.includes('threads failed'));
        assert.match(await page.locator('#notice').innerText(), /goes on with one: unreachable/);
        await page.setInputFiles('#file', PHOTO);
        await page.waitForSelector('#status[data-state=done]');
        assert.equal(await engineOf(page), 'CPU');
        assert.deepEqual((await zeg.lastMap()).labels, alone);
        await zeg.close();
    });

    for (const [trouble, path, answer] of TROUBLES) {
        test(`${trouble}: the page goes on with one`, async () => {
            isolating.server.intercept = (asked) => (asked === path ? answer() : undefined);
            const { page, ...zeg } = await isolating.open(ADDRESS);
            await zeg.state('ready');
            assert.equal(await engineOf(page), 'CPU');
            await page.setInputFiles('#file', PHOTO);
            await zeg.state('done');
            assert.deepEqual((await zeg.lastMap()).labels, alone);
            await zeg.close({ expected: /Failed to load resource|ERR_BLOCKED/ });
        });
    }
});
