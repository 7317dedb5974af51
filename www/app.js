/** Wires the page together: photo and names go in, the worker runs, the overlay and the legend show. */

import { keepAddress, readAddress } from './address.js';
import { Chips, parseNames } from './chips.js';
import { Client } from './client.js';
import { Downloads } from './downloads.js';
import { showExamples } from './examples.js';
import { Keeper } from './keep.js';
import { Legend } from './legend.js';
import { Overlay, inWords } from './overlay.js';
import { receivePhotos } from './photos.js';
import { STOPPED, messageOf } from './protocol.js';
import { showSegments } from './segments.js';
import { Settings } from './settings.js';
import { Status, megabytes, outcome, sentence, timings } from './status.js';
import { keepPage } from './updates.js';

/** @import { EngineInfo, Options, Result } from './protocol.js' */

/** Keystrokes and slider moves are gathered for this long before a run. */
const PAUSE_MS = 250;
const MOST_BYTES = 300e6;

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

byId('not-started').remove();

const address = readAddress(location.search);
const drop = byId('drop');
const file = /** @type {HTMLInputElement} */ (byId('file'));

const status = new Status({
    line: byId('status'),
    text: byId('status-text'),
    detail: byId('status-detail'),
    spoken: byId('spoken'),
    progress: /** @type {HTMLProgressElement} */ (byId('progress')),
    badge: byId('engine-badge'),
    stop: byId('stop'),
    retry: byId('retry'),
});
const overlay = new Overlay({
    stage: drop,
    photo: /** @type {HTMLCanvasElement} */ (byId('photo')),
    canvas: /** @type {HTMLCanvasElement} */ (byId('overlay')),
    readout: byId('readout'),
    spoken: byId('spoken'),
    box: byId('segment-box'),
});
const legend = new Legend(byId('legend'), byId('shares'), byId('legend-hint'), {
    hidden: (labels) => overlay.setHidden(labels),
    highlight: (label) => overlay.highlight(label),
    cutout: (index) => downloads.cutout(index),
    add: (name) => chips.add([name]),
});
const downloads = new Downloads(byId('save'), { attempt, maker: () => client, view: () => overlay.view });
const settings = new Settings(/** @type {HTMLFormElement} */ (byId('settings')), {
    opacity: (value) => overlay.setOpacity(value),
    options(options) {
        wanted.options = { ...wanted.options, ...options };
        keepChoices();
        soon();
    },
    engine: (choice) => attempt(async () => {
        keepChoices();
        status.set('loading', 'Changing the engine');
        const loaded = await client.changeEngine(choice);
        if (loaded.notice) notify(loaded.notice);
        status.set('ready', ready());
        wanted.options ??= {};
        soon();
    }),
});
const chips = new Chips(byId('chips'), /** @type {HTMLInputElement} */ (byId('classes')), (names) => {
    wanted.names = names;
    keepChoices();
    soon();
});
const client = new Client(address.model, address.engine, {
    stage(event) {
        status.showStage(event);
        document.dispatchEvent(new CustomEvent('zegformer:stage', { detail: event }));
    },
    bytes: (progress) => status.showBytes(progress),
    notice: notify,
    engine: showEngine,
    again(made) {
        if (!working) status.follow(made, 'Making the result again, to save it', 'Saved.');
    },
});

/** What the user asked for; `null`: nothing new since the worker was told. */
const wanted = {
    photo: /** @type {{blob: Blob, name: string} | null} */ (null),
    names: /** @type {string[] | null} */ (null),
    options: /** @type {Options | null} */ (null),
};
let photoName = '';
let hasPhoto = false;
let loaded = false;
let modelBytes = 0;
let fitsAddress = true;
/** @type {Uint8Array} */
let palette = new Uint8Array(0);
/** @type {string[]} */
let exampleNames = [];

function ready() {
    if (!hasPhoto) {
        return `Ready. The model (up to ${megabytes(modelBytes)}) is fetched once, for the first photo.`;
    }
    return chips.names.length === 0 ? 'Type at least one name of something in the photo.' : 'Ready.';
}

/** @param {EngineInfo} info */
function showEngine(info) {
    status.setEngine(info);
    settings.showEngine(info);
}

/**
 * @param {string} text
 * @param {{label: string, act: () => void}} [offer]
 */
function notify(text, offer) {
    const box = byId('notice');
    const line = /** @type {HTMLElement} */ (box.firstElementChild);
    line.textContent = `${sentence(text)} `;
    if (offer) {
        const button = document.createElement('button');
        button.type = 'button';
        button.className = 'offer';
        button.textContent = offer.label;
        button.addEventListener('click', offer.act);
        line.append(button);
    }
    box.hidden = false;
}

/** @param {() => Promise<void>} act */
async function attempt(act) {
    try {
        await act();
    } catch (error) {
        if (messageOf(error) !== STOPPED) fail(error);
    }
}

/** @param {unknown} error */
function fail(error) {
    const { lost } = client;
    // Without a model all calls fail; why there is none says more.
    const reason = lost ? `the model ${address.model} could not be loaded: ${lost.message}` : messageOf(error);
    status.set('error', sentence(reason), { retry: lost !== null });
}

/** A reload and a copied address keep names and settings. */
function keepChoices() {
    const { engine, mode } = settings.chosen;
    const { model } = address;
    fitsAddress = keepAddress({ classes: chips.names.join(), engine, model, mode: loaded ? mode : address.mode });
}

// --- the run --------------------------------------------------------------------------------------------------

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let working = false;
let again = false;

function soon() {
    clearTimeout(timer);
    timer = setTimeout(() => {
        // A run that began meanwhile may have taken all there is.
        if (isNew()) work();
    }, PAUSE_MS);
}

const isNew = () => Boolean(wanted.photo || wanted.names || wanted.options);

/** One run at a time; what changes meanwhile ends the run at its next step, and the kept steps serve the next one. */
async function work() {
    if (working) {
        again = true;
        client.interrupt();
        return;
    }
    working = true;
    try {
        let complete;
        do {
            again = false;
            complete = await step();
            // What came in before the step took it is in the result already. A model that did not load is tried again on request.
        } while (again && (isNew() || !complete) && !client.lost);
    } finally {
        working = false;
    }
}

/** @returns {Promise<boolean>} false if the run was ended before its result */
async function step() {
    client.begin();
    try {
        if (!loaded || client.lost) await load();
        if (wanted.photo) await usePhoto();
        if (wanted.names) await useNames();
        if (wanted.options) {
            const options = wanted.options;
            wanted.options = null;
            await client.setOptions(options).catch((error) => {
                if (messageOf(error) === STOPPED) wanted.options = { ...options, ...wanted.options };
                throw error;
            });
        }
        if (!hasPhoto || chips.names.length === 0) {
            status.set('ready', ready());
            return true;
        }
        status.set('running', 'Starting');
        show(await client.segment());
        return true;
    } catch (error) {
        const message = messageOf(error);
        if (message !== STOPPED) {
            fail(error);
            return true;
        }
        if (!again) status.set('ready', 'Stopped. Change a name or a setting to go on.');
        return false;
    }
}

async function load() {
    status.set('loading', 'Starting');
    const model = await client.load();
    // After a failed restart the new worker has been told all that the old one knew.
    if (loaded) return;
    loaded = true;
    modelBytes = model.bytes;
    palette = model.palette;
    overlay.setPalette(palette);
    legend.setPalette(palette);
    settings.setBundle(model.bundle);
    if (address.mode && model.bundle.modes.includes(address.mode)) {
        settings.setMode(address.mode);
        wanted.options = { mode: address.mode, ...wanted.options };
    }
    showEngine(model.engine);
    const { name, description, licence, source } = model.bundle;
    byId('about').textContent = [`Model: ${name}`, description, licence && `Licence: ${licence}`, source].filter(Boolean).map(sentence).join(' ');
    if (model.notice) notify(model.notice);
}

async function usePhoto() {
    const taken = /** @type {NonNullable<typeof wanted.photo>} */ (wanted.photo);
    const { blob, name } = taken;
    wanted.photo = null;
    status.set('running', 'Reading the photo');
    if (blob.size > MOST_BYTES) throw new Error(`the file has ${megabytes(blob.size)}, more than this page reads; make it smaller`);
    const bytes = await blob.arrayBuffer().catch(() => {
        throw new Error('the file could not be read; was it moved or deleted?');
    });
    const photo = await client.setPhoto(new Uint8Array(bytes)).catch((error) => {
        // The worker was replaced before it had taken the photo.
        if (messageOf(error) === STOPPED) wanted.photo ??= taken;
        throw error;
    });
    hasPhoto = true;
    photoName = name;
    moveChooser();
    show(null);
    await overlay.showPhoto(photo);
}

/** Off the photo, once there is one to look at. */
function moveChooser() {
    const chooser = /** @type {HTMLElement} */ (file.parentElement);
    const row = /** @type {HTMLElement} */ (byId('examples').parentElement);
    if (chooser.parentElement === row) return;
    /** @type {HTMLElement} */ (chooser.lastElementChild).textContent = 'Another photo';
    row.append(chooser);
}

async function useNames() {
    const names = wanted.names ?? [];
    wanted.names = null;
    if (names.length === 0) show(null);
    else {
        // Names that were refused are still what the chips show: the next run has to try them again, not the old ones.
        await client.setClasses(names.join('\n')).catch((error) => {
            wanted.names ??= names;
            throw error;
        });
    }
}

/** @param {Result | null} found */
function show(found) {
    overlay.showResult(found);
    legend.show(found);
    settings.showResult(found);
    downloads.show(found, photoName);
    byId('found').hidden = found === null;
    byId('segments-box').hidden = !found || found.segments.length === 0;
    const rows = /** @type {HTMLTableElement} */ (byId('segments')).tBodies[0];
    showSegments(rows, found, palette, (box) => overlay.frame(box));
    if (!found) return;
    byId('timings').textContent = timings(found.stages);
    status.setMilliseconds(found.ms);
    status.set('done', outcome(found));
    status.say(inWords(found));
    document.dispatchEvent(new CustomEvent('zegformer:result', { detail: found }));
}

// --- photos in ------------------------------------------------------------------------------------------------

let choices = 0;

/** A photo is chosen, though it may take a while to come; tells later whether none was chosen since. */
function beginChoice() {
    choices += 1;
    const mine = choices;
    return () => mine === choices;
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function takePhoto(blob, name) {
    beginChoice();
    wanted.photo = { blob, name };
    clearTimeout(timer);
    work();
}

receivePhotos(file, drop, {
    take: takePhoto,
    notice: notify,
    refuse: (text) => status.set('error', text),
});

showExamples(byId('examples'), beginChoice, (photo, name, names) => {
    const own = chips.names.length > 0 && chips.names.join() !== exampleNames.join();
    if (!own) {
        exampleNames = names;
        chips.set(names);
    }
    takePhoto(photo, name);
}, (error) => status.set('error', sentence(messageOf(error))));

// --- the rest -------------------------------------------------------------------------------------------------

const stop = () => attempt(() => client.cancel());
byId('stop').addEventListener('click', stop);
byId('retry').addEventListener('click', work);
const copyLink = byId('copy-link');
copyLink.hidden = !navigator.clipboard;
copyLink.addEventListener('click', () => attempt(async () => {
    if (!fitsAddress) return notify('These are too many names for a link.');
    await navigator.clipboard.writeText(location.href);
    copyLink.textContent = 'Copied';
    setTimeout(() => {
        copyLink.textContent = 'Copy link';
    }, 2000);
}));
document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && status.state === 'running') stop();
});
/** @type {HTMLElement} */ (byId('notice').lastElementChild).addEventListener('click', () => {
    byId('notice').hidden = true;
});

new Keeper(byId('keep'), byId('settings-box'), new URL(`../models/${address.model}/`, import.meta.url));
settings.setEngine(address.engine);
chips.set(parseNames(address.classes));
// The names are taken at once, not a while after the last of them.
clearTimeout(timer);
await work();
keepPage(new URL('../sw.js', import.meta.url), (reload) => {
    // The address keeps the names.
    notify('A new version of this page is ready. All its open tabs reload together.', { label: 'Reload', act: reload });
}).catch(() => {
    // Without it the page works as long as there is a network.
});
