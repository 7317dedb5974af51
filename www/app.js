/** Wires the page together: photo and names go in, the worker runs, the overlay and the legend show. */

import { keepAddress, offerLink, readAddress } from './address.js';
import { Chips, parseNames } from './chips.js';
import { Client } from './client.js';
import { Downloads } from './downloads.js';
import { showExamples } from './examples.js';
import { Keeper } from './keep.js';
import { Legend } from './legend.js';
import { Loop } from './loop.js';
import { Notice } from './notice.js';
import { Overlay, inWords } from './overlay.js';
import { readPhoto, receivePhotos } from './photos.js';
import { STOPPED, messageOf } from './protocol.js';
import { SaveAll } from './save-all.js';
import { showSegments } from './segments.js';
import { Settings } from './settings.js';
import { Status, megabytes, outcome, sentence, timings } from './status.js';
import { MOST_PHOTOS, Tray } from './tray.js';
import { keepPage } from './updates.js';

/** @import { NamedPhoto } from './photos.js' */
/** @import { EngineInfo, Options, Result } from './protocol.js' */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

byId('not-started').remove();

const address = readAddress(location.search);
const drop = byId('drop');
const file = /** @type {HTMLInputElement} */ (byId('file'));

const notice = new Notice(byId('notice'));
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
        loop.soon();
    },
    engine: (choice) => attempt(async () => {
        keepChoices();
        status.set('loading', 'Changing the engine');
        // A run that is ended by it begins again, and says how it goes.
        if (loop.isWorking) loop.onceMore();
        const changed = await client.changeEngine(choice);
        if (changed.notice) notice.show(changed.notice);
        if (loop.isWorking) return;
        if (!saveAll.isAsked) status.set('ready', ready());
        wanted.options ??= {};
        loop.soon();
    }),
});
const chips = new Chips(byId('chips'), /** @type {HTMLInputElement} */ (byId('classes')), (names) => {
    wanted.names = names;
    keepChoices();
    loop.soon();
});
const client = new Client(address.model, address.engine, {
    stage(event) {
        status.showStage(event);
        document.dispatchEvent(new CustomEvent('zegformer:stage', { detail: event }));
    },
    preview: showPreview,
    bytes: (progress) => status.showBytes(progress),
    notice: (text) => notice.show(text),
    engine: showEngine,
    again(made) {
        if (!loop.isWorking) status.follow(made, 'Making the result again, to save it', 'Saved.');
    },
});

/** What the user asked for; `null`: nothing new since the worker was told. */
const wanted = {
    photo: /** @type {NamedPhoto | null} */ (null),
    names: /** @type {string[] | null} */ (null),
    options: /** @type {Options | null} */ (null),
};
let photoName = '';
let hasPhoto = false;
/** What the present run has shown before its result. @type {Result | null} */
let preview = null;
/** Why the photo that was chosen among many is not there. */
let unread = '';
let loaded = false;
let modelBytes = 0;
let fitsAddress = true;
/** @type {Uint8Array} */
let palette = new Uint8Array(0);
/** @type {string[]} */
let exampleNames = [];

function ready() {
    if (unread) return unread;
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
    status.set('error', saveAll.before(sentence(reason)), { retry: lost !== null });
}

/** A reload and a copied address keep names and settings. */
function keepChoices() {
    const { engine, mode } = settings.chosen;
    const { model } = address;
    fitsAddress = keepAddress({ classes: chips.names.join(), engine, model, mode: loaded ? mode : address.mode });
}

// --- the run --------------------------------------------------------------------------------------------------

const loop = new Loop({
    isNew: () => Boolean(wanted.photo || wanted.names || wanted.options || saveAll.isAsked),
    run,
    interrupt() {
        // All photos are labelled with the names and settings that their run began with.
        if (!saveAll.isBegun) client.interrupt();
    },
    isLost: () => client.lost !== null,
    ended: () => saveAll.end(),
});

/** @returns {Promise<boolean>} false if the run was ended before its result */
async function run() {
    const all = saveAll.isAsked;
    saveAll.begin();
    client.begin();
    try {
        if (!loaded || client.lost) await load();
        if (wanted.photo && !all) await usePhoto();
        if (wanted.names) await useNames();
        if (wanted.options) {
            const options = wanted.options;
            wanted.options = null;
            await client.setOptions(options).catch((error) => {
                if (messageOf(error) === STOPPED) wanted.options = { ...options, ...wanted.options };
                throw error;
            });
        }
        if (all) {
            try {
                await saveAll.run(tray, client);
            } finally {
                // The worker has another photo now than the one that is shown.
                wanted.photo ??= tray.current ?? null;
            }
            if (client.lost) throw client.lost;
            return true;
        }
        if (!hasPhoto || chips.names.length === 0) {
            status.set('ready', saveAll.before(ready()));
            return true;
        }
        status.set('running', 'Starting');
        show(await client.segment(true));
        return true;
    } catch (error) {
        const message = messageOf(error);
        if (message !== STOPPED) {
            fail(error);
            return true;
        }
        if (!loop.goesOn) status.set('ready', saveAll.before('Stopped. Change a name or a setting to go on.'));
        return false;
    } finally {
        // A run that came to no result leaves it.
        if (preview) paint(preview);
        preview = null;
        if (all) {
            saveAll.end();
            // Be it the one that is shown, of which the worker knows no more, or one that was chosen just before.
            if (wanted.photo) loop.onceMore();
        }
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
    if (model.notice) notice.show(model.notice);
}

async function usePhoto() {
    const taken = /** @type {NonNullable<typeof wanted.photo>} */ (wanted.photo);
    wanted.photo = null;
    unread = '';
    status.set('running', 'Reading the photo');
    const photo = await readPhoto(taken.blob).then((bytes) => client.setPhoto(bytes)).catch((error) => {
        const reason = messageOf(error);
        // The worker was replaced before it had taken the photo.
        if (reason === STOPPED) wanted.photo ??= taken;
        if (tray.isOpen) showNoPhoto(taken, reason);
        throw error;
    });
    hasPhoto = true;
    photoName = taken.name;
    tray.mark(taken, '');
    moveChooser();
    show(null);
    await overlay.showPhoto(photo);
}

/**
 * Of many photos the one that is marked is shown or none: another's labels are not to be taken for its own.
 *
 * @param {NamedPhoto} photo
 * @param {string} reason
 */
function showNoPhoto(photo, reason) {
    hasPhoto = false;
    show(null);
    overlay.showNothing();
    if (reason === STOPPED) return;
    unread = sentence(reason);
    tray.mark(photo, reason);
}

/** Off the photo, once there is one to look at, to the row that is there. */
function moveChooser() {
    const chooser = /** @type {HTMLElement} */ (file.parentElement);
    const row = tray.isOpen ? byId('clear').parentElement : byId('examples').parentElement;
    const words = tray.isOpen ? 'Add photos' : 'Another photo';
    /** @type {HTMLElement} */ (chooser.lastElementChild).textContent = words;
    if (chooser.parentElement === row) return;
    const hadFocus = document.activeElement === file;
    row?.append(chooser);
    if (hadFocus) file.focus({ preventScroll: true });
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

/**
 * @param {Result | null} found
 * @param {boolean} [saveable]
 */
function paint(found, saveable = true) {
    overlay.showResult(found);
    legend.show(found, saveable);
    downloads.show(saveable ? found : null, photoName);
    byId('found').hidden = found === null;
    byId('segments-box').hidden = !found || found.segments.length === 0;
    const rows = /** @type {HTMLTableElement} */ (byId('segments')).tBodies[0];
    showSegments(rows, found, palette, (box) => overlay.frame(box));
}

/** @param {Result} found by one of the two branches, before the other one has looked */
function showPreview(found) {
    preview = found;
    // The worker would save once the run is done, and then its result.
    paint(found, false);
    byId('preview').hidden = false;
    document.dispatchEvent(new CustomEvent('zegformer:preview', { detail: found }));
}

/** @param {Result | null} found */
function show(found) {
    preview = null;
    paint(found);
    byId('preview').hidden = true;
    settings.showResult(found);
    if (!found) return;
    byId('timings').textContent = timings(found.stages);
    status.setMilliseconds(found.ms);
    status.set('done', saveAll.before(outcome(found)));
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

/** Says why there is no such photo; a run goes on, and its line stays. @param {string} text */
function refuse(text) {
    if (loop.isWorking) notice.show(text);
    else status.set('error', text);
}

/** @param {NamedPhoto} photo */
function takePhoto(photo) {
    beginChoice();
    wanted.photo = photo;
    loop.now();
}

const tray = new Tray({
    box: byId('tray'),
    row: byId('photos'),
    position: byId('position'),
    previous: byId('previous'),
    next: byId('next'),
    remove: byId('remove'),
    clear: byId('clear'),
}, takePhoto);

receivePhotos(file, drop, {
    take(photos, said) {
        if (saveAll.isAsked) return notice.show('The photos are being labelled: wait, or stop that first.');
        if (photos.length === 1 && !tray.isOpen) {
            if (said) notice.show(said);
            return takePhoto(photos[0]);
        }
        const tooMany = tray.add(photos);
        showRow();
        const most = tooMany > 0 ? `No more than ${MOST_PHOTOS} photos at a time: ${tooMany} more were left out.` : '';
        if (said || most) notice.show([said, most].filter(Boolean).join(' '));
    },
    notice: (text) => notice.show(text),
    begin: beginChoice,
    refuse,
});

/** The examples, or the photos to go through in their place. */
function showRow() {
    /** @type {HTMLElement} */ (byId('examples').parentElement).hidden = tray.isOpen;
    if (drop.dataset.photo !== undefined) moveChooser();
}

byId('clear').addEventListener('click', () => {
    tray.clear();
    unread = '';
    showRow();
    // The button that had it is gone.
    file.focus();
});

showExamples(byId('examples'), beginChoice, (photo, name, names) => {
    const own = chips.names.length > 0 && chips.names.join() !== exampleNames.join();
    if (!own) {
        exampleNames = names;
        chips.set(names);
    }
    takePhoto({ blob: photo, name });
}, (error) => refuse(sentence(messageOf(error))));

const saveAll = new SaveAll({
    button: byId('save-all'),
    stop: byId('stop'),
    locked: [byId('tray'), /** @type {HTMLElement} */ (document.querySelector('aside'))],
}, status, notice, { names: () => chips.names, go: () => loop.now() });

// --- the rest -------------------------------------------------------------------------------------------------

const stop = () => attempt(async () => {
    saveAll.stop();
    await client.cancel();
});
byId('stop').addEventListener('click', stop);
byId('retry').addEventListener('click', () => loop.now());
offerLink(byId('copy-link'), (copy) => {
    if (fitsAddress) attempt(copy);
    else notice.show('These are too many names for a link.');
});
addEventListener('beforeunload', (event) => {
    // What was labelled so far is not saved yet.
    if (!saveAll.isBegun) return;
    event.preventDefault();
    // What older browsers go by.
    event.returnValue = true;
});
document.addEventListener('keydown', (event) => {
    // In a field it may have had a meaning of its own.
    if (event.key === 'Escape' && !event.defaultPrevented && !event.isComposing && status.state === 'running') stop();
});
new Keeper(byId('keep'), byId('settings-box'), new URL(`../models/${address.model}/`, import.meta.url));
settings.setEngine(address.engine);
chips.set(parseNames(address.classes));
// The names are taken at once, not a while after the last of them.
keepPage(new URL('../sw.js', import.meta.url), loop.now(), (reload) => {
    // The address keeps the names.
    notice.show('A new version of this page is ready. All its open tabs reload together.', { label: 'Reload', act: reload });
}, () => saveAll.settled()).catch(() => {
    // Without it the page works as long as there is a network.
});
