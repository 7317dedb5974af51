/** How a model's files are kept: which bundle.json is taken, what is fetched again, and what is dropped. */

import assert from 'node:assert/strict';
import { createHash, webcrypto } from 'node:crypto';
import { afterEach, beforeEach, test } from 'node:test';
import { ModelFiles, cacheKey } from '../../www/model-files.js';

const FOLDER = new URL('https://a.b/models/m/');
const BUNDLE = `${FOLDER.href}bundle.json`;

// Node 18 has it elsewhere than browsers.
if (!globalThis.crypto) Object.assign(globalThis, { crypto: webcrypto });

/** What the cache holds, and what the server has; `undefined`: it cannot be reached. @type {Map<string, Uint8Array>} */
let kept;
/** @type {Map<string, string> | undefined} */
let served;
/** @type {string[]} */
let fetched;

/** @param {string} text */
const hashOf = (text) => createHash('sha256').update(text).digest('hex');

/** @param {Record<string, string>} contents of the files @param {string} description */
function bundle(contents, description) {
    const files = Object.fromEntries(Object.entries(contents).map(([name, text]) => [name, { bytes: text.length, sha256: hashOf(text) }]));
    return JSON.stringify({ description, files });
}

/** Puts a version of the model on the server. @param {Record<string, string>} contents @param {string} description */
function publish(contents, description) {
    const text = bundle(contents, description);
    served = new Map(Object.entries({ ...contents, 'bundle.json': text }).map(([name, body]) => [FOLDER.href + name, body]));
    return text;
}

const real = { caches: globalThis.caches, fetch: globalThis.fetch };

beforeEach(() => {
    kept = new Map();
    fetched = [];
    const cache = {
        match: async (/** @type {string} */ key) => (kept.has(key) ? new Response(/** @type {any} */ (kept.get(key))) : undefined),
        put: async (/** @type {string} */ key, /** @type {Response} */ response) => void kept.set(key, new Uint8Array(await response.arrayBuffer())),
        delete: async (/** @type {string} */ key) => kept.delete(key),
        keys: async () => [...kept.keys()].map((url) => ({ url })),
    };
    const fetch = async (/** @type {string} */ url) => {
        fetched.push(url.replace(FOLDER.href, ''));
        if (!served) throw new TypeError('Failed to fetch');
        const body = served.get(url);
        return new Response(body ?? '', { status: body === undefined ? 404 : 200 });
    };
    Object.assign(globalThis, { caches: { open: async () => cache }, fetch });
});
afterEach(() => {
    Object.assign(globalThis, real);
});

/** A visit that reads these files. @param {string[]} names @param {(text: string) => void} [judge] of bundle.json */
async function visit(names, judge = () => {}) {
    fetched = [];
    const files = new ModelFiles(FOLDER, () => {}, () => {});
    const taken = await files.open(async (text) => {
        judge(text);
        return text;
    });
    const read = [];
    for (const name of names) read.push(new TextDecoder().decode(await files.read(name)));
    return { files, taken, read };
}

/** @param {string} name @param {string} text */
const isKept = (name, text) => kept.has(cacheKey(FOLDER.href + name, hashOf(text)));
const decode = (/** @type {Uint8Array | undefined} */ bytes) => new TextDecoder().decode(bytes);

test('files are fetched once', async () => {
    publish({ 'a.onnx': 'one', 'b.onnx': 'two' }, 'first');
    assert.deepEqual((await visit(['a.onnx'])).read, ['one']);
    await visit(['a.onnx']);
    assert.deepEqual(fetched, ['bundle.json']);
    served = undefined;
    assert.deepEqual((await visit(['a.onnx'])).read, ['one']);
});

test('what any names need is told from what the text model needs', async () => {
    const contents = { 'a.onnx': 'one', 'b.onnx': 'two', 'text.onnx': 'three' };
    const text = JSON.stringify({ ...JSON.parse(bundle(contents, 'first')), text: { graph: 'text.onnx' } });
    served = new Map(Object.entries({ ...contents, 'bundle.json': text }).map(([name, body]) => [FOLDER.href + name, body]));
    const { files } = await visit(['a.onnx']);
    assert.equal(await files.lackMore(), true);
    await files.read('b.onnx');
    assert.equal(await files.lackMore(), false);
    assert.equal(await (await visit([])).files.lackMore(), false);
});

test('a newer bundle.json brings what was kept of the older one, and nothing else', async () => {
    publish({ 'a.onnx': 'one', 'b.onnx': 'two', 'c.onnx': 'three' }, 'first');
    await visit(['a.onnx', 'c.onnx']);
    const text = publish({ 'a.onnx': 'ONE', 'b.onnx': 'TWO', 'c.onnx': 'three' }, 'second');
    assert.equal((await visit([])).taken, text);
    assert.deepEqual(fetched, ['bundle.json', 'a.onnx']);
    assert.ok(isKept('a.onnx', 'ONE') && isKept('c.onnx', 'three'));
    assert.ok(!isKept('a.onnx', 'one'), 'the old file takes room');
    served = undefined;
    assert.deepEqual((await visit(['a.onnx', 'c.onnx'])).read, ['ONE', 'three']);
});

test('a bundle.json that is refused leaves the kept one in its place', async () => {
    const first = publish({ 'a.onnx': 'one' }, 'first');
    await visit(['a.onnx']);
    publish({ 'a.onnx': 'ONE' }, 'unheard of');
    /** @param {string} text */
    const judge = (text) => {
        if (text.includes('unheard of')) throw new Error('bundle.json does not describe a model: unknown field');
    };
    const { taken, read } = await visit(['a.onnx'], judge);
    assert.deepEqual([taken, read], [first, ['one']]);
    assert.equal(decode(kept.get(BUNDLE)), first);
    served = undefined;
    assert.deepEqual((await visit(['a.onnx'], judge)).read, ['one']);
});

test('a bundle.json whose files are not to be had, or others, leaves the kept one in its place', async () => {
    const first = publish({ 'a.onnx': 'one' }, 'first');
    await visit(['a.onnx']);
    for (const found of [undefined, 'half uploaded']) {
        publish({ 'a.onnx': 'ONE' }, 'second');
        if (found) served?.set(`${FOLDER.href}a.onnx`, found);
        else served?.delete(`${FOLDER.href}a.onnx`);
        const { taken, read } = await visit(['a.onnx']);
        assert.deepEqual([taken, read], [first, ['one']]);
        assert.equal(decode(kept.get(BUNDLE)), first);
    }
});

test('a refusal is told if there is nothing else', async () => {
    publish({ 'a.onnx': 'one' }, 'first');
    await assert.rejects(visit([], () => {
        throw new Error('bundle.json, field text: none');
    }), /field text/);
    assert.equal(kept.size, 0);
});

test('a damaged file is dropped, a good one stays whatever error names it', async () => {
    publish({ 'a.onnx': 'one', 'b.onnx': 'two' }, 'first');
    const { files } = await visit(['a.onnx', 'b.onnx']);
    for (const message of ['a.onnx: the GPU ran out of memory', 'a.onnx: the GPU was lost', 'a.onnx could not be read: the connection failed']) {
        await files.forgetDamaged(message);
        assert.ok(isKept('a.onnx', 'one'), message);
    }
    await files.forgetDamaged('a.onnx is damaged (its SHA-256 differs from bundle.json); download the model again');
    assert.deepEqual([isKept('a.onnx', 'one'), isKept('b.onnx', 'two')], [false, true]);
    await files.forgetDamaged('b.onnx has 1 bytes, but bundle.json says 3; download the model again');
    assert.ok(!isKept('b.onnx', 'two'));
});
