/**
 * The types that page, worker and wasm module share, and the messages between page and worker.
 *
 * @typedef {'auto' | 'webgpu' | 'cpu'} EngineChoice
 * @typedef {'fused' | 'query' | 'image'} Branch
 * @typedef {'official' | 'fast' | 'one-pass' | 'lite'} Mode
 * @typedef {{kind: 'webgpu' | 'cpu', adapter: string, reason: string}} EngineInfo
 * @typedef {{
 *   resolution?: string, mode?: Mode, lambda?: number, gamma?: number, margin?: number, threshold?: number,
 *   temperature?: number, branch?: Branch, distractors?: boolean,
 * }} Options
 * @typedef {{
 *   name: string, description: string, licence: string, source: string, mode: Mode, modes: Mode[], queries: number,
 *   resolutions: string[], defaultResolution: string, lambda: number, threshold: number | null,
 * }} BundleInfo
 * @typedef {{
 *   stage: string, state: 'start' | 'progress' | 'done', done?: number, total?: number, ms?: number, cached?: boolean,
 * }} StageEvent
 * @typedef {{name: string, query: number, image: number | null, fused: number}} Score
 * @typedef {{
 *   query: number, area: number, box: [number, number, number, number], class: number | null, scores: Score[],
 * }} Segment
 * A result; `serial` is the run that made it. Labels have the size at which the photo was worked on, `photoWidth` and
 * `photoHeight` are its own.
 * @typedef {{
 *   serial: number, width: number, height: number, photoWidth: number, photoHeight: number, options: Required<Options>,
 *   labels: Uint8Array, confidence: Uint8Array,
 *   classes: {
 *     name: string, sameAs: string | null, about: string | null, kinds: string[], foundAs: string[], seen: boolean | null,
 *     share: number,
 *   }[],
 *   other: number, otherAs: string[], segments: Segment[], imageHasASay: boolean, ms: number, stages: Record<string, number>,
 * }} Result
 * @typedef {'labels.png' | 'overlay.png' | 'json' | 'coco' | 'geojson'} ExportKind
 *
 * What is to be saved: of which result, as what; the photo's file name for documents, opacity and hidden labels for overlays.
 * @typedef {{serial: number, kind: ExportKind, file: string, opacity: number, hidden: Uint8Array}} Export
 *
 * @typedef {{
 *   engine: EngineInfo, bundle: BundleInfo,
 *   setPhoto(bytes: Uint8Array): {width: number, height: number},
 *   setPixels(width: number, height: number, rgba: Uint8Array): {width: number, height: number},
 *   setClasses(text: string): {name: string, synonyms: string[]}[],
 *   setOptions(options: Options): void,
 *   segment(serial: number, onPreview: ((result: Result) => void) | undefined, fetches: boolean): Promise<Result>,
 *   pixels(): Uint8Array,
 *   export(serial: number, kind: ExportKind, file: string, opacity: number, hidden: Uint8Array): Uint8Array,
 *   cutout(serial: number, index: number): Uint8Array,
 *   free(): void,
 * }} Zegformer
 * @typedef {{
 *   default(start: {module_or_path: WebAssembly.Module, memory: WebAssembly.Memory}): Promise<unknown>,
 *   startThreads(count: number): void,
 *   runThread(): void,
 *   palette(n: number): Uint8Array,
 *   Zegformer: {load(bundle: string, engine: EngineChoice,
 *     fetchFile: (name: string) => Promise<Uint8Array>,
 *     onEvent: (event: StageEvent) => Promise<boolean>): Promise<Zegformer>},
 * }} WasmModule
 *
 * What the worker offers: the name of a call, its arguments and its answer.
 * @typedef {{
 *   load(model: string, engine: EngineChoice, threads: boolean): Loaded,
 *   setPhoto(bytes: Uint8Array, shown?: boolean): Photo,
 *   setClasses(text: string): {name: string, synonyms: string[]}[],
 *   setOptions(options: Options): void,
 *   segment(run: number, preview: boolean): Result,
 *   export(what: Export): Uint8Array,
 *   cutout(serial: number, index: number): Uint8Array,
 * }} Calls
 * @typedef {{engine: EngineInfo, bundle: BundleInfo, bytes: number, palette: Uint8Array, notice: string}} Loaded
 * @typedef {{width: number, height: number, pixels: Uint8Array}} Photo
 *
 * @typedef {{id: number, call: keyof Calls, args: unknown[]} | {cancel: number}} ToWorker
 * @typedef {{id: number, value: unknown}
 *   | {id: number, error: string, fatal: boolean}
 *   | {stage: StageEvent}
 *   | {preview: Result}
 *   | {bytes: {file: string, done: number, total: number, finished: boolean}}
 *   | {notice: string}
 *   | {threads: MessagePort[]}
 *   | {engine: EngineInfo}} FromWorker
 */

/** The error message of a run that was ended on request. */
export const STOPPED = 'stopped';

/** The error message of a worker whose engine was lost and could not be replaced. */
export const NOT_LOADED = 'the model is not loaded';

/** The error message of a save whose result the module has no more. */
export const LOST = 'this result is not the last one any more; save again';

/** The error message where the module stopped in the middle of its work. */
export const BROKE_OFF = 'the page’s program broke off, as it does where memory runs out; choose a smaller photo, or close other pages and load this one again';

/** No more classes than labels: 255 means "nothing named". */
export const OTHER = 255;

/** @param {unknown} error */
export function messageOf(error) {
    return error instanceof Error ? error.message : String(error);
}
