/** The settings' offer to keep all that a model may ever need: visits keep only what they needed. */

import { ModelFiles } from './model-files.js';
import { messageOf } from './protocol.js';
import { megabytes, sentence } from './status.js';

export class Keeper {
    #box;
    #button;
    #line;
    #folder;
    #busy = false;
    /** Bytes of the files that are not kept. */
    #missing = 0;

    /**
     * @param {HTMLElement} box with a button and a line for what there is to say
     * @param {HTMLElement} settings that hold it: a look at them is a look at what is kept
     * @param {URL} folder of the model
     */
    constructor(box, settings, folder) {
        this.#box = box;
        this.#button = /** @type {HTMLButtonElement} */ (box.querySelector('button'));
        this.#line = /** @type {HTMLElement} */ (box.querySelector('[role=status]'));
        this.#folder = folder;
        this.#button.addEventListener('click', () => this.#keep());
        settings.addEventListener('toggle', () => this.#look());
    }

    /** What the page's worker took and kept; `null` where nothing is kept at all. */
    async #kept() {
        // Without a service worker the page itself is not kept.
        if (!await navigator.serviceWorker?.getRegistration()) return null;
        const files = new ModelFiles(this.#folder, ({ done }) => this.#show(done), () => {});
        return await files.openKept() ? files : null;
    }

    async #look() {
        if (this.#busy) return;
        const files = await this.#kept().catch(() => null);
        this.#box.hidden = files === null;
        const missing = await files?.missing() ?? [];
        this.#missing = missing.reduce((sum, { bytes }) => sum + bytes, 0);
        this.#button.hidden = missing.length === 0;
        this.#button.textContent = `Keep all for offline use (${megabytes(this.#missing)})`;
        this.#line.textContent = missing.length === 0 ? 'All is kept: the page works without a network.' : '';
    }

    async #keep() {
        if (this.#busy) return;
        this.#busy = true;
        this.#line.textContent = '';
        let failure = '';
        try {
            // Else a browser that is short of room may drop it unasked. Some ask their user, some decide.
            await navigator.storage?.persist?.().catch(() => false);
            const files = await this.#kept();
            this.#show(0);
            for (const { name } of await files?.missing() ?? []) await files?.keep(name);
        } catch (error) {
            failure = sentence(`not all could be kept: ${messageOf(error)}`);
        }
        this.#busy = false;
        await this.#look();
        if (failure) this.#line.textContent = failure;
    }

    /** @param {number} done bytes */
    #show(done) {
        this.#button.textContent = `Keeping ${megabytes(done)} of ${megabytes(this.#missing)}`;
    }
}
