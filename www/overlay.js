/** Photo and label map: two canvases, one over the other, and the read-out under the pointer. */

import { OTHER } from './protocol.js';

/** @import { Photo, Result } from './protocol.js' */

/** The overlay is drawn at no more than this on its long side; the label map keeps the photo's size. */
const LONGEST = 1600;

/**
 * @param {number} width
 * @param {number} height
 * @param {number} longest
 */
export function fitWithin(width, height, longest) {
    const scale = Math.min(1, longest / Math.max(width, height));
    return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/**
 * Paints labels as RGBA: the inside of a class at `opacity`, its border opaque, what is hidden or "other" clear.
 *
 * @param {{width: number, height: number, labels: Uint8Array}} map
 * @param {Uint8Array} palette RGB after RGB
 * @param {{width: number, height: number, opacity: number, isShown: (label: number) => boolean}} view
 * @returns {Uint8ClampedArray<ArrayBuffer>}
 */
export function paintLabels(map, palette, view) {
    const { width, height } = view;
    const rgba = new Uint8ClampedArray(width * height * 4);
    const shown = Array.from({ length: 256 }, (_, label) => label !== OTHER && view.isShown(label));
    const alpha = Math.round(view.opacity * 255);
    const columns = Int32Array.from({ length: width }, (_, x) => Math.floor(((x + 0.5) * map.width) / width));
    const rowOf = (/** @type {number} */ y) => Math.floor(((y + 0.5) * map.height) / height) * map.width;
    for (let y = 0; y < height; y++) {
        const row = rowOf(y);
        const below = rowOf(Math.min(y + 1, height - 1));
        for (let x = 0; x < width; x++) {
            const label = map.labels[row + columns[x]];
            if (!shown[label]) continue;
            const right = map.labels[row + columns[Math.min(x + 1, width - 1)]];
            const under = map.labels[below + columns[x]];
            const at = (y * width + x) * 4;
            rgba[at] = palette[label * 3];
            rgba[at + 1] = palette[label * 3 + 1];
            rgba[at + 2] = palette[label * 3 + 2];
            rgba[at + 3] = right !== label || under !== label ? 255 : alpha;
        }
    }
    return rgba;
}

/**
 * The label and confidence at a point given in fractions of width and height.
 *
 * @param {{width: number, height: number, labels: Uint8Array, confidence: Uint8Array}} map
 * @param {number} u
 * @param {number} v
 */
export function probe(map, u, v) {
    const x = Math.min(map.width - 1, Math.max(0, Math.floor(u * map.width)));
    const y = Math.min(map.height - 1, Math.max(0, Math.floor(v * map.height)));
    const at = y * map.width + x;
    return { label: map.labels[at], confidence: map.confidence[at] / 255 };
}

/**
 * A result in words: each class that is more than a speck, and what is left.
 *
 * @param {Pick<Result, 'classes' | 'other'>} result
 */
export function inWords({ classes, other }) {
    const shares = [...classes].sort((a, b) => b.share - a.share);
    const said = [...shares, { name: 'nothing named', share: other }].filter(({ share }) => share >= 0.005)
        .map(({ name, share }) => `${name} ${Math.round(share * 100)} %`);
    return said.join(', ');
}

export class Overlay {
    #stage;
    #photo;
    #canvas;
    #readout;
    #spoken;
    #box;
    /** @type {Result | null} */
    #result = null;
    /** @type {Uint8Array} */
    #palette = new Uint8Array(0);
    #opacity = 0.55;
    /** @type {Set<number>} */
    #hidden = new Set();
    /** @type {number | null} */
    #highlighted = null;
    #frame = 0;
    #cursor = { u: 0.5, v: 0.5 };

    /**
     * @param {{stage: HTMLElement, photo: HTMLCanvasElement, canvas: HTMLCanvasElement, readout: HTMLElement, spoken: HTMLElement, box: HTMLElement}} parts
     */
    constructor({ stage, photo, canvas, readout, spoken, box }) {
        this.#spoken = spoken;
        this.#box = box;
        this.#stage = stage;
        this.#photo = photo;
        this.#canvas = canvas;
        this.#readout = readout;
        canvas.addEventListener('pointermove', (event) => this.#point(event));
        canvas.addEventListener('pointerdown', (event) => this.#point(event));
        canvas.addEventListener('pointerleave', (event) => {
            // A finger leaves as it is lifted, and covers what it points at till then.
            if (event.pointerType !== 'touch') this.#hideReadout();
        });
        canvas.addEventListener('blur', () => this.#hideReadout());
        canvas.addEventListener('keydown', (event) => this.#step(event));
    }

    /** @param {Uint8Array} palette */
    setPalette(palette) {
        this.#palette = palette;
    }

    /** @param {Photo} photo */
    async showPhoto({ width, height, pixels }) {
        this.showResult(null);
        const size = fitWithin(width, height, LONGEST);
        const data = new ImageData(new Uint8ClampedArray(/** @type {ArrayBuffer} */ (pixels.buffer)), width, height);
        const bitmap = await createImageBitmap(data, {
            resizeWidth: size.width, resizeHeight: size.height, resizeQuality: 'high',
        });
        for (const canvas of [this.#photo, this.#canvas]) {
            canvas.width = size.width;
            canvas.height = size.height;
        }
        this.#photo.getContext('2d')?.drawImage(bitmap, 0, 0);
        bitmap.close();
        this.#stage.style.setProperty('--ratio', `${width / height}`);
        this.#stage.dataset.photo = '';
    }

    /** Leaves the place empty. */
    showNothing() {
        this.showResult(null);
        const { width, height } = this.#photo;
        this.#photo.getContext('2d')?.clearRect(0, 0, width, height);
    }

    /** @param {Result | null} result */
    showResult(result) {
        this.#result = result;
        this.#highlighted = null;
        this.#hideReadout();
        this.frame(null);
        this.#redraw();
        this.#canvas.setAttribute('aria-label', result ? `Label map: ${inWords(result)}` : 'Label map, not there yet');
    }

    /** @param {number} opacity */
    setOpacity(opacity) {
        this.#opacity = opacity;
        this.#redraw();
    }

    /** As it is painted, but for what the pointer highlights. */
    get view() {
        return { opacity: this.#opacity, hidden: Uint8Array.from(this.#hidden) };
    }

    /** @param {Set<number>} hidden class indices */
    setHidden(hidden) {
        this.#hidden = hidden;
        this.#redraw();
    }

    /** @param {number | null} label to show alone for the moment */
    highlight(label) {
        if (label === this.#highlighted) return;
        this.#highlighted = label;
        this.#redraw();
    }

    #redraw() {
        cancelAnimationFrame(this.#frame);
        this.#frame = requestAnimationFrame(() => this.#draw());
    }

    #draw() {
        const context = this.#canvas.getContext('2d');
        const { width, height } = this.#canvas;
        context?.clearRect(0, 0, width, height);
        if (!this.#result || !context) return;
        const rgba = paintLabels(this.#result, this.#palette, {
            width,
            height,
            opacity: this.#highlighted === null ? this.#opacity : Math.max(this.#opacity, 0.7),
            isShown: (label) => (this.#highlighted === null ? !this.#hidden.has(label) : label === this.#highlighted),
        });
        context.putImageData(new ImageData(rgba, width, height), 0, 0);
    }

    /** @param {PointerEvent} event */
    #point(event) {
        const box = this.#canvas.getBoundingClientRect();
        this.#read((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }

    /** @param {KeyboardEvent} event */
    #step(event) {
        const steps = /** @type {Record<string, [number, number]>} */ ({
            ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02],
        });
        const step = steps[event.key];
        if (!step || !this.#result) return;
        event.preventDefault();
        this.#read(this.#cursor.u + step[0], this.#cursor.v + step[1]);
        // Only for keys: whoever points sees.
        this.#spoken.textContent = this.#readout.textContent;
    }

    /**
     * @param {number} u
     * @param {number} v
     */
    #read(u, v) {
        if (!this.#result) return;
        this.#cursor = { u: Math.min(1, Math.max(0, u)), v: Math.min(1, Math.max(0, v)) };
        const { label, confidence } = probe(this.#result, u, v);
        const name = label === OTHER ? 'nothing named' : this.#result.classes[label]?.name ?? '';
        this.#readout.textContent = label === OTHER ? name : `${name} · ${Math.round(confidence * 100)} %`;
        this.#readout.style.setProperty('--colour', label === OTHER ? 'transparent' : cssColour(this.#palette, label));
        this.#readout.style.setProperty('--u', `${this.#cursor.u}`);
        this.#readout.style.setProperty('--v', `${this.#cursor.v}`);
        this.#readout.classList.toggle('left-of-pointer', this.#cursor.u > 0.6);
        this.#readout.hidden = false;
    }

    /**
     * Frames a segment, or none.
     *
     * @param {[number, number, number, number] | null} box left, top, right, bottom in pixels of the photo
     */
    frame(box) {
        this.#box.hidden = box === null || this.#result === null;
        if (!box || !this.#result) return;
        const { width, height } = this.#result;
        const sides = { left: box[0] / width, top: box[1] / height, right: 1 - box[2] / width, bottom: 1 - box[3] / height };
        for (const [side, value] of Object.entries(sides)) this.#box.style.setProperty(side, `${Math.max(0, value) * 100}%`);
    }

    #hideReadout() {
        this.#readout.hidden = true;
    }
}

/**
 * @param {Uint8Array} palette
 * @param {number} label
 */
export function cssColour(palette, label) {
    const [red, green, blue] = palette.subarray(label * 3, label * 3 + 3);
    return `rgb(${red} ${green} ${blue})`;
}
