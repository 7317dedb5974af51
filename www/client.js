/** The page's side of the worker: typed calls, and a cancel that always works. */

import { BROKE_OFF, LOST, STOPPED, messageOf } from './protocol.js';

/** @import { Calls, EngineChoice, EngineInfo, Export, FromWorker, Loaded, Options, Photo, Result, StageEvent, ToWorker } from './protocol.js' */

/** A step inside the wasm module cannot be interrupted; after this long the whole worker is replaced. */
const PATIENCE_MS = 500;
/** The calls that a run is made of. */
const OF_A_RUN = ['setPhoto', 'setClasses', 'setOptions', 'segment'];

/**
 * @typedef {{
 *   stage(event: StageEvent): void,
 *   preview(result: Result): void,
 *   bytes(progress: {file: string, done: number, total: number, finished: boolean}): void,
 *   notice(text: string): void,
 *   engine(info: EngineInfo): void,
 *   again(made: Promise<unknown>): void,
 * }} Listener
 */

export class Client {
    #listener;
    #model;
    #choice;
    #nextId = 1;
    /** A cancel names its run, so that it ends that one alone, whenever it arrives. */
    #run = 0;
    /** Whether the present worker came up; one that did not would fail again. */
    #loaded = false;
    /** Why the present worker did not come up. A module that failed to load fails ever after: the next try takes a new worker. @type {Error | null} */
    #lost = null;
    /** What the present worker computes with. @type {EngineInfo['kind'] | null} */
    #engine = null;
    /** How often a worker took the place of another. */
    replaced = 0;
    /** Whether the CPU engine may have threads. */
    #threads = true;
    /** @type {Map<number, {resolve(value: any): void, reject(error: Error): void, call: keyof Calls}>} */
    #waiting = new Map();
    #worker;
    /** What the worker took. @type {{photo: Uint8Array | null, classes: string, options: Options}} */
    #kept = { photo: null, classes: '', options: {} };
    /** What it was told last, taken or not. @type {{photo: Uint8Array | null, classes: string, options: Options}} */
    #told = { photo: null, classes: '', options: {} };
    /**
     * What the last result was made of, and the options that its run was told.
     *
     * @type {{serial: number, photo: Uint8Array | null, classes: string, options: Options, told: Options} | null}
     */
    #made = null;

    /**
     * @param {string} model
     * @param {EngineChoice} choice
     * @param {Listener} listener
     */
    constructor(model, choice, listener) {
        this.#model = model;
        this.#choice = choice;
        this.#listener = listener;
        this.#worker = this.#start();
    }

    /** Why there is no model; `load` tries again, and has a new worker told all that the old one knew. */
    get lost() {
        return this.#lost;
    }

    /** @returns {Promise<Loaded>} */
    async load() {
        return this.#lost ? this.#restart(this.#lost) : this.#load();
    }

    /** @returns {Promise<Loaded>} */
    async #load() {
        const worker = this.#worker;
        try {
            const loaded = await this.#call('load', this.#model, this.#choice, this.#threads);
            this.#loaded = true;
            this.#engine = loaded.engine.kind;
            return loaded;
        } catch (error) {
            // One that was itself replaced meanwhile is nobody's loss.
            if (worker === this.#worker) this.#lost = error instanceof Error ? error : new Error(String(error));
            throw error;
        }
    }

    /** @param {EngineChoice} choice takes effect with a new worker */
    async changeEngine(choice) {
        this.#choice = choice;
        return this.#restart(new Error(STOPPED));
    }

    /**
     * @param {Uint8Array} bytes
     * @param {boolean} [shown] else it comes without pixels
     * @returns {Promise<Photo>}
     */
    async setPhoto(bytes, shown) {
        this.#told.photo = bytes;
        const photo = await this.#call('setPhoto', bytes, shown).catch((error) => {
            if (this.#told.photo === bytes) this.#told.photo = this.#kept.photo;
            throw error;
        });
        this.#kept.photo = bytes;
        return photo;
    }

    /** @param {string} text */
    async setClasses(text) {
        this.#told.classes = text;
        const classes = await this.#call('setClasses', text);
        this.#kept.classes = text;
        return classes;
    }

    /** @param {Options} options */
    async setOptions(options) {
        Object.assign(this.#told.options, options);
        await this.#call('setOptions', options);
        Object.assign(this.#kept.options, options);
    }

    /** A new run: photo, names and options that changed, then `segment`. */
    begin() {
        this.#run += 1;
    }

    /**
     * @param {boolean} [preview] whether the listener is to hear of a preview, where the result takes long
     * @returns {Promise<Result>}
     */
    async segment(preview = false) {
        /** @type {Result} */
        const result = await this.#call('segment', this.#run, preview);
        this.#note(result, result.options);
        return result;
    }

    /**
     * @param {Result} result or a preview of it
     * @param {Options} told
     */
    #note({ serial, options }, told) {
        const { photo, classes } = this.#kept;
        this.#made = { serial, photo, classes, options, told };
    }

    /** @param {Export} what */
    export(what) {
        return this.#save(what.serial, () => this.#call('export', what));
    }

    /**
     * @param {number} serial of the result
     * @param {number} index of the class
     */
    cutout(serial, index) {
        return this.#save(serial, () => this.#call('cutout', serial, index));
    }

    /**
     * A worker that was replaced has not the result that the page shows, and makes it again.
     *
     * @param {number} serial
     * @param {() => Promise<Uint8Array>} save
     */
    async #save(serial, save) {
        try {
            return await save();
        } catch (error) {
            if (messageOf(error) !== LOST || this.#made?.serial !== serial) throw error;
            // Another photo is on its way to the worker: made again it would be of that one.
            if (this.#made.photo !== this.#told.photo) throw error;
        }
        const { classes, options, told } = this.#made;
        // All is sent at once, so that no other call comes between; then the worker is where it was.
        const steps = [this.#call('setClasses', classes), this.#call('setOptions', options), this.#call('segment', serial, false)];
        const saved = Promise.all([...steps, save()]).then((answers) => /** @type {Uint8Array} */ (answers.at(-1)));
        this.#call('setOptions', { ...told, ...this.#told.options }).catch(() => {});
        // Names that are refused now were refused before.
        this.#call('setClasses', this.#told.classes).catch(() => {});
        this.#listener.again(saved);
        return saved;
    }

    /** Asks the run to end after its present step. */
    interrupt() {
        this.#post({ cancel: this.#run });
    }

    /** Ends the run; if it does not end by itself in time, the worker is replaced and told all it knew. */
    async cancel() {
        const [run, worker] = [this.#run, this.#worker];
        this.interrupt();
        await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
        // What a new worker does by then is no part of the run.
        if (worker !== this.#worker) return;
        const works = [...this.#waiting.values()].some(({ call }) => OF_A_RUN.includes(call));
        if (works && run === this.#run) await this.#restart(new Error(STOPPED));
    }

    /** @param {Error} reason for the calls that get no answer any more */
    async #restart(reason) {
        this.#worker.terminate();
        this.replaced += 1;
        this.#loaded = false;
        this.#engine = null;
        this.#lost = null;
        const lost = [...this.#waiting.values()];
        this.#waiting.clear();
        this.#worker = this.#start();
        const { photo, classes, options } = this.#kept;
        this.#told.photo = photo;
        const loading = this.#load();
        // Sent at once, so that calls made after the restart come after these.
        const replayed = [loading];
        if (photo) replayed.push(this.#call('setPhoto', photo).catch((error) => {
            // It would break the next worker off too.
            if (messageOf(error) === BROKE_OFF) this.#kept.photo = null;
            throw error;
        }));
        if (classes) replayed.push(this.#call('setClasses', classes));
        replayed.push(this.#call('setOptions', options));
        for (const { reject } of lost) reject(reason);
        await Promise.all(replayed);
        const loaded = await loading;
        this.#listener.engine(loaded.engine);
        return loaded;
    }

    #start() {
        const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'zegformer' });
        worker.onmessage = ({ data }) => this.#hear(data);
        worker.onerror = (event) => {
            event.preventDefault();
            const reason = new Error(`the worker failed: ${event.message || 'it could not be loaded'}`);
            if (this.#loaded) {
                this.#restart(reason).catch(() => {});
                return;
            }
            for (const { reject } of this.#waiting.values()) reject(reason);
            this.#waiting.clear();
        };
        return worker;
    }

    /** @param {FromWorker} message */
    #hear(message) {
        if ('stage' in message) this.#listener.stage(message.stage);
        else if ('preview' in message) {
            const { preview } = message;
            // There is one only where both branches were to have a say.
            this.#note(preview, { ...preview.options, branch: 'fused' });
            this.#listener.preview(preview);
        } else if ('bytes' in message) this.#listener.bytes(message.bytes);
        else if ('notice' in message) this.#listener.notice(message.notice);
        else if ('engine' in message) {
            this.#engine = message.engine.kind;
            this.#listener.engine(message.engine);
        }
        else if ('threads' in message) this.#watch(message.threads);
        else this.#answer(message);
    }

    /** @param {MessagePort[]} threads of the present worker, which waits in vain for one that failed */
    #watch(threads) {
        const worker = this.#worker;
        for (const thread of threads) {
            thread.onmessage = ({ data: reason }) => {
                if (worker !== this.#worker) return;
                this.#threads = false;
                this.#listener.notice(`One of the CPU engine's threads failed, so it goes on with one: ${reason}`);
                this.#restart(new Error(`a thread of the CPU engine failed (${reason}); try again`)).catch(() => {});
            };
        }
    }

    /** @param {{id: number, value: unknown} | {id: number, error: string, fatal: boolean}} message */
    #answer(message) {
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        if (!waiting) return;
        if ('value' in message) return waiting.resolve(message.value);
        waiting.reject(new Error(message.error));
        if (!message.fatal) return;
        // A browser may refuse the GPU memory in a way that ends the whole module.
        const onGpu = this.#choice !== 'cpu' && this.#engine !== 'cpu';
        if (onGpu) {
            this.#choice = 'cpu';
            this.#listener.notice('The page’s program broke off while it used the GPU, so the CPU does the work.');
        }
        // One that does not even load would break off again.
        if (waiting.call === 'load' && !onGpu) return;
        this.#restart(new Error(message.error)).catch(() => {});
    }

    /**
     * @template {keyof Calls} Name
     * @param {Name} call
     * @param {Parameters<Calls[Name]>} args
     * @returns {Promise<any>}
     */
    #call(call, ...args) {
        const id = this.#nextId++;
        return new Promise((resolve, reject) => {
            this.#waiting.set(id, { resolve, reject, call });
            this.#post({ id, call, args });
        });
    }

    /** @param {ToWorker} message */
    #post(message) {
        this.#worker.postMessage(message);
    }
}
