/** What many photos are saved as: the ZIP file, the names in it, the COCO document, and what comes of photos that fail. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { distinct, inSentences, labelAll, namesInZip } from '../../www/label-all.js';
import { CocoFile } from '../../www/coco.js';
import { Zip, crc32 } from '../../www/zip.js';

/** @type {string} */
let folder;

before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zip-'));
});
after(() => rm(folder, { recursive: true }));

const bytesOf = (/** @type {string} */ text) => new TextEncoder().encode(text);

/**
 * Another program's view of a ZIP file, whose checksums it checks: each entry's name, content in hex, and date.
 *
 * @param {Blob} zip
 * @returns {Promise<[string, string, number[]][]>}
 */
async function entriesOf(zip) {
    const file = join(folder, 'file.zip');
    await writeFile(file, Buffer.from(await zip.arrayBuffer()));
    const script = 'import json, sys, zipfile\n'
        + 'with zipfile.ZipFile(sys.argv[1]) as z:\n'
        + '    assert z.testzip() is None\n'
        + '    print(json.dumps([[i.filename, z.read(i).hex() if i.file_size < 2000 else "", i.date_time] for i in z.infolist()]))';
    return JSON.parse(execFileSync('python3', ['-c', script, file], { maxBuffer: 1e8 }).toString());
}

test('a checksum is that of all pieces', () => {
    assert.equal(crc32([bytesOf('123456789')]), 0xcbf43926);
    assert.equal(crc32([bytesOf('1234'), bytesOf(''), bytesOf('56789')]), 0xcbf43926);
    assert.equal(crc32([]), 0);
});

test('another program reads the ZIP file: names, contents, date', async () => {
    const zip = new Zip(new Date(2026, 1, 3, 14, 5, 9));
    zip.add('labels/Käthe 🐈.png', [bytesOf('one '), bytesOf('two')]);
    zip.add('empty', []);
    zip.add('large', [new Uint8Array(200_000).fill(7)]);
    const date = [2026, 2, 3, 14, 5, 8];
    const hex = Buffer.from('one two').toString('hex');
    assert.deepEqual(await entriesOf(zip.finish()), [['labels/Käthe 🐈.png', hex, date], ['empty', '', date], ['large', '', date]]);
    assert.deepEqual(await entriesOf(new Zip().finish()), []);
});

test('as many entries as the format holds, and none beyond', { timeout: 300_000 }, async () => {
    const zip = new Zip();
    for (let at = 0; at < 65_535; at++) zip.add(`${at}`, []);
    assert.throws(() => zip.add('more', []), /no more than 65,535 files/);
    assert.equal((await entriesOf(zip.finish())).length, 65_535);
});

test('beyond its size nothing is added, and what was there stays', async () => {
    const whole = 30 + 1 + 10 + 46 + 1 + 22;
    const tight = new Zip(new Date(), { entries: 9, bytes: whole - 1 });
    assert.throws(() => tight.add('a', [new Uint8Array(10)]), /no more than 4 GiB/);
    const fits = new Zip(new Date(), { entries: 9, bytes: whole });
    fits.add('a', [new Uint8Array(10)]);
    assert.throws(() => fits.add('b', []), /4 GiB/);
    const file = fits.finish();
    assert.equal(file.size, whole);
    assert.deepEqual((await entriesOf(file)).map(([name]) => name), ['a']);
    assert.match(new Zip().full(2 ** 32 - 99), /4 GiB/);
    assert.equal(new Zip().full(2 ** 32 - 100), '');
});

test('no two names are the same, whatever their case', () => {
    assert.deepEqual(distinct(['a.jpg', 'b.jpg', 'a.jpg', 'A.JPG', 'a.jpg']), ['a.jpg', 'b.jpg', 'a (2).jpg', 'A (3).JPG', 'a (4).jpg']);
    // A name that is a photo's own is left to it.
    assert.deepEqual(distinct(['a.jpg', 'a.jpg', 'a (2).jpg']), ['a.jpg', 'a (3).jpg', 'a (2).jpg']);
    assert.deepEqual(distinct(['.x', '.x', 'y', 'y']), ['.x', '.x (2)', 'y', 'y (2)']);
});

test('label maps are called as their photos, inside the ZIP file and nowhere else', () => {
    const labels = (/** @type {string[]} */ ...names) => namesInZip(names).map((entry) => entry.labels);
    assert.deepEqual(namesInZip(['a.jpg', 'a.jpg']), [{ file: 'a.jpg', labels: 'labels/a.png' }, { file: 'a (2).jpg', labels: 'labels/a (2).png' }]);
    assert.deepEqual(labels('a.jpg', 'a.png', 'b.png'), ['labels/a.jpg.png', 'labels/a.png.png', 'labels/b.png']);
    assert.deepEqual(labels('../../etc/passwd', '..\\x:y.png', '...', 'a/b.jpg', 'a?b.jpg'), [
        'labels/-..-etc-passwd.png', 'labels/-x-y.png', 'labels/photo.png', 'labels/a-b.png', 'labels/a-b (2).png',
    ]);
    assert.deepEqual(labels('Käthe 1.final.HEIC'), ['labels/Käthe 1.final.png']);
    // File systems count bytes, and half of a character is none.
    const long = labels(...['x', '写', '🐈'].flatMap((letter) => [`${letter.repeat(300)}1.jpg`, `${letter.repeat(300)}2.jpg`]));
    assert.equal(new Set(long).size, 6);
    assert.ok(long.every((name) => Buffer.byteLength(name) < 230 && Buffer.from(name).toString() === name));
});

const CATEGORIES = [{ id: 1, name: 'cat', supercategory: 'object' }, { id: 2, name: 'wall', supercategory: 'object' }];

/** As the module makes one of a photo. @param {string} file @param {number[]} classes with pixels */
const documentOf = (file, classes) => ({
    info: { description: 'made by a test' },
    images: [{ id: 1, file_name: file, width: 4, height: 3 }],
    annotations: classes.map((category, at) => ({ id: at + 1, image_id: 1, category_id: category, area: 6, segmentation: { size: [3, 4], counts: 'ü' } })),
    categories: CATEGORIES,
});

/** @param {CocoFile} coco */
const read = (coco) => JSON.parse(Buffer.concat(coco.pieces()).toString());

test('documents become one, whose numbers agree', () => {
    const coco = new CocoFile();
    coco.add(documentOf('a.jpg', [1, 2]), 'labels/a.png');
    coco.add(documentOf('b.jpg', []), 'labels/b.png');
    coco.add(documentOf('c.jpg', [2]), 'labels/c.png');
    const all = read(coco);
    assert.deepEqual(Object.keys(all), ['info', 'images', 'annotations', 'categories']);
    assert.deepEqual(all.images.map((/** @type {any} */ { id, file_name: name, labels }) => [id, name, labels]), [
        [1, 'a.jpg', 'labels/a.png'], [2, 'b.jpg', 'labels/b.png'], [3, 'c.jpg', 'labels/c.png'],
    ]);
    assert.deepEqual(all.annotations.map((/** @type {any} */ found) => [found.id, found.image_id, found.category_id]), [[1, 1, 1], [2, 1, 2], [3, 3, 2]]);
    assert.deepEqual(all.annotations[2].segmentation, { size: [3, 4], counts: 'ü' });
    assert.deepEqual(all.categories, CATEGORIES);
});

test('a document of other names, or of another photo, is refused and leaves no trace', () => {
    const coco = new CocoFile();
    coco.add(documentOf('a.jpg', [1]), 'labels/a.png');
    const before = read(coco);
    assert.throws(() => coco.add({ ...documentOf('b.jpg', [1]), categories: [{ id: 1, name: 'dog' }] }, ''), /the names changed/);
    assert.throws(() => coco.add(documentOf('b.jpg', [3]), ''), /do not fit/);
    const stray = documentOf('b.jpg', [1]);
    stray.annotations[0].image_id = 7;
    assert.throws(() => coco.add(stray, ''), /do not fit/);
    assert.deepEqual(read(coco), before);
});

/** A labeller that fails as it is told. @param {(text: string) => void} [onSegment] */
function labeller(onSegment = () => {}) {
    let photo = '';
    let serial = 0;
    /** @type {string[]} */
    const calls = [];
    return {
        calls,
        lost: /** @type {Error | null} */ (null),
        replaced: 0,
        begin() {
            calls.push('begin');
        },
        /** @param {Uint8Array} bytes */
        async setPhoto(bytes) {
            photo = new TextDecoder().decode(bytes);
            if (photo.includes('broken')) throw new Error('this is not an image');
            return { width: 4, height: 3, pixels: new Uint8Array(48) };
        },
        async segment() {
            onSegment(photo);
            serial += 1;
            return /** @type {any} */ ({ serial });
        },
        /** @param {import('../../www/protocol.js').Export} what */
        async export(what) {
            assert.equal(what.serial, serial);
            return bytesOf(what.kind === 'coco' ? JSON.stringify(documentOf(what.file, [1])) : `labels of ${photo}`);
        },
    };
}

/** @param {string[]} names */
const photosOf = (...names) => names.map((name, at) => ({ name, blob: new Blob([`${name} ${at}`]) }));
const never = { stopped: () => false, progress() {} };

test('each photo has its own labels, and one that fails is left out and told of', async () => {
    const photos = photosOf('a.jpg', 'broken.jpg', 'a.jpg');
    /** @type {unknown[]} */
    const told = [];
    const { zip, ...outcome } = await labelAll(photos, labeller(), { ...never, progress: (...step) => told.push(step) });
    assert.deepEqual(outcome, { saved: 2, failed: [{ photo: photos[1], reason: 'this is not an image' }], ended: '' });
    assert.deepEqual(told, [[0, 'a.jpg'], [1, 'broken.jpg'], [2, 'a.jpg']]);
    assert.ok(zip);
    const entries = await entriesOf(zip);
    assert.deepEqual(entries.slice(0, 2).map(([name, hex]) => [name, Buffer.from(hex, 'hex').toString()]), [
        ['labels/a.png', 'labels of a.jpg 0'], ['labels/a (2).png', 'labels of a.jpg 2'],
    ]);
    assert.equal(entries[2][0], 'coco.json');
    const coco = JSON.parse(Buffer.from(entries[2][1], 'hex').toString());
    assert.deepEqual(coco.images.map((/** @type {any} */ image) => image.file_name), ['a.jpg', 'a (2).jpg']);
});

test('what was done when it was stopped is kept, and no photo is begun after it', async () => {
    let stopped = false;
    const worker = labeller((photo) => {
        if (photo.startsWith('b')) stopped = true;
    });
    const { zip, ...outcome } = await labelAll(photosOf('a', 'b', 'c'), worker, { ...never, stopped: () => stopped });
    // The second was done by then.
    assert.deepEqual(outcome, { saved: 2, failed: [], ended: 'stopped' });
    assert.equal(worker.calls.length, 2);
    assert.ok(zip);

    // So early that there is no run yet to end.
    const early = labeller();
    stopped = false;
    const progress = (/** @type {number} */ index) => {
        stopped = index === 1;
    };
    assert.equal((await labelAll(photosOf('a', 'b', 'c'), early, { stopped: () => stopped, progress })).saved, 1);
    assert.equal(early.calls.length, 1);

    const broken = labeller(() => {
        throw new Error('stopped');
    });
    assert.deepEqual(await labelAll(photosOf('a', 'b'), broken, never), { zip: null, saved: 0, failed: [], ended: 'stopped' });
    assert.equal(broken.calls.length, 1);
});

test('without a model it ends, and no photo is blamed', async () => {
    const worker = labeller((photo) => {
        if (!photo.startsWith('b')) return;
        worker.lost = new Error('bundle.json is not on the server');
        throw new Error('the model is not loaded');
    });
    const { zip, ...outcome } = await labelAll(photosOf('a', 'b', 'c'), worker, never);
    assert.deepEqual(outcome, { saved: 1, failed: [], ended: 'bundle.json is not on the server' });
    assert.ok(zip);
});

test('a photo whose worker was replaced is labelled by the next, once', async () => {
    const worker = labeller(() => {
        if (worker.replaced > 0) return;
        worker.replaced += 1;
        throw new Error('a thread failed; try again');
    });
    const { zip, ...outcome } = await labelAll(photosOf('a', 'b'), worker, never);
    assert.deepEqual(outcome, { saved: 2, failed: [], ended: '' });
    assert.equal(worker.calls.length, 3);
    assert.ok(zip);

    const hopeless = labeller(() => {
        hopeless.replaced += 1;
        throw new Error('a thread failed; try again');
    });
    assert.equal((await labelAll(photosOf('a'), hopeless, never)).failed.length, 1);
    assert.equal(hopeless.calls.length, 2);

    const gone = labeller(() => {
        throw new Error('the model is not loaded');
    });
    assert.deepEqual(await labelAll(photosOf('a', 'b'), gone, never), { zip: null, saved: 0, failed: [], ended: 'the model is not loaded' });
});

test('the outcome is a sentence, with the first reasons', () => {
    const failed = photosOf('b.jpg').map((photo) => ({ photo, reason: 'it is damaged' }));
    assert.deepEqual(inSentences({ saved: 12, failed: [], ended: '' }, 12), { said: 'Saved 12 of 12 photos.', missing: '' });
    assert.deepEqual(inSentences({ saved: 11, failed, ended: '' }, 12), { said: 'Saved 11 of 12 photos.', missing: 'b.jpg: it is damaged' });
    assert.equal(inSentences({ saved: 3, failed: [], ended: 'stopped' }, 12).said, 'Stopped: saved 3 of 12 photos.');
    assert.equal(inSentences({ saved: 0, failed: [], ended: 'stopped' }, 12).said, 'Stopped: none of 12 photos were saved.');
    assert.equal(inSentences({ saved: 0, failed, ended: '' }, 2).said, 'None of 2 photos were saved.');
    assert.match(inSentences({ saved: 1, failed: Array(8).fill(failed[0]), ended: 'full' }, 12).missing, /(b\.jpg: it is damaged; ){5}3 more, marked among the photos; it ended early: full$/);
});
