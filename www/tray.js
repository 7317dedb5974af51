/** The photos to go through: a row of small pictures, one of which is shown. */

import { Thumbnails } from './thumbnails.js';

/** @typedef {import('./photos.js').NamedPhoto} NamedPhoto */
/** @typedef {{photo: NamedPhoto, button: HTMLButtonElement}} Item */

export const MOST_PHOTOS = 500;

/** The keys that go from one to another, by how many. @type {Record<string, number>} */
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

export class Tray {
    #parts;
    #show;
    #thumbnails;
    /** @type {Item[]} */
    #items = [];
    #index = -1;

    /**
     * @param {{box: HTMLElement, row: HTMLElement, position: HTMLElement, previous: HTMLElement, next: HTMLElement, remove: HTMLElement,
     *   clear: HTMLElement}} parts `position` is read out as it changes
     * @param {(photo: NamedPhoto) => void} show
     */
    constructor(parts, show) {
        this.#parts = parts;
        this.#show = show;
        this.#thumbnails = new Thumbnails(parts.row);
        parts.previous.addEventListener('click', () => this.#go(this.#index - 1));
        parts.next.addEventListener('click', () => this.#go(this.#index + 1));
        parts.remove.addEventListener('click', () => this.#remove());
        parts.row.addEventListener('keydown', (event) => this.#key(event));
    }

    get isOpen() {
        return this.#items.length > 0;
    }

    get photos() {
        return this.#items.map(({ photo }) => photo);
    }

    /** The one that is shown, or on its way. @returns {NamedPhoto | undefined} */
    get current() {
        return this.#items[this.#index]?.photo;
    }

    /**
     * Shows the first of them.
     *
     * @param {NamedPhoto[]} photos
     * @returns {number} how many there was no room for
     */
    add(photos) {
        const taken = photos.slice(0, MOST_PHOTOS - this.#items.length);
        const first = this.#items.length;
        const items = taken.map((photo) => ({ photo, button: this.#button(photo) }));
        this.#items.push(...items);
        this.#parts.row.append(...items.map(({ button }) => {
            const item = document.createElement('li');
            item.append(button);
            return item;
        }));
        this.#parts.box.hidden = !this.isOpen;
        for (const { button, photo } of items) {
            this.#thumbnails.watch(button, {
                blob: photo.blob,
                made: (canvas) => {
                    canvas.setAttribute('aria-hidden', 'true');
                    button.replaceChildren(canvas);
                },
            });
        }
        if (taken.length > 0) this.#go(first);
        return photos.length - taken.length;
    }

    clear() {
        this.#thumbnails.clear();
        this.#items = [];
        this.#index = -1;
        this.#parts.row.replaceChildren();
        this.#parts.box.hidden = true;
        this.#parts.position.textContent = '';
    }

    /**
     * Marks a photo that could not be used, or no longer.
     *
     * @param {NamedPhoto} photo
     * @param {string} reason
     */
    mark(photo, reason) {
        const button = this.#items.find((item) => item.photo === photo)?.button;
        if (!button) return;
        button.classList.toggle('has-failed', reason !== '');
        button.title = reason ? `${photo.name}: ${reason}` : photo.name;
        button.setAttribute('aria-label', button.title);
    }

    /** @param {NamedPhoto} photo */
    #button(photo) {
        const button = document.createElement('button');
        button.type = 'button';
        button.tabIndex = -1;
        button.title = photo.name;
        button.setAttribute('aria-label', photo.name);
        // Till there is a picture, and where the browser can make none.
        const name = document.createElement('span');
        name.textContent = photo.name;
        button.append(name);
        button.addEventListener('click', () => this.#go(this.#items.findIndex((item) => item.button === button)));
        return button;
    }

    /** @param {number} index */
    #go(index) {
        if (index < 0 || index >= this.#items.length) return;
        const before = this.#items[this.#index]?.button;
        before?.removeAttribute('aria-current');
        if (before) before.tabIndex = -1;
        this.#index = index;
        const { photo, button } = this.#items[index];
        button.setAttribute('aria-current', 'true');
        button.tabIndex = 0;
        this.#uncover(button);
        this.#tell();
        this.#show(photo);
    }

    /** Takes the photo that is shown out of the row, whose next one is shown then. */
    #remove() {
        if (this.#items.length < 2) return this.#parts.clear.click();
        const [{ button }] = this.#items.splice(this.#index, 1);
        this.#thumbnails.forget(button);
        button.parentElement?.remove();
        const index = Math.min(this.#index, this.#items.length - 1);
        this.#index = -1;
        this.#go(index);
    }

    /** Within its row, so that the page stays where it is. @param {HTMLElement} button */
    #uncover(button) {
        const { row } = this.#parts;
        const [box, frame] = [button.getBoundingClientRect(), row.getBoundingClientRect()];
        if (box.left >= frame.left && box.right <= frame.right) return;
        row.scrollLeft += (box.left + box.right - frame.left - frame.right) / 2;
    }

    #tell() {
        const { position, previous, next } = this.#parts;
        const name = document.createElement('span');
        name.textContent = this.current?.name ?? '';
        position.replaceChildren(`${this.#index + 1} of ${this.#items.length}`, ' ', name);
        // Disabled they would lose the focus.
        previous.setAttribute('aria-disabled', String(this.#index === 0));
        next.setAttribute('aria-disabled', String(this.#index === this.#items.length - 1));
    }

    /** @param {KeyboardEvent} event */
    #key(event) {
        const step = STEPS[event.key];
        const removes = event.key === 'Delete' && !event.repeat;
        if ((!step && !removes) || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        const index = Math.min(this.#items.length - 1, Math.max(0, this.#index + (step ?? 0)));
        if (removes) this.#remove();
        else if (index === this.#index) return;
        else this.#go(index);
        this.#items[this.#index]?.button.focus({ preventScroll: true });
    }
}
