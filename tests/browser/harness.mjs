/** A browser, a served dist/ and a page that notes all that a good page does not do. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, afterEach, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { serve } from './server.mjs';

/** @import { Browser, BrowserContext, Page } from 'playwright-core' */

export const DIST = process.env.DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));

export const PHOTO = fileURLToPath(new URL('../photos/chelsea.png', import.meta.url));
/** The same photo, smaller, in a format that the module leaves to the browser. */
export const AVIF = fileURLToPath(new URL('../photos/chelsea.avif', import.meta.url));
/** `build.sh` says which. */
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** What the console says where there is no network. */
export const OFFLINE = /Failed to load resource|ERR_INTERNET_DISCONNECTED|An unknown error/;

/** How long a page is waited for: a software adapter needs its time. */
export const PATIENCE_MS = 300_000;
/** Limits of a test and of a suite. One wait that takes too long ends before, and says what it waited for. */
export const TEST_MS = 2 * PATIENCE_MS;
export const SUITE_MS = 8 * PATIENCE_MS;

const ARGUMENTS = [
    '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
];
const SOFTWARE_WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

const GPU = ['--enable-unsafe-webgpu', '--ignore-gpu-blocklist', '--enable-features=Vulkan', '--use-angle=vulkan'];

/**
 * WebGPU runs on the software adapter, or on the machine's graphics card. With `onDisk`, a folder, pages share a profile there
 * as a user's do; else each has one of its own, whose caches are in memory. `serving` says how dist/ is served.
 *
 * @typedef {{webgpu?: boolean, gpu?: boolean, dist?: string, onDisk?: string, serving?: Parameters<typeof serve>[1]}} Options
 * @param {Options} [options]
 */
export async function start({ webgpu = false, gpu = false, dist = DIST, onDisk, serving } = {}) {
    if (!existsSync(CHROMIUM)) throw new Error(`there is no ${CHROMIUM}: install Chromium or set CHROMIUM to the path of one`);
    const server = await serve(dist, serving);
    const options = {
        executablePath: CHROMIUM,
        args: [...ARGUMENTS, ...webgpu ? SOFTWARE_WEBGPU : [], ...gpu ? GPU : []],
    };
    const profile = onDisk === undefined ? undefined : await chromium.launchPersistentContext(onDisk, options);
    const browser = profile?.browser() ?? await chromium.launch(options);
    return {
        server,
        browser,
        /**
         * @param {string} query
         * @param {{width?: number, height?: number, context?: BrowserContext}} [options]
         */
        open: (query, options) => openPage(browser, server, query, { context: profile, ...options }),
        async stop() {
            await profile?.close();
            await browser.close();
            await server.close();
        },
    };
}

/**
 * A browser for all tests of a file. After each of them its pages are closed, and the server answers by itself.
 *
 * @param {Options | (() => Promise<Options>)} [options]
 */
export function launch(options = {}) {
    /** @type {Awaited<ReturnType<typeof start>>} */
    let started;
    before(async () => {
        started = await start(typeof options === 'function' ? await options() : options);
    });
    afterEach(async () => {
        started.server.intercept = () => undefined;
        await Promise.all(started.browser.contexts().map((context) => context.close()));
    });
    after(() => started?.stop());
    return {
        get server() {
            return started.server;
        },
        get browser() {
            return started.browser;
        },
        /** @param {Parameters<typeof started.open>} args */
        open: (...args) => started.open(...args),
    };
}

/**
 * @param {Browser} browser
 * @param {import('./server.mjs').TestServer} server
 * @param {string} query
 * @param {{width?: number, height?: number, context?: BrowserContext}} [options]
 */
async function openPage(browser, server, query, { width = 1280, height = 800, context } = {}) {
    const page = await (context ?? browser).newPage(context ? undefined : { viewport: { width, height } });
    page.setDefaultTimeout(PATIENCE_MS);
    /** @type {string[]} */
    const errors = [];
    /** @type {string[]} */
    const strangers = [];
    page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') errors.push(message.text());
    });
    page.on('pageerror', (error) => errors.push(String(error)));
    page.context().on('request', (request) => {
        const { protocol, origin } = new URL(request.url());
        if (protocol !== 'blob:' && protocol !== 'data:' && origin !== new URL(server.url).origin) strangers.push(request.url());
    });
    await page.addInitScript(() => {
        const seen = { stages: /** @type {any[]} */ ([]), previews: /** @type {any[]} */ ([]), results: /** @type {any[]} */ ([]) };
        Object.assign(globalThis, { seen });
        document.addEventListener('zegformer:stage', (event) => seen.stages.push(/** @type {CustomEvent} */ (event).detail));
        document.addEventListener('zegformer:preview', (event) => seen.previews.push(/** @type {CustomEvent} */ (event).detail));
        document.addEventListener('zegformer:result', (event) => seen.results.push(/** @type {CustomEvent} */ (event).detail));
    });
    await page.goto(server.url + query);
    return {
        page,
        errors,
        /** @param {...string} states */
        state: (...states) => waitForState(page, states),
        text: () => page.locator('#status').innerText(),
        /** @returns {Promise<import('../../www/protocol.js').StageEvent[]>} */
        stages: () => page.evaluate(() => /** @type {any} */ (globalThis).seen.stages),
        forgetStages: () => page.evaluate(() => {
            /** @type {any} */ (globalThis).seen.stages.length = 0;
        }),
        legend: () => readLegend(page),
        lastMap: () => readLastMap(page),
        /** Closes the page and fails if it did what a good page does not do. */
        async close({ expected = /^$/ } = {}) {
            await page.close();
            assert.deepEqual(errors.filter((error) => !expected.test(error)), [], 'errors on the console');
            assert.deepEqual(strangers, [], 'requests to other origins');
        },
    };
}

/**
 * Holds the answer for a file back until `release` is called; `asked` resolves once the page has asked for it.
 *
 * @param {import('./server.mjs').TestServer} server
 * @param {string} file
 */
export function holdBack(server, file) {
    /** @type {() => void} */
    let release = () => {};
    const held = new Promise((resolve) => {
        release = () => resolve(undefined);
    });
    const asked = new Promise((resolve, reject) => {
        setTimeout(reject, PATIENCE_MS, new Error(`nobody asked for ${file}`)).unref();
        server.intercept = (path) => {
            if (!path.endsWith(file)) return undefined;
            resolve(undefined);
            return held.then(() => {});
        };
    });
    return { asked, release };
}

/**
 * A worker that does not hear Stop in half a second is replaced, and on a busy machine it may well not. After this only hearing
 * ends a run.
 *
 * @param {Page} page
 */
export const onlyHearing = (page) => page.evaluate(() => {
    const wait = globalThis.setTimeout;
    const patient = (/** @type {() => void} */ act, /** @type {number} */ ms) => wait(act, ms === 500 ? 3_600_000 : ms);
    Object.assign(globalThis, { setTimeout: patient });
});

/** The page has been painted since. @param {Page} page */
export const nextFrame = (page) => page.evaluate(() => new Promise((resolve) => {
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(undefined)));
}));

/**
 * A page without the page: the wasm module alone, as `wasm` among its globals.
 *
 * @param {Awaited<ReturnType<typeof start>>} started
 */
export async function openModule({ browser, server }) {
    server.intercept = (path) => (path === 'blank.html' ? { type: 'text/html', body: Buffer.from('<!doctype html><title>module</title>') } : undefined);
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(`${server.url}blank.html`);
    await page.evaluate(async () => {
        const wasm = await import(new URL('www/wasm/zegformer.js', location.href).href);
        await wasm.default();
        Object.assign(globalThis, { wasm });
    });
    return page;
}

/**
 * Waits for one of the states; an error that was not asked for fails at once, with its sentence.
 *
 * @param {Page} page
 * @param {string[]} states
 */
async function waitForState(page, states) {
    const any = [...states, 'error'].map((state) => `#status[data-state="${state}"]`).join(', ');
    await page.waitForSelector(any);
    const line = page.locator('#status');
    const state = await line.getAttribute('data-state') ?? '';
    assert.ok(states.includes(state), `state ${state}: ${await line.innerText()}`);
    return state;
}

/** @param {Page} page */
function readLegend(page) {
    return page.locator('#legend li[data-class]').evaluateAll((items) => items.map((item) => ({
        name: /** @type {HTMLElement} */ (item).dataset.class ?? '',
        share: Number(/** @type {HTMLElement} */ (item).dataset.share),
    })));
}

/** @param {Page} page */
async function readLastMap(page) {
    const map = await page.evaluate(() => {
        const { width, height, labels } = /** @type {any} */ (globalThis).seen.results.at(-1);
        let text = '';
        for (let at = 0; at < labels.length; at += 32768) text += String.fromCharCode(...labels.subarray(at, at + 32768));
        return { width, height, text: btoa(text) };
    });
    return { width: map.width, height: map.height, labels: new Uint8Array(Buffer.from(map.text, 'base64')) };
}

/**
 * The share of pixels in which two label maps agree.
 *
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function agreement(one, other) {
    assert.equal(one.length, other.length);
    return one.reduce((same, label, at) => same + Number(label === other[at]), 0) / one.length;
}

/** Drops a file as a user does. @param {Page} page @param {string} name @param {Buffer} bytes @param {string} type */
export const dropFile = (page, name, bytes, type) => dropFiles(page, [{ name, bytes, type }]);

/** @typedef {{name: string, bytes: Buffer, type: string}} TestFile */

/** Drops files together. @param {Page} page @param {TestFile[]} files */
export async function dropFiles(page, files) {
    const transfer = await page.evaluateHandle((items) => {
        const dropped = new DataTransfer();
        for (const { text, name, type } of items) {
            const data = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
            dropped.items.add(new File([data], name, { type }));
        }
        return dropped;
    }, files.map(({ name, bytes, type }) => ({ name, type, text: bytes.toString('base64') })));
    await page.dispatchEvent('#drop', 'drop', { dataTransfer: transfer });
}

/** Drops a PNG of any size, which the browser paints. @param {Page} page @param {string} name @param {number} width @param {number} height */
export async function dropPainted(page, name, width, height) {
    const transfer = await page.evaluateHandle(async ([fileName, wide, tall]) => {
        const canvas = new OffscreenCanvas(wide, tall);
        const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
        context.fillStyle = '#a86';
        context.fillRect(0, 0, wide, tall);
        context.fillStyle = '#46a';
        context.fillRect(wide / 3, 0, wide / 3, tall);
        const dropped = new DataTransfer();
        dropped.items.add(new File([await canvas.convertToBlob()], fileName, { type: 'image/png' }));
        return dropped;
    }, /** @type {[string, number, number]} */ ([name, width, height]));
    await page.dispatchEvent('#drop', 'drop', { dataTransfer: transfer });
}
