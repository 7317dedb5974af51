/** Class names as chips that can be edited, removed and pasted as a list. */

/**
 * Splits at commas, semicolons and line breaks. `sofa | couch` stays one entry: one class with two names.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function parseNames(text) {
    return text.split(/[,;\r\n]+/).map(tidyName).filter((name) => name !== '');
}

/**
 * One space between words, ` | ` between synonyms, no empty synonyms.
 *
 * @param {string} name
 */
export function tidyName(name) {
    return name.split('|').map((word) => word.trim().replace(/\s+/g, ' ')).filter((word) => word !== '').join(' | ');
}

/**
 * Appends names that are not there yet, whatever their case.
 *
 * @param {string[]} names
 * @param {string[]} more
 */
export function mergeNames(names, more) {
    const known = new Set(names.map((name) => name.toLowerCase()));
    const merged = [...names];
    for (const name of more) {
        if (!known.has(name.toLowerCase())) {
            known.add(name.toLowerCase());
            merged.push(name);
        }
    }
    return merged;
}

export class Chips {
    /** @type {string[]} */
    #names = [];
    #list;
    #input;
    #changed;

    /**
     * @param {HTMLElement} list
     * @param {HTMLInputElement} input
     * @param {(names: string[]) => void} changed
     */
    constructor(list, input, changed) {
        this.#list = list;
        this.#input = input;
        this.#changed = changed;
        input.addEventListener('keydown', (event) => this.#key(event));
        input.addEventListener('input', () => {
            if (/[,;]/.test(input.value)) this.#take();
        });
        input.addEventListener('paste', (event) => {
            const text = event.clipboardData?.getData('text/plain') ?? '';
            // An input would swallow the line breaks of a pasted list.
            if (!/[,;\r\n]/.test(text)) return;
            event.preventDefault();
            this.add(parseNames(input.value + text));
            input.value = '';
        });
        input.addEventListener('change', () => this.#take());
    }

    get names() {
        return [...this.#names];
    }

    /** @param {string[]} names */
    set(names) {
        this.#update(mergeNames([], names.map(tidyName).filter((name) => name !== '')));
    }

    /** @param {string[]} names */
    add(names) {
        this.#update(mergeNames(this.#names, names));
    }

    #take() {
        const names = parseNames(this.#input.value);
        this.#input.value = '';
        if (names.length > 0) this.add(names);
    }

    /** @param {KeyboardEvent} event */
    #key(event) {
        if (event.isComposing) return;
        if (event.key === 'Enter') {
            event.preventDefault();
            this.#take();
        } else if (event.key === 'Backspace' && this.#input.value === '' && this.#names.length > 0) {
            event.preventDefault();
            // A key that is held to clear the field has done its work.
            if (!event.repeat) this.#update(this.#names.slice(0, -1));
        }
    }

    /** @param {string[]} names */
    #update(names) {
        const same = names.length === this.#names.length && names.every((name, i) => name === this.#names[i]);
        this.#names = names;
        this.#render();
        if (!same) this.#changed([...names]);
    }

    #render() {
        this.#input.placeholder = this.#names.length === 0 ? 'cat, sofa, wall' : 'another name';
        this.#list.replaceChildren(...this.#names.map((name, index) => this.#chip(name, index)));
    }

    /**
     * @param {string} name
     * @param {number} index
     */
    #chip(name, index) {
        const item = document.createElement('li');
        item.className = 'chip';
        const label = document.createElement('button');
        label.type = 'button';
        label.className = 'chip-name';
        label.textContent = name;
        label.title = 'Edit';
        label.setAttribute('aria-label', `Edit ${name}`);
        label.addEventListener('click', () => this.#edit(item, name, index));
        const remove = document.createElement('button');
        remove.type = 'button';
        remove.className = 'chip-remove';
        remove.textContent = '×';
        remove.setAttribute('aria-label', `Remove ${name}`);
        remove.addEventListener('click', ({ detail }) => {
            this.#update(this.#names.filter((_, i) => i !== index));
            // By the keyboard alone, which has to go on from somewhere: a tap would open a phone's keyboard.
            if (detail === 0) this.#input.focus();
        });
        item.append(label, remove);
        return item;
    }

    /**
     * @param {HTMLLIElement} item
     * @param {string} name
     * @param {number} index
     */
    #edit(item, name, index) {
        const editor = document.createElement('input');
        editor.className = 'chip-editor';
        editor.value = name;
        editor.size = Math.max(4, name.length);
        editor.setAttribute('aria-label', `New name for ${name}`);
        let open = true;
        /** @param {boolean} keep */
        const close = (keep) => {
            if (!open) return;
            open = false;
            const names = keep ? parseNames(editor.value) : [name];
            const next = [...this.#names.slice(0, index), ...names, ...this.#names.slice(index + 1)];
            this.#update(mergeNames([], next));
        };
        editor.addEventListener('keydown', (event) => {
            if (event.isComposing || (event.key !== 'Enter' && event.key !== 'Escape')) return;
            event.preventDefault();
            close(event.key === 'Enter');
            this.#input.focus();
        });
        editor.addEventListener('blur', () => close(true));
        item.replaceChildren(editor);
        editor.focus();
        editor.select();
    }
}
