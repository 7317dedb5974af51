/** Saves results as files. */

/** @import { ExportKind } from './protocol.js' */

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
 * @param {Uint8Array} bytes
 * @param {string} type
 */
export function save(name, bytes, type) {
    const url = URL.createObjectURL(new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)], { type }));
    const link = document.createElement('a');
    link.href = url;
    link.download = name;
    link.click();
    // The browser reads the address after the click has returned.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export class Downloads {
    /**
     * @param {HTMLElement} group of buttons with `data-kind`
     * @param {(kind: ExportKind) => Promise<void>} download
     */
    constructor(group, download) {
        this.group = group;
        for (const button of group.querySelectorAll('button')) {
            button.addEventListener('click', () => download(/** @type {ExportKind} */ (button.dataset.kind)));
        }
        this.enable(false);
    }

    /** @param {boolean} on */
    enable(on) {
        for (const button of this.group.querySelectorAll('button')) button.disabled = !on;
    }
}

/** @param {ExportKind} kind */
export const mediaType = (kind) => KINDS[kind].type;
