/**
 * Owns the wasm module. Calls run one after the other; a cancel message is heard between the steps of a run, and one that
 * comes in while the photo or the names are taken ends their run before it begins.
 */

import { takePhoto } from './decode.js';
import { ModelFiles } from './model-files.js';
import { BROKE_OFF, NOT_LOADED, OTHER, STOPPED, messageOf } from './protocol.js';
import { startThreads, startWasm } from './wasm-module.js';

/** @import { Calls, EngineChoice, EngineInfo, FromWorker, Options, Result, StageEvent, ToWorker, Zegformer } from './protocol.js' */

/** @type {{postMessage(message: FromWorker, transfer?: Transferable[]): void, onmessage: ((event: MessageEvent<ToWorker>) => void) | null}} */
const page = /** @type {any} */ (globalThis);

/** @type {ReturnType<typeof startWasm> | undefined} */
let starting;
/** @type {Zegformer | undefined} */
let zegformer;
/** @type {EngineInfo | undefined} */
let engine;
/** How many threads the CPU engine has, or would have in a lost GPU's place. @type {Promise<number> | undefined} */
let threads;
/** @type {ModelFiles | undefined} */
let files;
let bundleText = '';
/** The run that works now, and the last one that was called off. */
let present = 0;
let cancelled = 0;

/** What a new engine has to be told after the old one was lost. */
const kept = { photo: /** @type {Uint8Array | null} */ (null), classes: '', options: /** @type {Options} */ ({}) };

/** @param {StageEvent} stage */
async function onEvent(stage) {
    page.postMessage({ stage });
    // A whole turn of the event loop, in which a cancel message can come in.
    await new Promise((resolve) => setTimeout(resolve, 0));
    return cancelled !== present;
}

/** @param {Result} preview */
const tellPreview = (preview) => page.postMessage({ preview }, buffersOf(preview));

/** What failed to start, without a network for instance, can be tried again. */
function wasmStarted() {
    starting ??= startWasm().catch((error) => {
        starting = undefined;
        throw error;
    });
    return starting;
}

/** @param {EngineChoice} choice */
async function open(choice) {
    const started = await wasmStarted();
    const from = /** @type {ModelFiles} */ (files);
    const loaded = await started.wasm.Zegformer.load(bundleText, choice, (name) => from.read(name), onEvent);
    engine = loaded.engine;
    // Beside a GPU they compose; and once this thread has worked alone it could have no others.
    threads ??= startThreads(started, (ports) => page.postMessage({ threads: ports }, ports));
    const count = await threads;
    if (engine.kind === 'cpu' && count > 1) engine.adapter += `, ${count} threads`;
    zegformer = loaded;
    return { zegformer, engine };
}

function opened() {
    if (!zegformer) throw new Error(NOT_LOADED);
    return zegformer;
}

/** @param {unknown} error */
const lostGpu = (error) => /the GPU (was lost|ran out of memory|reported an error)|does not compile|is not supported|holds values that are not numbers/.test(messageOf(error));

/** @param {unknown} error that the GPU ended with */
async function goOnWithCpu(error) {
    zegformer?.free();
    zegformer = undefined;
    const { zegformer: cpu, engine: info } = await open('cpu');
    page.postMessage({ engine: { ...info, reason: messageOf(error) } });
    page.postMessage({ notice: `The CPU goes on in the GPU's place: ${messageOf(error)}` });
    if (kept.photo) await takePhoto(cpu, kept.photo);
    if (kept.classes) cpu.setClasses(kept.classes);
    cpu.setOptions(kept.options);
    return cpu;
}

/** @type {{[Name in keyof Calls]: (...args: Parameters<Calls[Name]>) => ReturnType<Calls[Name]> | Promise<ReturnType<Calls[Name]>>}} */
const calls = {
    async load(model, choice, threaded) {
        const { wasm } = await wasmStarted();
        if (!threaded) threads = Promise.resolve(1);
        files = new ModelFiles(
            new URL(`../models/${model}/`, import.meta.url),
            (bytes) => page.postMessage({ bytes }),
            (notice) => page.postMessage({ notice }),
        );
        let notice = '';
        const loaded = await files.open(async (text) => {
            bundleText = text;
            try {
                return await open(choice);
            } catch (error) {
                if (choice !== 'webgpu' || !/WebGPU|GPU/.test(messageOf(error))) throw error;
                notice = `WebGPU does not work here, so the CPU does the work: ${messageOf(error)}.`;
                return open('cpu');
            }
        });
        return { bundle: loaded.zegformer.bundle, engine: loaded.engine, bytes: files.totalBytes, palette: wasm.palette(OTHER), notice };
    },
    async setPhoto(bytes, shown = true) {
        const size = await takePhoto(opened(), bytes);
        kept.photo = bytes;
        return { ...size, pixels: shown ? opened().pixels() : new Uint8Array(0) };
    },
    setClasses(text) {
        const classes = opened().setClasses(text);
        kept.classes = text;
        return classes;
    },
    setOptions(options) {
        opened().setOptions(options);
        Object.assign(kept.options, options);
    },
    async segment(run, preview) {
        present = run;
        if (cancelled === run) throw new Error(STOPPED);
        const fetches = preview && await files?.lackMore() === true;
        const onPreview = preview ? tellPreview : undefined;
        try {
            return await opened().segment(run, onPreview, fetches);
        } catch (error) {
            await files?.forgetDamaged(messageOf(error));
            if (!lostGpu(error) || engine?.kind === 'cpu') throw error;
            return await (await goOnWithCpu(error)).segment(run, onPreview, fetches);
        }
    },
    export: ({ serial, kind, file, opacity, hidden }) => opened().export(serial, kind, file, opacity, hidden),
    cutout: (serial, index) => opened().cutout(serial, index),
};

/** @param {unknown} value */
function buffersOf(value) {
    const values = value instanceof Uint8Array ? [value] : Object.values(value ?? {});
    return values.filter((part) => part instanceof Uint8Array).map((part) => part.buffer);
}

/** @type {Promise<void>} */
let queue = Promise.resolve();

page.onmessage = ({ data }) => {
    if ('cancel' in data) {
        cancelled = data.cancel;
        return;
    }
    const { id, call, args } = data;
    queue = queue.then(async () => {
        try {
            const value = await /** @type {(...args: any[]) => unknown} */ (calls[call])(...args);
            page.postMessage({ id, value }, buffersOf(value));
        } catch (error) {
            // After a trap the module's memory is in no known state; a range error is what scripts get where none is left.
            const fatal = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
            page.postMessage({ id, error: fatal ? BROKE_OFF : messageOf(error), fatal });
        }
    });
};
