/** One of the CPU engine's threads: the same module over the same memory, lent to the pool for good. */

import { messageOf } from './protocol.js';
import { scriptOf } from './wasm-module.js';

/** @import { WasmModule } from './protocol.js' */

/** @type {{postMessage(message: unknown): void, onmessage: ((event: MessageEvent<{module: WebAssembly.Module, memory: WebAssembly.Memory, port: MessagePort}>) => void) | null}} */
const parent = /** @type {any} */ (globalThis);

parent.onmessage = async ({ data: { module, memory, port } }) => {
    /** @type {WasmModule} */
    let wasm;
    try {
        wasm = await import(scriptOf());
        await wasm.default({ module_or_path: module, memory });
    } catch (error) {
        // What fails in here is no error of the worker's, as others see it.
        parent.postMessage({ failed: messageOf(error) });
        return;
    }
    parent.postMessage('waiting');
    try {
        wasm.runThread();
    } catch (error) {
        // Others now wait for this thread's part, and would forever.
        port.postMessage(messageOf(error));
    }
};
