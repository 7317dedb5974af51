/** A sentence above the page, that stays until it is closed or another one comes. */

import { sentence } from './status.js';

export class Notice {
    #box;
    #line;

    /** @param {HTMLElement} box with a line and a button that closes it */
    constructor(box) {
        this.#box = box;
        this.#line = /** @type {HTMLElement} */ (box.firstElementChild);
        box.lastElementChild?.addEventListener('click', () => {
            box.hidden = true;
        });
    }

    /**
     * @param {string} text
     * @param {{label: string, act: () => void}} [offer]
     */
    show(text, offer) {
        this.#line.textContent = `${sentence(text)} `;
        if (offer) {
            const button = document.createElement('button');
            button.type = 'button';
            button.className = 'offer';
            button.textContent = offer.label;
            button.addEventListener('click', offer.act);
            this.#line.append(button);
        }
        this.#box.hidden = false;
    }
}
