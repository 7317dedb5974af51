/** A static server that serves dist/ from a subfolder, as any host would. */

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

export const FOLDER = '/some/folder/';

/** @type {Record<string, string>} */
const TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.css': 'text/css',
    '.js': 'text/javascript',
    '.mjs': 'text/javascript',
    '.json': 'application/json',
    '.wasm': 'application/wasm',
    '.svg': 'image/svg+xml',
    '.jpg': 'image/jpeg',
    '.png': 'image/png',
};

/**
 * @typedef {(path: string) => {status?: number, type?: string, body: Uint8Array} | Promise<void> | undefined} Intercept
 *   hears of each path before it is served; may answer in the server's place, or hold the answer back
 *
 * `root` is the folder that is served; another can take its place. `sent` holds the size of each file that was served.
 * @typedef {{url: string, root: string, paths: string[], sent: Map<string, number>, intercept: Intercept, close(): Promise<void>}} TestServer
 */

/** With these a page may use threads and fine clocks. */
const ISOLATING = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };

/**
 * `mounts` are other folders to serve: the beginning of their paths (`ort/`) to a folder.
 *
 * @param {string} root
 * @param {{isolated?: boolean, mounts?: Record<string, string>}} [options]
 * @returns {Promise<TestServer>}
 */
export async function serve(root, { isolated = false, mounts = {} } = {}) {
    const headers = isolated ? ISOLATING : {};
    /** @type {TestServer} */
    const test = { url: '', root, paths: [], sent: new Map(), intercept: () => undefined, close: async () => {} };
    const server = createServer(async (request, response) => {
        const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
        const inside = path.startsWith(FOLDER) ? path.slice(FOLDER.length) : null;
        test.paths.push(inside ?? path);
        const instead = await test.intercept(inside ?? path);
        if (instead) {
            response.writeHead(instead.status ?? 200, { ...headers, ...instead.type && { 'content-type': instead.type } }).end(instead.body);
            return;
        }
        const mount = Object.keys(mounts).find((start) => inside?.startsWith(start));
        const folder = mount === undefined ? test.root : mounts[mount];
        const file = join(folder, normalize(inside === '' ? 'index.html' : inside?.slice(mount?.length ?? 0) ?? ''));
        const found = inside !== null && file.startsWith(folder) ? await stat(file).catch(() => null) : null;
        if (!found?.isFile()) {
            response.writeHead(404).end();
            return;
        }
        test.sent.set(inside ?? '', found.size);
        response.writeHead(200, {
            ...headers,
            'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
            'content-length': found.size,
            'cache-control': 'no-cache',
        });
        createReadStream(file).pipe(response);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(null)));
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    test.url = `http://127.0.0.1:${port}${FOLDER}`;
    test.close = () => new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
    });
    return test;
}
