/** Saves results as files. */

/** @import { ExportKind, Result } from './protocol.js' */

/** @type {Record<ExportKind, {suffix: string, type: string}>} */
const KINDS = {
    'labels.png': { suffix: '.labels.png', type: 'image/png' },
    'overlay.png': { suffix: '.overlay.png', type: 'image/png' },
    json: { suffix: '.json', type: 'application/json' },
    coco: { suffix: '.coco.json', type: 'application/json' },
    geojson: { suffix: '.geojson', type: 'application/geo+json' },
};

/**
 * A file's name without its folder and ending, fit for any file system.
 *
 * @param {string} name
 */
export function stem(name) {
    const base = name.split(/[\\/]/).pop() ?? '';
    const safe = base.replace(/\.[^.]*$/, '').replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+|[-.]+$/g, '');
    return safe.slice(0, 80) || 'photo';
}

/**
 * @param {string} photo the photo's file name
 * @param {ExportKind} kind
 */
export function fileName(photo, kind) {
    return stem(photo) + KINDS[kind].suffix;
}

/**
 * @param {string} photo
 * @param {string} className
 */
export function cutoutName(photo, className) {
    return `${stem(photo)}.${stem(`${className}.png`)}.png`;
}

/**
 * @param {string} name
 * @param {Uint8Array | Blob} content
 * @param {string} type
 */
export function save(name, content, type) {
    const url = URL.createObjectURL(new Blob([/** @type {Uint8Array<ArrayBuffer> | Blob} */ (content)], { type }));
    const link = document.createElement('a');
    link.href = url;
    link.download = name;
    link.click();
    // The browser reads the address after the click has returned.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** @typedef {(act: () => Promise<void>) => void} Attempt says what goes wrong */
/** @typedef {Pick<import('./client.js').Client, 'export' | 'cutout'>} Maker */

/** Saves what is shown, under the photo's name. */
export class Downloads {
    #group;
    #parts;
    /** @type {Result | null} */
    #result = null;
    #photo = '';

    /**
     * @param {HTMLElement} group of buttons with `data-kind`
     * @param {{attempt: Attempt, maker: () => Maker, view: () => {opacity: number, hidden: Uint8Array}}} parts
     */
    constructor(group, parts) {
        this.#group = group;
        this.#parts = parts;
        for (const button of this.#buttons()) {
            button.addEventListener('click', () => this.#download(/** @type {ExportKind} */ (button.dataset.kind)));
        }
        this.show(null, '');
    }

    /**
     * @param {Result | null} result
     * @param {string} photo its file name
     */
    show(result, photo) {
        this.#result = result;
        this.#photo = photo;
        for (const button of this.#buttons()) button.disabled = result === null;
    }

    /** @param {number} index of a class of the result that is shown */
    cutout(index) {
        const [result, photo] = [this.#result, this.#photo];
        if (!result) return;
        const name = cutoutName(photo, result.classes[index].name);
        this.#parts.attempt(async () => save(name, await this.#parts.maker().cutout(result.serial, index), 'image/png'));
    }

    /** @param {ExportKind} kind */
    #download(kind) {
        const [result, photo] = [this.#result, this.#photo];
        if (!result) return;
        const what = { serial: result.serial, kind, file: photo, ...this.#parts.view() };
        this.#parts.attempt(async () => save(fileName(photo, kind), await this.#parts.maker().export(what), KINDS[kind].type));
    }

    #buttons() {
        return this.#group.querySelectorAll('button');
    }
}
