/** One run at a time: what changes meanwhile ends the run at its next step, and the steps that are kept serve the next one. */

/** Keystrokes and slider moves are gathered for this long before a run. */
const PAUSE_MS = 250;

/**
 * @typedef {{
 *   isNew(): boolean,
 *   run(): Promise<boolean>,
 *   interrupt(): void,
 *   isLost(): boolean,
 *   ended(): void,
 * }} Work `isNew`: whether there is something that no run took yet. `run` takes it, and resolves to false if it was ended before
 *   its result. `isLost`: whether any run would fail.
 */

export class Loop {
    #work;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #timer;
    #again = false;
    isWorking = false;

    /** @param {Work} work */
    constructor(work) {
        this.#work = work;
    }

    /** Whether another run follows the present one. */
    get goesOn() {
        return this.#again;
    }

    /** In a while, if nothing else changes. */
    soon() {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => {
            // A run that began meanwhile may have taken all there is.
            if (this.#work.isNew()) this.now();
        }, PAUSE_MS);
    }

    async now() {
        clearTimeout(this.#timer);
        if (this.isWorking) {
            this.#again = true;
            this.#work.interrupt();
            return;
        }
        this.isWorking = true;
        try {
            let complete;
            do {
                this.#again = false;
                complete = await this.#work.run();
                // What came in before the run took it is in the result already. A model that did not load is tried again on request.
            } while (this.#again && (this.#work.isNew() || !complete) && !this.#work.isLost());
        } finally {
            this.isWorking = false;
            this.#work.ended();
        }
    }

    /** For a run that ends with something left to do. */
    onceMore() {
        this.#again = true;
    }
}
