/** Small pictures of photos: of those that are in view, one after another, while the page has nothing else to do. */

import { MOST_BYTES } from './photos.js';

/** Twice what they measure on the page. */
const SIDE = 112;
/** Longer than this no browser has something else to do. */
const PATIENCE_MS = 1000;

/** Not all browsers tell when they are idle. */
const idle = () => new Promise((resolve) => {
    if ('requestIdleCallback' in globalThis) requestIdleCallback(resolve, { timeout: PATIENCE_MS });
    else setTimeout(resolve, 50);
});

/**
 * The middle of a photo as a square, or `null` where the browser cannot decode it.
 *
 * @param {Blob} blob
 */
async function thumbnail(blob) {
    if (blob.size > MOST_BYTES) return null;
    try {
        const bitmap = await createImageBitmap(blob, { resizeHeight: SIDE, resizeQuality: 'medium' });
        const canvas = document.createElement('canvas');
        canvas.width = SIDE;
        canvas.height = SIDE;
        const { width, height } = bitmap;
        const side = Math.min(width, height);
        canvas.getContext('2d')?.drawImage(bitmap, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SIDE, SIDE);
        bitmap.close();
        return canvas;
    } catch {
        return null;
    }
}

/** @typedef {{blob: Blob, made(canvas: HTMLCanvasElement): void}} Wish */

export class Thumbnails {
    #seen;
    /** @type {Map<Element, Wish>} */
    #wishes = new Map();
    /** Those in view. @type {Set<Element>} */
    #inView = new Set();
    #busy = false;

    /** @param {HTMLElement} row that scrolls */
    constructor(row) {
        this.#seen = new IntersectionObserver((entries) => {
            for (const { target, isIntersecting } of entries) {
                // What is told may be of a photo that is gone by now.
                if (isIntersecting && this.#wishes.has(target)) this.#inView.add(target);
                else this.#inView.delete(target);
            }
            this.#work();
        }, { root: row, rootMargin: '0px 200px' });
    }

    /**
     * @param {Element} place
     * @param {Wish} wish
     */
    watch(place, wish) {
        this.#wishes.set(place, wish);
        this.#seen.observe(place);
    }

    /** @param {Element} place */
    forget(place) {
        this.#seen.unobserve(place);
        this.#wishes.delete(place);
        this.#inView.delete(place);
    }

    clear() {
        this.#seen.disconnect();
        this.#wishes.clear();
        this.#inView.clear();
    }

    async #work() {
        if (this.#busy) return;
        this.#busy = true;
        for (let place = this.#next(); place; place = this.#next()) {
            await idle();
            // It may have been scrolled away meanwhile.
            const wish = this.#wishes.get(place);
            const isInView = this.#inView.delete(place);
            if (!wish || !isInView) continue;
            this.#seen.unobserve(place);
            const canvas = await thumbnail(wish.blob);
            if (canvas && this.#wishes.get(place) === wish) wish.made(canvas);
            this.#wishes.delete(place);
        }
        this.#busy = false;
    }

    /** @returns {Element | undefined} */
    #next() {
        return this.#inView.values().next().value;
    }
}
