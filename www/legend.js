/** The classes of the result: colour, name, share of the photo; each can be hidden, shown alone or cut out. */

import { cssColour } from './overlay.js';

/** @import { Result } from './protocol.js' */

/** @param {number} share 0 to 1 */
export function percent(share) {
    if (share > 0 && share < 0.01) return '< 1 %';
    return `${Math.round(share * 100)} %`;
}

/**
 * What is hidden after a click on "only": everything else, or nothing if it was alone already.
 *
 * @param {Set<number>} hidden
 * @param {number} index
 * @param {number} count
 */
export function solo(hidden, index, count) {
    const others = Array.from({ length: count }, (_, i) => i).filter((i) => i !== index);
    const alone = !hidden.has(index) && others.every((i) => hidden.has(i));
    return new Set(alone ? [] : others);
}

const UNSEEN = 'no masks in training';

/** So many kinds of a name ("dalmatian", of "dog") go without saying. */
const FEW_KINDS = 2;

/**
 * What is to be said of how a name was looked for: in short, and in full.
 *
 * @param {Result['classes'][number]} result
 * @returns {[string, string]}
 */
export function note({ name, sameAs, about, kinds, foundAs, seen, share }) {
    if (sameAs) return [`the same as ${sameAs}`, `“${name}” means what “${sameAs}” means, and what is found goes to the first of the two.`];
    const many = kinds.length > FEW_KINDS;
    const found = many && share > 0 ? foundAs.join(', ') : '';
    const among = many ? ` and for ${kinds.length} kinds of it: ${kinds.join(', ')}` : '';
    if (about) {
        const said = `The model looks for “${about}”${among}; it hardly tells one from another by the rest of the phrase.`;
        return [found ? `found as ${found}` : `looked for as “${about}”`, said];
    }
    if (found) return [`found as ${found}`, `The model looks for “${name}”${among}.`];
    if (seen !== false) return ['', ''];
    return [UNSEEN, `The training had no mask of “${name}”: the model goes by what the words mean.`];
}

/** @typedef {{hidden(labels: Set<number>): void, highlight(label: number | null): void, cutout(index: number): void, add(name: string): void}} Actions */

/** So many guesses at what nothing named is. */
const MOST_GUESSES = 3;

export class Legend {
    #list;
    #bar;
    #hint;
    #actions;
    /** @type {Result | null} */
    #result = null;
    #saveable = false;
    /** @type {Uint8Array} */
    #palette = new Uint8Array(0);
    /** Names, not indices: they outlive a change of the list. @type {Set<string>} */
    #hidden = new Set();

    /**
     * @param {HTMLElement} list
     * @param {HTMLElement} bar of shares
     * @param {HTMLElement} hint on names that the training had no masks of
     * @param {Actions} actions
     */
    constructor(list, bar, hint, actions) {
        this.#hint = hint;
        this.#list = list;
        this.#bar = bar;
        this.#actions = actions;
    }

    /** @param {Uint8Array} palette */
    setPalette(palette) {
        this.#palette = palette;
    }

    /**
     * @param {Result | null} result
     * @param {boolean} saveable whether there are cut-outs to be had of it
     */
    show(result, saveable) {
        this.#result = result;
        this.#saveable = saveable;
        this.#render();
    }

    #hiddenLabels() {
        const classes = this.#result?.classes ?? [];
        return new Set(classes.flatMap(({ name }, index) => (this.#hidden.has(name) ? [index] : [])));
    }

    /** @param {Set<number>} labels */
    #hide(labels) {
        const classes = this.#result?.classes ?? [];
        this.#hidden = new Set([...labels].map((index) => classes[index].name));
        // The mouse is still over the row: what was clicked is to be seen at once.
        this.#actions.highlight(null);
        this.#render();
    }

    #render() {
        const classes = this.#result?.classes ?? [];
        const hidden = this.#hiddenLabels();
        const focused = this.#focused();
        const order = classes.map((_, index) => index).sort((a, b) => classes[b].share - classes[a].share);
        const items = order.map((index) => this.#item(index, hidden));
        if (this.#result) items.push(this.#other(this.#result));
        this.#list.replaceChildren(...items);
        this.#bar.replaceChildren(...order.map((index) => {
            const part = document.createElement('span');
            part.style.setProperty('--share', `${classes[index].share}`);
            part.style.setProperty('--colour', cssColour(this.#palette, index));
            part.classList.toggle('is-hidden', hidden.has(index));
            return part;
        }));
        this.#hint.hidden = !classes.some((result) => note(result)[0] === UNSEEN);
        if (focused) this.#focus(focused);
        this.#actions.hidden(hidden);
    }

    /**
     * @param {number} index
     * @param {Set<number>} hidden
     */
    #item(index, hidden) {
        const result = /** @type {Result} */ (this.#result).classes[index];
        const { name, share } = result;
        const item = document.createElement('li');
        item.dataset.class = name;
        item.dataset.share = String(share);
        item.style.setProperty('--colour', cssColour(this.#palette, index));
        item.classList.toggle('is-hidden', hidden.has(index));
        item.classList.toggle('is-absent', share === 0);

        const toggle = button('legend-toggle', () => {
            const labels = new Set(hidden);
            if (!labels.delete(index)) labels.add(index);
            this.#hide(labels);
        });
        toggle.setAttribute('aria-pressed', String(!hidden.has(index)));
        const [text, title] = note(result);
        toggle.setAttribute('aria-label', [name, text, percent(share), 'shown'].filter(Boolean).join(', '));
        toggle.title = hidden.has(index) ? 'Show' : 'Hide';
        const label = span('legend-name', name);
        if (text) {
            toggle.setAttribute('aria-description', title);
            const small = span('legend-about', text);
            small.title = title;
            label.append(small);
        }
        toggle.append(span('swatch', ''), label, span('legend-share', percent(share)));

        const only = button('legend-action', () => this.#hide(solo(hidden, index, this.#result?.classes.length ?? 0)));
        only.textContent = 'only';
        only.setAttribute('aria-label', `Show only ${name}`);
        const cut = button('legend-action', () => this.#actions.cutout(index));
        cut.textContent = 'cut out';
        cut.disabled = share === 0 || !this.#saveable;
        cut.setAttribute('aria-label', `Save a cut-out of ${name}`);
        const actions = span('legend-actions', '');
        actions.append(only, cut);
        item.append(toggle, actions);
        item.addEventListener('pointerenter', (event) => {
            if (event.pointerType === 'mouse' && share > 0 && !hidden.has(index)) this.#actions.highlight(index);
        });
        item.addEventListener('pointerleave', () => this.#actions.highlight(null));
        return item;
    }

    /** @param {Result} result */
    #other({ other, otherAs }) {
        const item = document.createElement('li');
        item.className = 'legend-other';
        const label = span('legend-name', 'nothing named');
        if (otherAs.length > 0) {
            const guesses = otherAs.slice(0, MOST_GUESSES).map((name) => {
                const guess = button('legend-guess', () => this.#actions.add(name));
                guess.textContent = name;
                guess.setAttribute('aria-label', `Add the name ${name}`);
                guess.title = 'Add this name';
                return guess;
            });
            const note = span('legend-about', 'perhaps ');
            note.append(...guesses.flatMap((guess, index) => (index > 0 ? [', ', guess] : [guess])));
            label.append(note);
        }
        item.append(span('swatch', ''), label, span('legend-share', percent(other)));
        return item;
    }

    /** The list is made anew on each change; whoever uses the keyboard stays where they were. */
    #focused() {
        const guess = document.activeElement;
        // A guess that was clicked becomes a name.
        if (guess?.matches('.legend-guess')) return { name: guess.textContent, position: 0 };
        const item = document.activeElement?.closest('li[data-class]');
        if (!(item instanceof HTMLElement) || item.parentElement !== this.#list) return null;
        const position = [...item.querySelectorAll('button')].findIndex((part) => part === document.activeElement);
        return { name: item.dataset.class, position };
    }

    /** @param {{name: string | null | undefined, position: number}} place */
    #focus({ name, position }) {
        const item = [...this.#list.children].find((li) => li instanceof HTMLElement && li.dataset.class === name);
        item?.querySelectorAll('button')[position]?.focus();
    }
}

/**
 * @param {string} className
 * @param {() => void} act
 */
function button(className, act) {
    const element = document.createElement('button');
    element.type = 'button';
    element.className = className;
    element.addEventListener('click', act);
    return element;
}

/**
 * @param {string} className
 * @param {string} text
 */
function span(className, text) {
    const element = document.createElement('span');
    element.className = className;
    element.textContent = text;
    return element;
}
