/** Fetches a bundle's files with progress in bytes, and keeps them in the browser's cache under their SHA-256. */

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

export class ModelFiles {
    #folder;
    #progress;
    #notice;
    /** @type {Record<string, {bytes: number, sha256: string}>} */
    #files = {};
    /** @type {Cache | null} */
    #cache = null;
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

    /** bundle.json's text: the server's if it can be reached and works, or else the one of the last visit. */
    async bundle() {
        // Only secure origins have caches.
        this.#cache = await globalThis.caches?.open(CACHE).catch(() => null) ?? null;
        const url = new URL('bundle.json', this.#folder).href;
        let text;
        /** @type {Response | Error} */
        const answer = await fetch(url, { cache: 'no-cache' }).catch((error) => error);
        if (answer instanceof Response && answer.ok) {
            text = await answer.text();
            await this.#put(url, new TextEncoder().encode(text));
        } else {
            // A model that the server no longer has is gone; a server in trouble says nothing about its models.
            const gone = answer instanceof Response && answer.status < 500;
            const kept = gone ? undefined : await this.#cache?.match(url);
            if (!kept) throw answer instanceof Response ? new Error(httpSentence(answer.status, url)) : answer;
            text = await kept.text();
        }
        try {
            this.#files = JSON.parse(text).files ?? {};
        } catch {
            // The wasm module reads bundle.json with care and says what is wrong with it.
        }
        return text;
    }

    /**
     * @param {string} name
     * @returns {Promise<Uint8Array<ArrayBuffer>>}
     */
    async read(name) {
        const url = new URL(name, this.#folder).href;
        const key = cacheKey(url, this.#files[name]?.sha256 ?? '');
        const kept = await this.#cache?.match(key);
        if (kept) return new Uint8Array(await kept.arrayBuffer());
        const response = await fetch(url, { cache: 'no-store' }).catch(() => {
            throw new Error('the connection failed');
        });
        if (!response.ok) throw new Error(httpSentence(response.status, url));
        const total = this.totalBytes;
        const bytes = await readBody(response, (done) => {
            this.#progress({ file: name, done: this.#finished + done, total, finished: false });
        });
        this.#finished += bytes.length;
        this.#progress({ file: name, done: this.#finished, total, finished: true });
        await this.#forget(name);
        await this.#put(key, bytes);
        return bytes;
    }

    /**
     * Drops what the cache holds of the files that a message names, so that a damaged one is fetched again.
     *
     * @param {string} message
     */
    async forgetNamed(message) {
        for (const name of Object.keys(this.#files)) {
            if (message.includes(name)) await this.#forget(name);
        }
    }

    /** @param {string} name */
    async #forget(name) {
        await this.#cache?.delete(new URL(name, this.#folder).href, { ignoreSearch: true });
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
