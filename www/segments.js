/** The segments of the result, largest first: what each was taken for, and how sure either branch was of it. */

import { percent } from './legend.js';
import { cssColour } from './overlay.js';

/** @import { Result, Segment } from './protocol.js' */

const MOST_ROWS = 40;

/**
 * What a segment is shown as: its class, or else the class that came nearest.
 *
 * @param {Segment} segment
 */
export function nearest(segment) {
    if (segment.class !== null) return segment.class;
    let best = 0;
    segment.scores.forEach((score, index) => {
        if (score.fused > segment.scores[best].fused) best = index;
    });
    return best;
}

/**
 * @param {HTMLTableSectionElement} body
 * @param {Result | null} result
 * @param {Uint8Array} palette
 * @param {(box: Segment['box'] | null) => void} point
 */
export function showSegments(body, result, palette, point) {
    const pixels = result ? result.width * result.height : 1;
    const segments = [...result?.segments ?? []].filter(({ scores }) => scores.length > 0)
        .sort((a, b) => b.area - a.area).slice(0, MOST_ROWS);
    body.replaceChildren(...segments.map((segment) => {
        const index = nearest(segment);
        const score = segment.scores[index];
        const row = document.createElement('tr');
        const name = cell(segment.class === null ? `${score.name}?` : score.name);
        name.style.setProperty('--colour', segment.class === null ? 'transparent' : cssColour(palette, index));
        row.append(
            name,
            cell(percent(segment.area / pixels)),
            cell(percent(score.query)),
            cell(score.image === null ? '–' : percent(score.image)),
            cell(percent(score.fused)),
        );
        row.addEventListener('pointerenter', () => point(segment.box));
        row.addEventListener('pointerleave', () => point(null));
        return row;
    }));
}

/** @param {string} text */
function cell(text) {
    const element = document.createElement('td');
    element.textContent = text;
    return element;
}
