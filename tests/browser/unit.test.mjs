/** The page's functions that need no browser. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Client } from '../../www/client.js';
import { mergeNames, parseNames, tidyName } from '../../www/chips.js';
import { cutoutName, fileName, stem } from '../../www/downloads.js';
import { note, percent, solo } from '../../www/legend.js';
import { cacheKey, httpSentence, readBody } from '../../www/model-files.js';
import { cssColour, fitWithin, inWords, paintLabels, probe } from '../../www/overlay.js';
import { droppedFolders, filesIn } from '../../www/folders.js';
import { sortOut } from '../../www/photos.js';
import { nearest } from '../../www/segments.js';
import { readAddress, writeAddress } from '../../www/address.js';
import { duration, megabytes, outcome, sentence, timings } from '../../www/status.js';

test('names are split at commas, semicolons and lines; synonyms stay together', () => {
    assert.deepEqual(parseNames('cat, sofa | couch;wall\n\n tall   tree ,,;'), ['cat', 'sofa | couch', 'wall', 'tall tree']);
    assert.deepEqual(parseNames(' ,; \n'), []);
    assert.equal(tidyName(' | sofa||couch | '), 'sofa | couch');
    assert.equal(tidyName('|'), '');
});

test('a name is there once, whatever its case', () => {
    assert.deepEqual(mergeNames(['Cat'], ['cat', 'dog', 'DOG', 'sofa']), ['Cat', 'dog', 'sofa']);
    assert.deepEqual(mergeNames([], ['constructor', '__proto__']), ['constructor', '__proto__']);
});

test('file names are made of the photo’s name', () => {
    assert.equal(stem('my cat.final.JPEG'), 'my-cat.final');
    assert.equal(stem('C:\\fakepath\\Käthe.png'), 'Käthe');
    assert.equal(stem('../../etc/passwd'), 'passwd');
    assert.equal(stem('...'), 'photo');
    assert.equal(stem(`${'x'.repeat(300)}.png`).length, 80);
    assert.equal(fileName('a.png', 'coco'), 'a.coco.json');
    assert.equal(cutoutName('a.png', 'traffic light/<b>'), 'a.b.png');
    assert.equal(cutoutName('a.png', 'St. Bernard'), 'a.St.-Bernard.png');
});

test('shares are told in whole per cent, and a little is not nothing', () => {
    assert.equal(percent(0), '0 %');
    assert.equal(percent(0.004), '< 1 %');
    assert.equal(percent(0.456), '46 %');
    assert.equal(percent(1), '100 %');
});

test('"only" hides the others, and a second time shows all', () => {
    assert.deepEqual([...solo(new Set(), 1, 3)], [0, 2]);
    assert.deepEqual([...solo(new Set([0, 2]), 1, 3)], []);
    assert.deepEqual([...solo(new Set([0, 1, 2]), 1, 3)], [0, 2]);
});

test('the legend says how a name was looked for', () => {
    const plain = { name: 'animal', sameAs: null, about: null, kinds: [], foundAs: [], seen: true, share: 0.5 };
    const kinds = ['cat', 'dog', 'owl'];
    assert.deepEqual(note(plain), ['', '']);
    assert.deepEqual(note({ ...plain, kinds: ['cat'], foundAs: ['cat'] }), ['', '']);
    assert.equal(note({ ...plain, seen: false })[0], 'no masks in training');
    assert.equal(note({ ...plain, seen: null })[0], '');
    assert.equal(note({ ...plain, seen: false, kinds, foundAs: ['cat'], sameAs: 'beast' })[0], 'the same as beast');
    assert.equal(note({ ...plain, seen: false, sameAs: null })[0], 'no masks in training');
    assert.equal(note({ ...plain, about: 'pet' })[0], 'looked for as “pet”');
    assert.equal(note({ ...plain, kinds, foundAs: ['owl', 'cat'] })[0], 'found as owl, cat');
    assert.equal(note({ ...plain, about: 'pet', kinds, foundAs: ['cat'] })[0], 'found as cat');
    assert.deepEqual(note({ ...plain, kinds, foundAs: ['cat'], share: 0 }), ['', '']);
    assert.match(note({ ...plain, kinds, foundAs: ['cat'] })[1], /3 kinds of it: cat, dog, owl/);
});

test('a file’s key in the cache holds its hash', () => {
    assert.equal(cacheKey('https://a.b/models/m/x.onnx', 'abc'), 'https://a.b/models/m/x.onnx?sha256=abc');
    assert.notEqual(cacheKey('https://a.b/x', '1'), cacheKey('https://a.b/x', '2'));
    assert.equal(httpSentence(404, 'https://a.b/models/m/x.onnx'), 'x.onnx is not on the server');
    assert.match(httpSentence(503, 'https://a.b/x'), /503/);
});

test('a body is read to its end whatever Content-Length says', async () => {
    /** @type {number[]} */
    const progress = [];
    const body = new ReadableStream({
        start(controller) {
            controller.enqueue(new Uint8Array([1, 2]));
            controller.enqueue(new Uint8Array([3]));
            controller.close();
        },
    });
    const bytes = await readBody(new Response(body, { headers: { 'content-length': '1' } }), (done) => progress.push(done));
    assert.deepEqual([...bytes], [1, 2, 3]);
    assert.deepEqual(progress, [2, 3]);
});

test('the overlay fits within its limit and is never empty', () => {
    assert.deepEqual(fitWithin(4000, 2000, 1600), { width: 1600, height: 800 });
    assert.deepEqual(fitWithin(300, 200, 1600), { width: 300, height: 200 });
    assert.deepEqual(fitWithin(40000, 1, 1600), { width: 1600, height: 1 });
});

test('labels are painted in their colours, borders opaque, hidden and other clear', () => {
    const palette = new Uint8Array([255, 0, 0, 0, 255, 0]);
    // Two columns of class 0, one of class 1, one of "other".
    const map = { width: 4, height: 1, labels: new Uint8Array([0, 0, 1, 255]) };
    const view = { width: 4, height: 1, opacity: 0.5, isShown: () => true };
    assert.deepEqual([...paintLabels(map, palette, view)], [255, 0, 0, 128, 255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 0, 0]);
    const hidden = paintLabels(map, palette, { ...view, isShown: (label) => label === 1 });
    assert.deepEqual([...hidden], [0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 255, 0, 0, 0, 0]);
    const half = paintLabels(map, palette, { ...view, width: 2 });
    assert.deepEqual([half[0], half[3], half[7]], [255, 255, 0]);
    assert.equal(cssColour(palette, 1), 'rgb(0 255 0)');
});

test('the read-out takes the pixel under the pointer, edges included', () => {
    const map = { width: 2, height: 2, labels: new Uint8Array([0, 1, 2, 255]), confidence: new Uint8Array([255, 0, 51, 0]) };
    assert.deepEqual(probe(map, 0, 0), { label: 0, confidence: 1 });
    assert.deepEqual(probe(map, 0.4, 0.6), { label: 2, confidence: 0.2 });
    assert.equal(probe(map, 1, 1).label, 255);
    assert.equal(probe(map, -3, 9).label, 2);
});

test('a segment without a class is shown as what came nearest', () => {
    const score = (/** @type {number} */ fused) => ({ name: '', query: 0, image: null, fused });
    const segment = { query: 0, area: 1, box: /** @type {[number, number, number, number]} */ ([0, 0, 1, 1]), scores: [score(0.1), score(0.3), score(0.2)] };
    assert.equal(nearest({ ...segment, class: null }), 1);
    assert.equal(nearest({ ...segment, class: 2 }), 2);
});

test('the address chooses engine, model and names, and nothing else', () => {
    assert.deepEqual(readAddress('?engine=cpu&classes=cat,dog&model=big-1'), { engine: 'cpu', model: 'big-1', mode: null, classes: 'cat,dog' });
    assert.deepEqual(readAddress(''), { engine: 'auto', model: 'zegformer-lite', mode: null, classes: '' });
    for (const model of ['../x', 'a/b', 'https://evil', 'A', '', 'a%00']) {
        assert.equal(readAddress(`?model=${encodeURIComponent(model)}&engine=gpu`).model, 'zegformer-lite', model);
    }
    assert.equal(readAddress('?engine=gpu').engine, 'auto');
    assert.equal(readAddress('?mode=one-pass').mode, 'one-pass');
    assert.equal(readAddress('?mode=constructor').mode, null);
});

test('the address says what differs from the defaults, and is read back', () => {
    const choices = { engine: /** @type {const} */ ('cpu'), model: 'big-1', mode: /** @type {const} */ ('fast'), classes: 'sofa | couch,<b>&x=1#y,50 % ü' };
    assert.deepEqual(readAddress(writeAddress(choices)), choices);
    assert.equal(writeAddress({ engine: 'auto', model: 'zegformer-lite', mode: null, classes: '' }), '');
    assert.equal(writeAddress({ engine: 'auto', model: 'zegformer-lite', mode: null, classes: 'a,b' }), '?classes=a,b');
});

test('of several files the pictures are taken, and it is said which others are not', () => {
    const file = (/** @type {string} */ name, type = '') => ({ name, type });
    const [text, one, two] = [file('a.txt', 'text/plain'), file('b.png', 'image/png'), file('c.jpg', 'image/jpeg')];
    assert.deepEqual(sortOut([]), { photos: [], said: '' });
    // One alone is read whatever it says it is.
    assert.deepEqual(sortOut([text]), { photos: [text], said: '' });
    assert.deepEqual(sortOut([two, one]), { photos: [two, one], said: '' });
    assert.deepEqual(sortOut([text, one, two]), { photos: [one, two], said: 'Left out, as it is no picture: a.txt.' });
    const [heic, folder] = [file('d.HEIC'), file('folder')];
    assert.deepEqual(sortOut([heic, folder]).photos, [heic]);
    assert.match(sortOut([one, folder, folder, text, text, text]).said, /^Left out, as they are no pictures: folder, folder, a\.txt and 2 more\.$/);
    assert.deepEqual(sortOut([text, folder]), { photos: [], said: 'None of these 2 files is a picture.' });
});

test('an outcome in words names the largest first and what is left', () => {
    const classes = [['dog', 0.1], ['cat', 0.31], ['flea', 0.001]].map(([name, share]) => ({ name: String(name), share: Number(share), sameAs: null, about: null, kinds: [], foundAs: [], seen: null }));
    assert.equal(inWords({ classes, other: 0.589 }), 'cat 31 %, dog 10 %, nothing named 59 %');
    assert.equal(inWords({ classes: [], other: 1 }), 'nothing named 100 %');
});

test('messages are sentences', () => {
    assert.equal(sentence('stopped here'), 'Stopped here.');
    assert.equal(sentence('Is it?'), 'Is it?');
    assert.equal(sentence('model.onnx is damaged'), 'model.onnx is damaged.');
    assert.equal(megabytes(34_400_000), '34 MB');
    assert.equal(megabytes(1_250_000), '1.3 MB');
    assert.equal(duration(812.4), '812 ms');
    assert.equal(duration(1834), '1.8 s');
    const found = /** @type {any} */ ({ ms: 1834, width: 451, height: 300, photoWidth: 451, photoHeight: 300 });
    assert.equal(outcome(found), 'Done in 1.8 s.');
    assert.match(outcome({ ...found, photoWidth: 5000 }), /^Done in 1\.8 s\. Worked on at 451 × 300 pixels; .* 5000 × 300\.$/);
    assert.equal(timings({ classify: 1, text: 0, segmenter: 1200 }), 'Last run: segmenter 1.2 s, classify 1 ms.');
});

test('the page allows no script but its own, and no request to elsewhere', async () => {
    const html = await readFile(new URL('../../index.html', import.meta.url), 'utf8');
    const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(html)?.[1] ?? '';
    const rules = Object.fromEntries(policy.split(';').map((rule) => rule.trim().split(/\s+(.*)/s)));
    assert.equal(rules['default-src'], "'self'");
    assert.equal(rules['script-src'], "'self' 'wasm-unsafe-eval'");
    assert.equal(rules['connect-src'], "'self'");
    assert.equal(rules['form-action'], "'none'");
    assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|\*|https?:/);
    // Workers have theirs from headers.
    const worker = await readFile(new URL('../../www/sw.js', import.meta.url), 'utf8');
    assert.ok(worker.includes(`"${policy}"`), 'sw.js has another policy');
    const server = await readFile(new URL('../../tools/serve.py', import.meta.url), 'utf8');
    assert.ok(server.replace(/"\n\s*"/g, '').includes(`"${policy}"`), 'serve.py has another policy');
    // A host may serve the page from any folder.
    for (const [, url] of html.matchAll(/(?:src|href)="([^"]*)"/g)) assert.match(url, /^(www\/|$)/, url);
});

/** @param {string} name @param {any[] | null} [inside] of a folder */
const entry = (name, inside = null) => ({
    name,
    isDirectory: inside !== null,
    /** @param {(file: any) => void} found @param {(error: Error) => void} failed */
    file: (found, failed) => (name.startsWith('unreadable') ? failed(new Error('gone')) : found({ name, type: '' })),
    createReader() {
        const left = [...inside ?? []];
        // As browsers do: some at a time, and none at the end.
        return { readEntries: (/** @type {(entries: any[]) => void} */ found) => found(left.splice(0, 2)) };
    },
});

test('the files of dropped folders come in the order of their names, without hidden ones', async () => {
    const folder = entry('photos', [
        entry('10.jpg'), entry('9.jpg'), entry('.DS_Store'), entry('unreadable.jpg'), entry('more', [entry('b.png'), entry('a.png')]), entry('empty', []),
    ]);
    const items = [entry('z.jpg'), folder].map((found) => ({ webkitGetAsEntry: () => found }));
    const dropped = droppedFolders(/** @type {any} */ ({ items }));
    const { files: found, said } = await filesIn(/** @type {FileSystemEntry[]} */ (dropped));
    assert.equal(said, '1 of the files and folders could not be read.');
    const inFolder = ['9.jpg', '10.jpg', 'more/a.png', 'more/b.png'];
    assert.deepEqual(found.map(({ name }) => name), [...inFolder.map((name) => `photos/${name}`), 'z.jpg']);
    const { files: alone } = await filesIn(/** @type {any} */ ([folder]));
    assert.deepEqual(alone.map(({ name }) => name), inFolder);
    assert.equal(droppedFolders(/** @type {any} */ ({ items: items.slice(0, 1) })), null, 'a file alone is no folder');
    assert.equal(droppedFolders(/** @type {any} */ ({ items: [{ webkitGetAsEntry: () => null }, {}] })), null);
    const endless = Array.from({ length: 6000 }, (_, at) => entry(`${at}.jpg`));
    const most = await filesIn(/** @type {any} */ ([entry('disk', endless)]));
    assert.equal(most.files.length, 5000);
    assert.equal(most.said, 'Only the first 5,000 files were looked at.');
    const all = await filesIn(/** @type {any} */ ([entry('disk', endless.slice(0, 5000))]));
    assert.deepEqual([all.files.length, all.said], [5000, '']);
});

/**
 * Workers that do nothing: what they are posted, and how they answer.
 *
 * @param {import('node:test').TestContext} t
 */
function fakeWorkers(t) {
    /** @type {any[]} */
    const posted = [];
    const workers = /** @type {any[]} */ ([]);
    class FakeWorker {
        constructor() {
            workers.push(this);
        }

        /** @param {any} message */
        postMessage(message) {
            posted.push(message);
        }

        terminate() {}
    }
    const before = /** @type {any} */ (globalThis).Worker;
    Object.assign(globalThis, { Worker: FakeWorker });
    t.after(() => Object.assign(globalThis, { Worker: before }));
    /** Answers the oldest call of this name. @param {string} call @param {object} answer */
    const answer = async (call, answer) => {
        const [{ id }] = posted.splice(posted.findIndex((message) => message.call === call), 1);
        workers.at(-1).onmessage({ data: { id, ...answer } });
        await new Promise((resolve) => setTimeout(resolve, 0));
    };
    return { posted, workers, answer };
}

test('what is saved while a worker is replaced is of its own photo, or not saved', async (t) => {
    const { posted, answer } = fakeWorkers(t);
    const listener = { stage() {}, preview() {}, bytes() {}, notice() {}, engine() {}, again() {} };
    const lost = { error: 'this result is not the last one any more; save again', fatal: false };
    const [a, b] = [new Uint8Array([1]), new Uint8Array([2])];
    const client = new Client('model', 'cpu', listener);
    client.load();
    await answer('load', { value: { engine: { kind: 'cpu' } } });
    client.setPhoto(a);
    await answer('setPhoto', { value: {} });
    client.begin();
    client.segment();
    await answer('segment', { value: { serial: 1, options: {} } });

    client.changeEngine('cpu').catch(() => {});
    posted.length = 0;
    const save = () => client.export({ serial: 1, kind: 'labels.png', file: 'a', opacity: 1, hidden: new Uint8Array(0) });
    const remade = save();
    await answer('export', lost);
    assert.deepEqual(posted.map(({ call }) => call).slice(0, 4), ['setClasses', 'setOptions', 'segment', 'export'], 'it is not made again');
    await answer('export', { value: new Uint8Array([7]) });
    for (const call of ['setClasses', 'setOptions', 'segment']) await answer(call, { value: {} });
    assert.deepEqual(await remade, new Uint8Array([7]));

    posted.length = 0;
    client.setPhoto(b).catch(() => {});
    const refused = assert.rejects(save(), { message: lost.error });
    await answer('export', lost);
    await refused;
    assert.deepEqual(posted.map(({ call }) => call), ['setPhoto'], 'the other photo’s labels would be saved');
});

test('a module that breaks off on a GPU goes on with the CPU, and one that breaks off there is left alone', async (t) => {
    const { posted, workers, answer } = fakeWorkers(t);
    /** @type {string[]} */
    const said = [];
    const listener = { stage() {}, preview() {}, bytes() {}, notice: (/** @type {string} */ text) => void said.push(text), engine() {}, again() {} };
    const client = new Client('model', 'auto', listener);
    const broke = { error: 'the page’s program broke off', fatal: true };
    const engines = () => posted.filter(({ call }) => call === 'load').map(({ args }) => args[1]);
    const loading = assert.rejects(client.load());
    assert.deepEqual(engines(), ['auto']);
    await answer('load', broke);
    await loading;
    assert.deepEqual([workers.length, engines(), said.length], [2, ['cpu'], 1]);
    await answer('load', broke);
    assert.deepEqual([workers.length, engines(), said.length], [2, [], 1], 'it is begun again for ever');
    assert.ok(client.lost);

    posted.length = 0;
    const again = client.load();
    await answer('load', { value: { engine: { kind: 'cpu' } } });
    await answer('setOptions', { value: {} });
    await again;
    // Within a run on the CPU the reason is another one.
    const running = assert.rejects(client.segment());
    await answer('segment', broke);
    await running;
    assert.deepEqual([workers.length, said.length], [4, 1]);
});
