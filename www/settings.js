/** The settings: engine and what the pipeline takes as options. */

/** @import { Branch, BundleInfo, EngineChoice, EngineInfo, Mode, Options, Result } from './protocol.js' */

/** @type {Record<Mode, string>} */
export const MODES = {
    official: 'every segment, as published',
    fast: 'the segments that matter',
    'one-pass': 'all of them in one pass',
    lite: 'the largest segments',
};

/**
 * @typedef {{options(options: Options): void, opacity(value: number): void, engine(choice: EngineChoice): void}} Changes
 */

export class Settings {
    #form;
    #changes;
    /** @type {Required<Pick<Options, 'resolution' | 'mode' | 'lambda' | 'threshold' | 'branch' | 'distractors'>> | null} */
    #defaults = null;

    /**
     * @param {HTMLFormElement} form
     * @param {Changes} changes
     */
    constructor(form, changes) {
        this.#form = form;
        this.#changes = changes;
        form.addEventListener('submit', (event) => event.preventDefault());
        form.addEventListener('input', (event) => this.#heard(/** @type {HTMLElement} */ (event.target)));
        form.addEventListener('reset', (event) => {
            event.preventDefault();
            this.#reset();
        });
        this.#writeNumbers();
    }

    /** @param {EngineChoice} choice */
    setEngine(choice) {
        this.#input('engine').value = choice;
    }

    /** @param {EngineInfo} info */
    showEngine({ kind, adapter, reason }) {
        const what = kind === 'webgpu' ? `WebGPU (${adapter})` : adapter;
        const text = reason ? `${what}: ${reason}` : what;
        this.#output('engine-reason').textContent = text;
    }

    /** @param {BundleInfo} bundle */
    setBundle(bundle) {
        this.#offer('resolution', bundle.resolutions.map((name) => [name, name]));
        this.#offer('mode', bundle.modes.map((mode) => [mode, MODES[mode]]));
        this.#defaults = {
            resolution: bundle.defaultResolution,
            mode: bundle.mode,
            lambda: bundle.lambda,
            threshold: bundle.threshold ?? 0,
            branch: 'fused',
            distractors: true,
        };
        const lite = bundle.mode === 'lite';
        for (const name of ['threshold', 'distractors']) this.#input(name).disabled = !lite;
        this.#write();
    }

    /** @param {Mode} mode as the address asks for it */
    setMode(mode) {
        this.#input('mode').value = mode;
    }

    /** The engine and the mode that were chosen; `null` for the bundle's own mode. */
    get chosen() {
        const mode = /** @type {Mode} */ (this.#input('mode').value);
        return {
            engine: /** @type {EngineChoice} */ (this.#input('engine').value),
            mode: this.#defaults && mode !== this.#defaults.mode ? mode : null,
        };
    }

    /**
     * Fills a list.
     *
     * @param {string} name
     * @param {[string, string][]} choices values with their words
     */
    #offer(name, choices) {
        const list = /** @type {HTMLSelectElement} */ (this.#form.elements.namedItem(name));
        list.replaceChildren(...choices.map(([value, words]) => {
            const option = document.createElement('option');
            option.value = value;
            option.textContent = words;
            return option;
        }));
    }

    /**
     * Says why the image crops' weight changes nothing, where that is for the names.
     *
     * @param {Result | null} result
     */
    showResult(result) {
        const chosen = this.#input('branch').value === 'fused' && Number(this.#input('lambda').value) > 0;
        const idle = result !== null && !result.imageHasASay && chosen;
        this.#output('lambda-hint').textContent = idle ? 'No say at present: a crop shows too little of what is named.' : '';
    }

    #write() {
        if (!this.#defaults) return;
        for (const name of /** @type {const} */ (['resolution', 'mode', 'lambda', 'threshold', 'branch'])) {
            this.#input(name).value = String(this.#defaults[name]);
        }
        /** @type {HTMLInputElement} */ (this.#input('distractors')).checked = this.#defaults.distractors;
        this.#writeNumbers();
    }

    #reset() {
        this.#write();
        this.#input('opacity').value = '0.55';
        this.#writeNumbers();
        this.#changes.opacity(0.55);
        if (this.#defaults) this.#changes.options({ ...this.#defaults });
    }

    #writeNumbers() {
        for (const name of ['opacity', 'lambda', 'threshold']) {
            this.#output(`${name}-value`).textContent = Number(this.#input(name).value).toFixed(2);
        }
    }

    /** @param {HTMLElement} target */
    #heard(target) {
        this.#writeNumbers();
        const input = /** @type {HTMLInputElement} */ (target);
        const { name, value } = input;
        if (name === 'opacity') this.#changes.opacity(Number(value));
        else if (name === 'engine') this.#changes.engine(/** @type {EngineChoice} */ (value));
        else if (name === 'lambda' || name === 'threshold') this.#changes.options({ [name]: Number(value) });
        else if (name === 'branch') this.#changes.options({ branch: /** @type {Branch} */ (value) });
        else if (name === 'resolution') this.#changes.options({ resolution: value });
        else if (name === 'mode') this.#changes.options({ mode: /** @type {Mode} */ (value) });
        else if (name === 'distractors') this.#changes.options({ distractors: input.checked });
    }

    /** @param {string} name */
    #input(name) {
        return /** @type {HTMLInputElement | HTMLSelectElement} */ (this.#form.elements.namedItem(name));
    }

    /** @param {string} name */
    #output(name) {
        return /** @type {HTMLOutputElement} */ (this.#form.elements.namedItem(name));
    }
}
