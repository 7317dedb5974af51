/** Whether engines computed the same. */

/** @import { Output } from './worker.mjs' */

/** The largest difference that rounding may make, as a part of the output's largest number. */
export const TOLERANCE = 1e-3;

/** @param {Output[]} ones @param {Output[]} others @returns {number} the largest difference; Infinity where shapes differ */
export function distance(ones, others) {
    if (ones.length !== others.length) return Infinity;
    return Math.max(...ones.map(({ name, shape, data }) => {
        const other = others.find((output) => output.name === name);
        if (!other || String(other.shape) !== String(shape)) return Infinity;
        let largest = 0;
        let off = 0;
        for (let at = 0; at < data.length; at++) {
            largest = Math.max(largest, Math.abs(data[at]));
            const difference = Math.abs(data[at] - other.data[at]);
            // A NaN is never near anything.
            off = difference <= off ? off : Number.isNaN(difference) ? Infinity : difference;
        }
        return off === 0 ? 0 : off / largest;
    }));
}

/**
 * An engine is believed when it agrees with at least half of the others.
 *
 * @param {Map<string, Output[]>} outputs by engine
 * @returns {Record<string, string>} a sentence for each engine that is not believed
 */
export function disagreement(outputs) {
    /** @type {Record<string, string>} */
    const wrong = {};
    for (const [engine, found] of outputs) {
        const off = [...outputs].filter(([other]) => other !== engine).map(([other, theirs]) => ({ other, by: distance(theirs, found) }));
        const strangers = off.filter(({ by }) => !(by <= TOLERANCE));
        if (strangers.length * 2 > off.length) {
            wrong[engine] = `its output differs from that of ${strangers.map(({ other, by }) => `${other} by ${by.toExponential(1)}`).join(', ')}`;
        }
    }
    return wrong;
}
