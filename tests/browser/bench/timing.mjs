/** Runs rows on all engines, in turns, so that a busy moment of the machine strikes them alike. */

import { failed, timed } from './report.mjs';

/** @import { Page } from 'playwright-core' */
/** @import { Row } from './operators.mjs' */
/** @import { Result } from './report.mjs' */

export const ENGINES = ['webgpu', 'cpu', 'cpu-n', 'ort-webgpu', 'ort-wasm-1', 'ort-wasm-n'];
/** An engine that used this much of a row's time takes no further turn, once it had its fewest. */
const ENOUGH_MS = 6_000;
const FEWEST = 2;
/** Left out of the medians: the browser's compilers of wasm settle. What runs for seconds settled in its first run. */
const SETTLING_MS = 300;
const SLOW_MS = 2_000;
/** Threads of an engine that is done wait busily for a while. */
const PAUSE_MS = 30;

const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** Calls a function of page.mjs. @param {Page} page @param {string} name @param {...unknown} given @returns {Promise<any>} */
function call(page, name, ...given) {
    return page.evaluate(([what, list]) => /** @type {any} */ (globalThis).bench[/** @type {string} */ (what)](.../** @type {unknown[]} */ (list)), [name, given]);
}

/** Starts the engines, and says of each that cannot start why. @param {Page} page @returns {Promise<Map<string, string>>} */
export async function openEngines(page) {
    /** @type {Map<string, string>} */
    const absent = new Map();
    for (const engine of ENGINES) {
        await call(page, 'open', engine).catch((error) => absent.set(engine, failed('', engine, error).error ?? ''));
    }
    return absent;
}

/**
 * @param {Page} page
 * @param {Row} row
 * @param {number} at where the server has it
 * @param {{runs: number, absent: Map<string, string>}} options
 * @returns {Promise<Result[]>}
 */
export async function timeRow(page, { row, inputs }, at, { runs, absent }) {
    await call(page, 'take', at, inputs.map(({ name, shape }) => ({ name, shape })));
    /** @type {Map<string, Result>} */
    const results = new Map();
    /** @type {{engine: string, cold: number, warm: number[], spent: number}[]} */
    let runners = [];
    for (const engine of ENGINES) {
        const reason = absent.get(engine);
        try {
            if (reason !== undefined) throw new Error(reason);
            const { ms, dispatches, adapter } = await call(page, 'cold', engine);
            runners.push({ engine, cold: ms, warm: [], spent: 0 });
            console.error(`${row}: ${engine} on ${adapter}, first ${ms.toFixed(0)} ms${dispatches ? `, ${dispatches} dispatches` : ''}`);
        } catch (error) {
            results.set(engine, failed(row, engine, error));
        }
        await pause();
    }
    for (const [engine, sentence] of Object.entries(await call(page, 'verdicts'))) {
        results.set(engine, failed(row, engine, sentence));
        runners = runners.filter((runner) => runner.engine !== engine);
    }
    for (const { engine, cold } of runners) {
        for (let spent = cold > SLOW_MS ? SETTLING_MS : 0; spent < SETTLING_MS;) spent += await call(page, 'warm', engine) + 1;
        await pause();
    }
    for (let turn = 0; turn < runs; turn++) {
        for (const runner of runners) {
            if (turn >= FEWEST && runner.spent > ENOUGH_MS) continue;
            const ms = await call(page, 'warm', runner.engine);
            runner.warm.push(ms);
            runner.spent += ms;
            await pause();
        }
    }
    await call(page, 'free');
    for (const { engine, cold, warm } of runners) results.set(engine, timed(row, engine, cold, warm));
    return ENGINES.flatMap((engine) => results.get(engine) ?? []);
}
