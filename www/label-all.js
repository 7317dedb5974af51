/** Labels many photos, one after another, for one ZIP file: their label maps, and one COCO document of them all. */

import { CocoFile } from './coco.js';
import { readPhoto } from './photos.js';
import { BROKE_OFF, NOT_LOADED, STOPPED, messageOf } from './protocol.js';
import { Zip } from './zip.js';

/** @typedef {import('./photos.js').NamedPhoto} NamedPhoto */
/** @typedef {Pick<import('./client.js').Client, 'lost' | 'replaced' | 'begin' | 'setPhoto' | 'segment' | 'export'>} Labeller */
/**
 * What came of it: the file, if any photo is in it; how many are; which are not, and why; and why it ended before the last one.
 *
 * @typedef {{zip: Blob | null, saved: number, failed: {photo: NamedPhoto, reason: string}[], ended: string}} Outcome
 */

/** What there is beside the label maps: room for its name, its head and its classes. */
const REST = 1e6;
/** Bytes that file systems take for a name, less an ending and a count. */
const MOST_NAME_BYTES = 200;
/** So many reasons in one sentence; the tray has them all. */
const MOST_REASONS = 5;

/**
 * Names of which no two are the same on any file system: `a.jpg`, `a (2).jpg`.
 *
 * @param {string[]} names
 */
export function distinct(names) {
    const key = (/** @type {string} */ name) => name.normalize().toLowerCase();
    const own = new Set(names.map(key));
    const used = new Set();
    return names.map((name) => {
        const dot = name.lastIndexOf('.');
        const [start, ending] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ''];
        let free = name;
        for (let count = 2; used.has(key(free)) || (free !== name && own.has(key(free))); count++) free = `${start} (${count})${ending}`;
        used.add(key(free));
        return free;
    });
}

/**
 * What each photo and its label map are called in the ZIP file. `b.jpg` has `labels/b.png`; where there is a `b.png` too, they
 * keep their endings.
 *
 * @param {string[]} names of the photos' files
 * @returns {{file: string, labels: string}[]}
 */
export function namesInZip(names) {
    const files = distinct(names);
    const starts = files.map((name) => name.replace(/(.)\.[^./\\]*$/, '$1'));
    const shared = new Set(starts.filter((start, at) => starts.indexOf(start) !== at));
    const safe = starts.map((start, at) => fileSafe(shared.has(start) ? files[at] : start));
    const labels = distinct(safe.map((name) => `${name}.png`));
    return files.map((file, at) => ({ file, labels: `labels/${labels[at]}` }));
}

/** Without what file systems have another use for. @param {string} name */
function fileSafe(name) {
    const safe = name.replace(/[\\/:*?"<>|\p{Cc}]+/gu, '-').replace(/^\.+/, '');
    let bytes = 0;
    const short = [...safe].filter((letter) => (bytes += new TextEncoder().encode(letter).length) <= MOST_NAME_BYTES).join('');
    return short.trim() || 'photo';
}

/**
 * With the names and options that the worker was told before; whoever calls sees to it that they stay as they are.
 *
 * @param {NamedPhoto[]} photos
 * @param {Labeller} labeller
 * @param {{stopped(): boolean, progress(index: number, name: string): void}} run
 * @returns {Promise<Outcome>}
 */
export async function labelAll(photos, labeller, { stopped, progress }) {
    const names = namesInZip(photos.map(({ name }) => name));
    const zip = new Zip();
    const coco = new CocoFile();
    /** @type {Outcome['failed']} */
    const failed = [];
    let ended = '';
    for (const [index, photo] of photos.entries()) {
        if (stopped()) ended = STOPPED;
        if (ended) break;
        progress(index, photo.name);
        const { file, labels } = names[index];
        try {
            const bytes = await readPhoto(photo.blob);
            // While a file is read there is no run that could be ended.
            if (stopped()) throw new Error(STOPPED);
            const made = await labelAgainIfReplaced(labeller, bytes, file, stopped);
            ended = zip.full(made.labels.length + made.coco.length + coco.size + REST, 2);
            if (ended) break;
            coco.add(JSON.parse(new TextDecoder().decode(made.coco)), labels);
            zip.add(labels, [made.labels]);
        } catch (error) {
            const reason = messageOf(error);
            // Without a model all others would fail too, and it is no photo's fault.
            if (labeller.lost) ended = labeller.lost.message;
            else if (reason === NOT_LOADED) ended = reason;
            else if (reason === STOPPED) ended = STOPPED;
            else failed.push({ photo, reason });
        }
    }
    const saved = zip.count;
    if (saved === 0) return { zip: null, saved, failed, ended };
    zip.add('coco.json', coco.pieces());
    return { zip: zip.finish(), saved, failed, ended };
}

/**
 * As `label`; once more if the worker had to be replaced meanwhile, which is no fault of the photo.
 *
 * @param {Labeller} labeller
 * @param {Uint8Array} bytes
 * @param {string} file
 * @param {() => boolean} stopped
 */
async function labelAgainIfReplaced(labeller, bytes, file, stopped) {
    const { replaced } = labeller;
    try {
        return await label(labeller, bytes, file);
    } catch (error) {
        if (messageOf(error) === BROKE_OFF || stopped() || labeller.lost || labeller.replaced === replaced) throw error;
        return label(labeller, bytes, file);
    }
}

/**
 * @param {Labeller} labeller
 * @param {Uint8Array} bytes
 * @param {string} file its name in the document
 */
async function label(labeller, bytes, file) {
    labeller.begin();
    await labeller.setPhoto(bytes, false);
    // Both files are of the result with this number or none: the worker knows no other by it.
    const { serial } = await labeller.segment();
    const what = { serial, file, opacity: 1, hidden: new Uint8Array(0) };
    const labels = /** @type {Uint8Array<ArrayBuffer>} */ (await labeller.export({ ...what, kind: 'labels.png' }));
    return { labels, coco: await labeller.export({ ...what, kind: 'coco' }) };
}

/**
 * The outcome in a sentence, and what is to be said of the photos that are missing.
 *
 * @param {Pick<Outcome, 'saved' | 'failed' | 'ended'>} outcome
 * @param {number} total
 * @returns {{said: string, missing: string}}
 */
export function inSentences({ saved, failed, ended }, total) {
    const start = ended === STOPPED ? 'Stopped: ' : '';
    const count = saved > 0 ? `saved ${saved} of ${total} photos` : `none of ${total} photos ${total === 1 ? 'was' : 'were'} saved`;
    const said = start ? start + count : count.charAt(0).toUpperCase() + count.slice(1);
    const reasons = failed.slice(0, MOST_REASONS).map(({ photo, reason }) => `${photo.name}: ${reason}`);
    if (failed.length > MOST_REASONS) reasons.push(`${failed.length - MOST_REASONS} more, marked among the photos`);
    if (ended && ended !== STOPPED) reasons.push(`it ended early: ${ended}`);
    return { said: `${said}.`, missing: reasons.join('; ') };
}
