/**
 * Keeps the page for use without a network, and isolates it from other origins, which gives the CPU engine its threads: most
 * hosts of static files cannot. Each bundle.json that comes with the page is kept with it, as an older page may not know what a
 * newer one says; the models' other files are kept by the page's worker.
 */

const VERSION = 'BUILD_VERSION';
const CACHE = `zegformer-page-${VERSION}`;

const FILES = [
    './',
    'www/address.js',
    'www/app.js',
    'www/chips.js',
    'www/client.js',
    'www/coco.js',
    'www/decode.js',
    'www/downloads.js',
    'www/examples.js',
    'www/folders.js',
    'www/icon.svg',
    'www/keep.js',
    'www/label-all.js',
    'www/legend.js',
    'www/loop.js',
    'www/model-files.js',
    'www/notice.js',
    'www/overlay.js',
    'www/photos.js',
    'www/protocol.js',
    'www/save-all.js',
    'www/segments.js',
    'www/settings.js',
    'www/status.js',
    'www/style.css',
    'www/thread.js',
    'www/thumbnails.js',
    'www/tray.js',
    'www/updates.js',
    'www/wasm-module.js',
    'www/worker.js',
    'www/zip.js',
    'www/wasm/zegformer.js',
    'www/wasm/zegformer_bg.wasm',
    'www/examples/astronaut.jpg',
    'www/examples/chelsea.jpg',
    'www/examples/coffee.jpg',
    'www/examples/rocket.jpg',
];

/**
 * Of each file of www/ what its content has to be, filled in by build.sh as JSON: a host may be in the midst of an upload, or have
 * an older file in a cache of its own.
 *
 * @type {Record<string, string>}
 */
const INTEGRITY = JSON.parse('BUILD_INTEGRITY');

/** Filled in by build.sh, with a space between two. */
const BUNDLES = 'BUILD_BUNDLES'.split(' ').filter((path) => path !== '');

/**
 * What a page and its workers have to be served with to share memory between threads, and, as in index.html, to send nothing
 * anywhere: a worker is not bound by what its page says.
 */
const HEADERS = {
    'Content-Security-Policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; style-src 'self'; connect-src 'self'; worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'",
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
};

/**
 * @typedef {Event & {waitUntil(promise: Promise<unknown>): void}} WaitEvent
 * @typedef {WaitEvent & {request: Request, respondWith(answer: Promise<Response>): void}} RequestEvent
 */
const worker = /** @type {any} */ (globalThis);

worker.addEventListener('install', (/** @type {WaitEvent} */ event) => {
    event.waitUntil((async () => {
        const cache = await caches.open(CACHE);
        await cache.addAll([...FILES, ...BUNDLES].map((file) => new Request(file, { cache: 'reload', integrity: INTEGRITY[file] })));
        // Some hosts add to what they serve as HTML.
        const page = await (await cache.match('./'))?.text();
        if (!page?.includes(VERSION)) throw new Error('the host has files of several versions');
        if (!await caches.has(CACHE)) throw new Error('the kept files were dropped meanwhile');
    })());
});

worker.addEventListener('activate', (/** @type {WaitEvent} */ event) => {
    event.waitUntil(dropOthers().then(() => worker.clients.claim()));
});

/** Drops what other versions kept. What a browser does not drop now, it may the next time. */
async function dropOthers() {
    const names = await caches.keys();
    const others = names.filter((name) => name.startsWith('zegformer-page-') && name !== CACHE);
    await Promise.all(others.map((name) => caches.delete(name).catch(() => false)));
}

// The page asks for it once its user agrees to reload; until then old files stay with old files. All open tabs reload then
// (www/updates.js), for the old files are gone.
worker.addEventListener('message', (/** @type {MessageEvent} */ event) => {
    if (event.data === 'take over') worker.skipWaiting();
});

/** @param {Request} request */
async function answer(request) {
    const page = request.mode === 'navigate';
    // Not through `open`, which makes a cache that is gone: by an answer under way while a newer version takes over, the old
    // version's would come back, empty, and stay.
    const kept = await caches.match(page ? './' : request, { cacheName: CACHE, ignoreSearch: page });
    const found = kept ?? await fetch(request);
    return page || request.destination === 'worker' ? isolated(found) : found;
}

/** @param {Response} found */
function isolated(found) {
    const headers = new Headers(found.headers);
    for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
    return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}

worker.addEventListener('fetch', (/** @type {RequestEvent} */ event) => {
    const { request } = event;
    const scope = new URL(worker.registration.scope);
    const url = new URL(request.url);
    const inside = url.origin === scope.origin && url.pathname.startsWith(scope.pathname);
    const path = url.pathname.slice(scope.pathname.length);
    if (request.method !== 'GET' || !inside) return;
    if (path.startsWith('models/') && !BUNDLES.includes(path)) return;
    if (request.mode === 'navigate' && path !== '' && path !== 'index.html') return;
    event.respondWith(answer(request));
    // Of an older version something may be left; a newer one has kept its files before it is asked for.
    const { installing, waiting } = worker.registration;
    if (request.mode === 'navigate' && !installing && !waiting) event.waitUntil(dropOthers());
});
