/** The page's address: what it asks for, and how it is kept up to date, so that a reload or a copied address keeps it. */

import { MODES } from './settings.js';

/** @import { EngineChoice, Mode } from './protocol.js' */
/** @typedef {{engine: EngineChoice, model: string, mode: Mode | null, classes: string}} Address */

const MODEL = 'zegformer-lite';
/** Servers refuse addresses that are much longer. */
export const MOST_CHARACTERS = 6000;
/** How long the button says that it copied. */
const COPIED_MS = 2000;

/**
 * What the address asks for. Anything else in it is passed over.
 *
 * @param {string} search
 * @returns {Address}
 */
export function readAddress(search) {
    const query = new URLSearchParams(search);
    const engine = query.get('engine') ?? '';
    const model = query.get('model') ?? '';
    const mode = query.get('mode') ?? '';
    return {
        engine: /** @type {EngineChoice} */ (['webgpu', 'cpu'].includes(engine) ? engine : 'auto'),
        model: /^[a-z0-9-]+$/.test(model) ? model : MODEL,
        mode: /** @type {Mode | null} */ (Object.hasOwn(MODES, mode) ? mode : null),
        classes: query.get('classes') ?? '',
    };
}

/**
 * The address's query for these choices; what is as by default goes without saying.
 *
 * @param {Address} choices
 */
export function writeAddress({ classes, engine, model, mode }) {
    const query = new URLSearchParams();
    if (classes) query.set('classes', classes);
    if (engine !== 'auto') query.set('engine', engine);
    if (model !== MODEL) query.set('model', model);
    if (mode) query.set('mode', mode);
    // Commas may stand as they are, and a list of names is easier to read with them.
    const text = query.toString().replaceAll('%2C', ',');
    return text && `?${text}`;
}

/**
 * Writes the choices into the address, without a step in the history. A list that is too long for an address is left out.
 *
 * @param {Address} choices
 * @returns {boolean} false if the names were left out
 */
export function keepAddress(choices) {
    const whole = writeAddress(choices);
    const fits = whole.length <= MOST_CHARACTERS;
    const search = fits ? whole : writeAddress({ ...choices, classes: '' });
    if (search !== location.search) history.replaceState(history.state, '', location.pathname + search + location.hash);
    return fits;
}

/**
 * Has the button copy the address, and say so; without a clipboard there is no button.
 *
 * @param {HTMLElement} button
 * @param {(copy: () => Promise<void>) => void} pressed
 */
export function offerLink(button, pressed) {
    const { clipboard } = navigator;
    button.hidden = !clipboard;
    const { textContent } = button;
    const copy = async () => {
        await clipboard.writeText(location.href);
        button.textContent = 'Copied';
        setTimeout(() => {
            button.textContent = textContent;
        }, COPIED_MS);
    };
    button.addEventListener('click', () => pressed(copy));
}
