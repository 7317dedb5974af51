/** The status line: state, a sentence, progress, the engine. */

/** @import { EngineInfo, Result, StageEvent } from './protocol.js' */

/** @typedef {'loading' | 'ready' | 'running' | 'done' | 'error'} State */

/** @type {Record<string, string>} */
const DOING = {
    segmenter: 'Finding segments',
    text: 'Reading the names',
    crops: 'Looking at each segment',
    classify: 'Naming the segments',
    compose: 'Drawing the label map',
};

/** @param {string} text */
export function sentence(text) {
    const trimmed = text.trim();
    // A sentence may begin with a file's name, which stays as it is.
    const start = /^\S+\.\w/.test(trimmed) ? trimmed : trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
    return /[.!?]$/.test(start) ? start : `${start}.`;
}

/** @param {number} bytes */
export function megabytes(bytes) {
    const amount = bytes / 1e6;
    return `${amount < 10 ? amount.toFixed(1) : Math.round(amount)} MB`;
}

/** @param {number} ms */
export function duration(ms) {
    return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/**
 * How a run ended, and whether at the photo's own size.
 *
 * @param {Result} result
 */
export function outcome({ ms, width, height, photoWidth, photoHeight }) {
    const done = `Done in ${duration(ms)}.`;
    if (width === photoWidth && height === photoHeight) return done;
    return `${done} Worked on at ${width} × ${height} pixels; labels, masks and polygons are saved at the photo’s ${photoWidth} × ${photoHeight}.`;
}

/**
 * The stages that took time, in the order in which they run.
 *
 * @param {Record<string, number>} stages milliseconds
 */
export function timings(stages) {
    const steps = Object.keys(DOING).filter((stage) => stages[stage] > 0)
        .map((stage) => `${stage} ${duration(stages[stage])}`);
    return steps.length > 0 ? `Last run: ${steps.join(', ')}.` : '';
}

export class Status {
    #line;
    #text;
    #detail;
    #spoken;
    #progress;
    #badge;
    #stop;
    #retry;
    #doing = '';
    /** Of work with a count of its own. @type {{doing: string, detail: string, share: number} | null} */
    #part = null;
    /** How often the line was set. */
    #turn = 0;
    #outcome = '';

    /**
     * `text` and `spoken` are read out as they change, `detail` is not: it changes many times a second.
     *
     * @param {{line: HTMLElement, text: HTMLElement, detail: HTMLElement, spoken: HTMLElement, progress: HTMLProgressElement,
     *   badge: HTMLElement, stop: HTMLElement, retry: HTMLElement}} parts
     */
    constructor({ line, text, detail, spoken, progress, badge, stop, retry }) {
        this.#line = line;
        this.#text = text;
        this.#detail = detail;
        this.#spoken = spoken;
        this.#retry = retry;
        this.#progress = progress;
        this.#badge = badge;
        this.#stop = stop;
    }

    get state() {
        return /** @type {State} */ (this.#line.dataset.state);
    }

    /**
     * @param {string} text
     * @param {string} [detail] how far it is
     */
    #write(text, detail = '') {
        // What is written again is read out again.
        if (this.#text.textContent !== text) this.#text.textContent = text;
        this.#detail.textContent = detail;
    }

    /**
     * @param {State} state
     * @param {string} text
     * @param {{retry?: boolean}} [options] whether trying once more may help
     */
    set(state, text, { retry = false } = {}) {
        this.#turn += 1;
        this.#write(text);
        this.#line.dataset.state = state;
        this.#retry.hidden = !retry;
        this.#doing = '';
        this.#part = null;
        const busy = state === 'running' || state === 'loading';
        this.#stop.hidden = state !== 'running';
        this.#progress.hidden = !busy;
        if (!busy) this.#progress.removeAttribute('value');
    }

    /**
     * Tells how far work of many runs is, whose stages go unsaid until the line is set anew.
     *
     * @param {string} doing
     * @param {string} detail
     * @param {number} share that is done, 0 to 1
     */
    setPart(doing, detail, share) {
        if (this.#part?.doing !== doing) this.set('running', doing);
        this.#part = { doing, detail, share };
        this.#showPart(this.#part);
    }

    /** @param {{doing: string, detail: string, share: number}} part */
    #showPart({ doing, detail, share }) {
        this.#write(doing, detail);
        this.#progress.value = share;
    }

    /**
     * Tells of work that is no run, and of its end unless the line tells of something else by then, such as an error.
     *
     * @param {Promise<unknown>} work
     * @param {string} doing
     * @param {string} done
     */
    async follow(work, doing, done) {
        this.set('running', doing);
        const turn = this.#turn;
        const ended = await work.then(() => true, () => false);
        if (turn === this.#turn) this.set(ended ? 'done' : 'ready', ended ? done : 'Stopped.');
    }

    /**
     * Has the result read out, unless it is what was read out last: a slider makes many results.
     *
     * @param {string} outcome
     */
    say(outcome) {
        if (outcome === this.#outcome) return;
        this.#outcome = outcome;
        this.#spoken.textContent = outcome;
    }

    /** @param {number} ms of the last run */
    setMilliseconds(ms) {
        this.#line.dataset.ms = String(Math.round(ms));
    }

    /** @param {EngineInfo} info */
    setEngine({ kind, adapter, reason }) {
        this.#line.dataset.engine = kind;
        this.#badge.textContent = kind === 'webgpu' ? 'WebGPU' : adapter;
        this.#badge.title = reason || adapter;
        this.#badge.hidden = false;
    }

    /** @param {StageEvent} event */
    showStage({ stage, state, done, total }) {
        if (this.state !== 'running' || this.#part || state === 'done' || !(stage in DOING)) return;
        this.#doing = DOING[stage];
        if (state === 'progress' && done !== undefined && total) {
            this.#write(this.#doing, ` (${done} of ${total})`);
            this.#progress.value = done / total;
        } else {
            this.#write(this.#doing);
            this.#progress.removeAttribute('value');
        }
    }

    /** @param {{done: number, total: number, finished: boolean}} bytes */
    showBytes({ done, total, finished }) {
        if (this.state !== 'running' && this.state !== 'loading') return;
        if (finished) {
            this.#write(this.#doing || 'Starting');
            this.#progress.removeAttribute('value');
            if (this.#part) this.#showPart(this.#part);
            return;
        }
        this.#write('Fetching the model', `: ${megabytes(done)} of up to ${megabytes(total)}`);
        if (total > 0) this.#progress.value = Math.min(1, done / total);
    }
}
