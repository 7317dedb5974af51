/** Photos in formats that the module does not know and the browser may: AVIF in most, HEIC in Safari. */

import { messageOf } from './protocol.js';

/** @import { Zegformer } from './protocol.js' */

/** The module's own limit; here it spares the memory before the module is asked. */
const MOST_PIXELS = 100_000_000;

/**
 * Gives the module a photo, which the browser decodes where the module cannot.
 *
 * @param {Zegformer} zegformer
 * @param {Uint8Array} bytes
 * @returns {Promise<{width: number, height: number}>} the size at which it is worked on
 */
export async function takePhoto(zegformer, bytes) {
    try {
        return zegformer.setPhoto(bytes);
    } catch (error) {
        if (!messageOf(error).startsWith('this is not an image that can be read here')) throw error;
        /** @type {ImageBitmap} */
        let bitmap;
        try {
            bitmap = await createImageBitmap(new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)]));
        } catch {
            throw error;
        }
        const { width, height } = bitmap;
        return zegformer.setPixels(width, height, pixelsOf(bitmap));
    }
}

/**
 * RGBA, upright; none of a picture that the module will refuse for its size.
 *
 * @param {ImageBitmap} bitmap is closed
 */
function pixelsOf(bitmap) {
    const { width, height } = bitmap;
    try {
        if (width * height > MOST_PIXELS) return new Uint8Array(0);
        const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
        if (!context) throw new Error('this browser cannot hand over the pixels of the photo; save it as JPEG or PNG');
        context.drawImage(bitmap, 0, 0);
        return new Uint8Array(context.getImageData(0, 0, width, height).data.buffer);
    } finally {
        bitmap.close();
    }
}
