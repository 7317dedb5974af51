/** Fetches a bundle's files with progress in bytes, and keeps them in the browser's cache under their SHA-256. */

import { messageOf } from './protocol.js';

const CACHE = 'zegformer-models';

/**
 * The key of a file in the cache. With the hash in it, a new version of a file is never answered with the old one.
 *
 * @param {string} url
 * @param {string} sha256
 */
export function cacheKey(url, sha256) {
    const key = new URL(url);
    key.search = '';
    key.hash = '';
    key.searchParams.set('sha256', sha256);
    return key.href;
}

/**
 * @param {number} status
 * @param {string} url
 */
export function httpSentence(status, url) {
    const name = decodeURIComponent(new URL(url).pathname.split('/').pop() || url);
    if (status === 404) return `${name} is not on the server`;
    return `the server answered ${status} for ${name}`;
}

/**
 * Reads a body to its end. Content-Length counts compressed bytes, so no buffer is sized by it.
 *
 * @param {Response} response
 * @param {(done: number) => void} progress
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function readBody(response, progress) {
    if (!response.body) return new Uint8Array(await response.arrayBuffer());
    const reader = response.body.getReader();
    /** @type {Uint8Array[]} */
    const chunks = [];
    let length = 0;
    for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        chunks.push(value);
        length += value.length;
        progress(length);
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const chunk of chunks) {
        bytes.set(chunk, at);
        at += chunk.length;
    }
    return bytes;
}

/** @typedef {Record<string, {bytes: number, sha256: string}>} Listed a bundle's files */

/**
 * What bundle.json lists. The wasm module reads it with care and says what is wrong with it.
 *
 * @param {string} text
 * @returns {Listed}
 */
export function listed(text) {
    try {
        return JSON.parse(text).files ?? {};
    } catch {
        return {};
    }
}

/**
 * The files that only names beyond the known ones need.
 *
 * @param {string} text of bundle.json
 */
function filesOfText(text) {
    try {
        const needed = JSON.stringify(JSON.parse(text).text ?? null);
        return Object.keys(listed(text)).filter((name) => needed.includes(JSON.stringify(name)));
    } catch {
        return [];
    }
}

/** Of a file that the server has, but not as bundle.json lists it. */
const NOT_AS_LISTED = 'the server has another version of it, or it came damaged; reload the page';

/** Messages of the wasm module: about a file's content, and about bundle.json itself. */
const DAMAGED = /bytes, but bundle\.json says|SHA-256 differs from bundle\.json/;
const REFUSED = /^bundle\.json/;

export class ModelFiles {
    #folder;
    #progress;
    #notice;
    /** @type {Listed} */
    #files = {};
    /** @type {string[]} */
    #ofText = [];
    /** bundle.json as it was kept by an earlier visit. @type {string | undefined} */
    #kept;
    /** @type {Cache | null} */
    #cache = null;
    #lacks = true;
    /** Bytes of the files that were fetched to their end. */
    #finished = 0;

    /**
     * @param {URL} folder of the bundle, with a slash at its end
     * @param {(progress: {file: string, done: number, total: number, finished: boolean}) => void} progress of a file; `done` and `total` are of all
     * @param {(notice: string) => void} notice
     */
    constructor(folder, progress, notice) {
        this.#folder = folder;
        this.#progress = progress;
        this.#notice = notice;
    }

    get totalBytes() {
        return Object.values(this.#files).reduce((sum, file) => sum + (Number(file.bytes) || 0), 0);
    }

    /**
     * Loads by the newest bundle.json that works. An older one stays, with its files, until a newer one is taken and the files in
     * its place are in: a page may be older than what the server has by now.
     *
     * @template T
     * @param {(text: string) => Promise<T>} load takes bundle.json's text, or says what it does not like about it
     * @returns {Promise<T>}
     */
    async open(load) {
        // Only secure origins have caches.
        this.#cache = await globalThis.caches?.open(CACHE).catch(() => null) ?? null;
        /** @type {unknown} */
        let refusal;
        for (const text of await this.#texts()) {
            this.#take(text);
            try {
                const loaded = await load(text);
                await this.#settle(text);
                return loaded;
            } catch (error) {
                if (!REFUSED.test(messageOf(error))) throw error;
                refusal ??= error;
            }
        }
        throw refusal;
    }

    /** @param {string} text of bundle.json */
    #take(text) {
        this.#files = listed(text);
        this.#ofText = filesOfText(text);
        this.#lacks = true;
    }

    /** Goes by what was taken and kept, and asks no server. @returns {Promise<boolean>} false if nothing was */
    async openKept() {
        this.#cache = await globalThis.caches?.open(CACHE).catch(() => null) ?? null;
        this.#kept = await (await this.#cache?.match(this.#url('bundle.json')))?.text();
        if (this.#kept !== undefined) this.#take(this.#kept);
        return this.#kept !== undefined;
    }

    /** The files that are not kept. */
    async missing() {
        const found = [];
        for (const [name, { bytes }] of Object.entries(this.#files)) {
            if (!await this.#cache?.match(this.#key(name))) found.push({ name, bytes });
        }
        return found;
    }

    /** Whether a file that any names need is still to be fetched. */
    async lackMore() {
        if (this.#lacks) this.#lacks = (await this.missing()).some(({ name }) => !this.#ofText.includes(name));
        return this.#lacks;
    }

    /** Fetches a file to keep it, if it is the one that is listed. @param {string} name */
    async keep(name) {
        const bytes = await this.#fetch(name);
        if (!await isAsListed(bytes, this.#files[name])) throw new Error(`${name}: ${NOT_AS_LISTED}`);
        await this.#put(this.#key(name), bytes);
        if (!this.#cache) throw new Error('the browser has no room for it');
    }

    /** bundle.json's texts in the order in which to try them: the present one, and the one of the last visit. */
    async #texts() {
        const url = this.#url('bundle.json');
        this.#kept = await (await this.#cache?.match(url))?.text();
        /** @type {Response | Error} */
        const answer = await fetch(url, { cache: 'no-cache' }).catch((error) => error);
        if (answer instanceof Response && answer.ok) {
            const text = await answer.text();
            if (this.#kept === undefined || this.#kept === text) return [text];
            return await this.#renew(listed(this.#kept), listed(text)) ? [text, this.#kept] : [this.#kept, text];
        }
        // A model that the server no longer has is gone; a server in trouble says nothing about its models.
        const gone = answer instanceof Response && answer.status < 500;
        if (gone || this.#kept === undefined) throw answer instanceof Response ? new Error(httpSentence(answer.status, url)) : answer;
        return [this.#kept];
    }

    /**
     * Fetches anew those files that are kept and have changed.
     *
     * @param {Listed} old
     * @param {Listed} present
     * @returns {Promise<boolean>} false if one is not to be had
     */
    async #renew(old, present) {
        this.#files = present;
        for (const name of Object.keys(present)) {
            const had = old[name] && await this.#cache?.match(this.#key(name, old));
            if (!had || await this.#cache?.match(this.#key(name, present))) continue;
            try {
                const bytes = await this.#fetch(name);
                if (!await isAsListed(bytes, present[name])) return false;
                await this.#put(this.#key(name, present), bytes);
            } catch {
                return false;
            }
        }
        return true;
    }

    /** Keeps what was taken, and drops the files of the one before. @param {string} text of bundle.json */
    async #settle(text) {
        if (text !== this.#kept) await this.#put(this.#url('bundle.json'), new TextEncoder().encode(text));
        // Of earlier visits too, which may have ended before this.
        const present = new Set([this.#url('bundle.json'), ...Object.keys(this.#files).map((name) => this.#key(name))]);
        for (const { url } of await this.#cache?.keys() ?? []) {
            if (url.startsWith(this.#folder.href) && !present.has(url)) await this.#cache?.delete(url);
        }
    }

    /**
     * @param {string} name
     * @returns {Promise<Uint8Array<ArrayBuffer>>}
     */
    async read(name) {
        const kept = await this.#cache?.match(this.#key(name));
        if (kept) return new Uint8Array(await kept.arrayBuffer());
        const bytes = await this.#fetch(name);
        // Without a cache the origin is no secure one and there is no hash to be had here; the wasm module has its own.
        if (this.#cache) {
            if (!await isAsListed(bytes, this.#files[name])) throw new Error(NOT_AS_LISTED);
            await this.#put(this.#key(name), bytes);
        }
        return bytes;
    }

    /** @param {string} name */
    async #fetch(name) {
        const url = this.#url(name);
        const response = await fetch(url, { cache: 'no-store' }).catch(() => {
            if (!this.#ofText.includes(name)) throw new Error('the connection failed, and no visit has kept it');
            throw new Error('one of the names needs the text model, which was not kept, and there is no connection; connect once, or choose another name');
        });
        if (!response.ok) throw new Error(httpSentence(response.status, url));
        const total = this.totalBytes;
        const bytes = await readBody(response, (done) => {
            this.#progress({ file: name, done: this.#finished + done, total, finished: false });
        });
        this.#finished += bytes.length;
        this.#progress({ file: name, done: this.#finished, total, finished: true });
        return bytes;
    }

    /**
     * Drops what the cache holds of a file that is not what bundle.json lists, so that it is fetched again. Other errors name
     * files too; those are good.
     *
     * @param {string} message
     */
    async forgetDamaged(message) {
        if (!DAMAGED.test(message)) return;
        for (const name of Object.keys(this.#files)) {
            if (message.includes(name)) await this.#cache?.delete(this.#key(name));
        }
    }

    /** @param {string} name */
    #url(name) {
        return new URL(name, this.#folder).href;
    }

    /** @param {string} name */
    #key(name, files = this.#files) {
        return cacheKey(this.#url(name), files[name]?.sha256 ?? '');
    }

    /**
     * @param {string} key
     * @param {Uint8Array<ArrayBuffer>} bytes
     */
    async #put(key, bytes) {
        try {
            await this.#cache?.put(key, new Response(bytes));
        } catch (error) {
            this.#cache = null;
            const full = error instanceof DOMException && error.name === 'QuotaExceededError';
            const reason = full ? 'The browser has no room to keep the model' : 'The browser does not keep the model';
            this.#notice(`${reason}; it works from memory and will be fetched again at the next visit.`);
        }
    }
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {Listed[string]} entry
 */
async function isAsListed(bytes, { bytes: length, sha256 }) {
    if (bytes.length !== length) return false;
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('') === sha256;
}
