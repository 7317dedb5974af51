/** Starts the wasm module and, where the page is cross-origin isolated, threads for its CPU engine. */

import { httpSentence } from './model-files.js';
import { messageOf } from './protocol.js';

/** @import { WasmModule } from './protocol.js' */
/** @typedef {{wasm: WasmModule, module: WebAssembly.Module, memory: WebAssembly.Memory}} Started */

/** Sizes that the memory may grow to, in pages of 64 KiB: small devices cannot set aside room for the largest. */
const MOST_PAGES = [65536, 32768, 16384];
/** At least the 256 that the module is linked with (build.sh) and one that wasm-bindgen adds. */
const FIRST_PAGES = 320;
const MOST_THREADS = 8;

export const scriptOf = () => new URL('./wasm/zegformer.js', import.meta.url).href;

/** Memory that threads can share. Making it takes no isolation, only handing it over to other workers does. */
function sharedMemory() {
    let reason = '';
    for (const maximum of MOST_PAGES) {
        try {
            return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared: true });
        } catch (error) {
            reason = messageOf(error);
        }
    }
    throw new Error(`this browser gives the page no memory (${reason}); close other pages, or try a newer browser`);
}

/** @param {string} url */
async function compile(url) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(httpSentence(answer.status, url));
    // Some hosts do not know the type, without which nothing is compiled while it comes in.
    if (answer.headers.get('content-type') === 'application/wasm') return WebAssembly.compileStreaming(answer);
    return WebAssembly.compile(await answer.arrayBuffer());
}

/** @returns {Promise<Started>} */
export async function startWasm() {
    const script = scriptOf();
    /** @type {Promise<WasmModule>} */
    const imported = import(script);
    const [wasm, module] = await Promise.all([imported, compile(script.replace('.js', '_bg.wasm'))]);
    const memory = sharedMemory();
    await wasm.default({ module_or_path: module, memory });
    return { wasm, module, memory };
}

/**
 * How many threads the CPU engine gets. Many cores are mostly pairs that share one arithmetic unit, so half of those.
 *
 * @param {number} cores as the browser counts them
 */
export function threadCount(cores) {
    return Math.min(MOST_THREADS, Math.max(Math.min(cores, 4), Math.ceil(cores / 2)));
}

/**
 * Gives the CPU engine its threads; resolves to how many there are, this one included: 1 where there can be no more.
 *
 * @param {Started} started
 * @param {(ports: MessagePort[]) => void} watch takes ports, one for each thread, that tell why it ended. Whoever waits for a
 *   thread's result cannot listen, so this has to reach another thread.
 */
export async function startThreads({ wasm, module, memory }, watch) {
    const count = threadCount(navigator.hardwareConcurrency);
    if (!globalThis.crossOriginIsolated || count < 2) return 1;
    /** @type {ReturnType<typeof startThread>[]} */
    const threads = [];
    try {
        // Some browsers refuse to hand the memory over.
        while (threads.length < count - 1) threads.push(startThread(module, memory));
        watch(await Promise.all(threads.map(({ waiting }) => waiting)));
        wasm.startThreads(count);
    } catch {
        for (const { worker } of threads) worker.terminate();
        return 1;
    }
    return count;
}

/**
 * @param {WebAssembly.Module} module
 * @param {WebAssembly.Memory} memory
 */
function startThread(module, memory) {
    const worker = new Worker(new URL('./thread.js', import.meta.url), { type: 'module', name: 'zegformer thread' });
    const { port1, port2 } = new MessageChannel();
    /** @type {Promise<MessagePort>} */
    const waiting = new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => (data?.failed === undefined ? resolve(port1) : reject(new Error(data.failed)));
        worker.onerror = (event) => {
            event.preventDefault();
            reject(new Error(event.message));
        };
    });
    worker.postMessage({ module, memory, port: port2 }, [port2]);
    return { worker, waiting };
}
