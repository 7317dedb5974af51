/** The button that labels all photos of the row and saves them in one file. */

import { inSentences, labelAll } from './label-all.js';
import { save } from './downloads.js';

/** @typedef {import('./photos.js').NamedPhoto} NamedPhoto */

/** The browser has begun to save a file by then. */
const HANDED_OVER_MS = 2000;

export class SaveAll {
    #parts;
    #status;
    #notice;
    /** All photos are to be labelled, or are being so. @type {{stopped: boolean, begun: boolean} | null} */
    #asked = null;
    /** @type {((value: undefined) => void)[]} */
    #waiting = [];
    /** How that ended, until it was said. */
    #outcome = '';

    /**
     * @param {{button: HTMLElement, stop: HTMLElement, locked: HTMLElement[]}} parts
     *   `locked`: one worker labels the photos, and it has one photo, one list of names and one set of options at a time. So what
     *   could change any of them is locked meanwhile.
     * @param {import('./status.js').Status} status
     * @param {import('./notice.js').Notice} notice
     * @param {{names(): string[], go(): void}} loop `go`: calls `run` in its turn
     */
    constructor(parts, status, notice, { names, go }) {
        this.#parts = parts;
        this.#status = status;
        this.#notice = notice;
        parts.button.addEventListener('click', () => {
            if (this.#asked) return;
            if (names().length === 0) {
                notice.show('Type at least one name of something in the photos first.');
                return;
            }
            this.#asked = { stopped: false, begun: false };
            this.#lock(true);
            go();
        });
    }

    /** Whether all photos are to be labelled next, or are being so. */
    get isAsked() {
        return this.#asked !== null;
    }

    /** Whether they are being so, with the names and settings that this began with. */
    get isBegun() {
        return this.#asked?.begun ?? false;
    }

    begin() {
        if (this.#asked) this.#asked.begun = true;
    }

    stop() {
        if (this.#asked) this.#asked.stopped = true;
    }

    /** Resolves once no photos are being labelled and what was saved is the browser's. */
    async settled() {
        if (!this.#asked) return;
        await new Promise((resolve) => this.#waiting.push(resolve));
        // A reload right after the click may take the file back.
        await new Promise((resolve) => setTimeout(resolve, HANDED_OVER_MS));
    }

    end() {
        if (!this.#asked) return;
        this.#asked = null;
        for (const resolve of this.#waiting.splice(0)) resolve(undefined);
        this.#lock(false);
        const { button, stop } = this.#parts;
        if (document.activeElement === stop || document.activeElement === document.body) button.focus({ preventScroll: true });
    }

    /** @param {boolean} locked */
    #lock(locked) {
        for (const part of this.#parts.locked) part.inert = locked;
    }

    /**
     * @param {import('./tray.js').Tray} tray
     * @param {import('./label-all.js').Labeller} labeller that was told names and options
     */
    async run(tray, labeller) {
        const asked = this.#asked;
        const { photos } = tray;
        const done = await labelAll(photos, labeller, {
            stopped: () => asked?.stopped ?? false,
            progress: (index, name) => {
                this.#status.setPart('Labelling', ` ${index + 1} of ${photos.length}: ${name}`, index / photos.length);
                // The button that was pressed is locked.
                if (index === 0) this.#parts.stop.focus({ preventScroll: true });
            },
        });
        for (const photo of photos) {
            const reason = done.failed.find((failure) => failure.photo === photo)?.reason ?? '';
            // Of those that were not reached nothing new is known.
            if (reason || !done.ended) tray.mark(photo, reason);
        }
        if (done.zip) save('zegformer-labels.zip', done.zip, 'application/zip');
        const { said, missing } = inSentences(done, photos.length);
        this.#outcome = said;
        if (missing) this.#notice.show([said.slice(0, -1), missing].join('; '));
    }

    /** What is said once the photo that was shown is there again. @param {string} text */
    before(text) {
        const said = [this.#outcome, text].filter(Boolean).join(' ');
        this.#outcome = '';
        return said;
    }
}
