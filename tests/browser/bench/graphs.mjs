/** The graphs of a bundle, fed as the pipeline feeds them on WebGPU: one photo, a batch of its crops, a batch of prompts. */

import { readFile } from 'node:fs/promises';
import { PHOTO } from '../harness.mjs';

/** @import { Input, Row } from './operators.mjs' */
/** @typedef {{x: number, y: number, width: number, height: number}} Box */

/** Prompts in one run of the text graph, tokens of each: what the pipeline rounds up to. */
const PROMPTS = 16;
const TOKENS = 16;
const MASKED = -1e4;
const NAMES = ['cat', 'sofa', 'couch', 'wall', 'wooden table', 'zebra', 'fire truck', 'old stone bridge', 'grass', 'river',
    'person', 'bicycle wheel', 'coffee cup', 'tree', 'sky', 'mountain'];

/**
 * A part of the photo at another size, as RGBA bytes.
 *
 * @param {import('playwright-core').Page} page
 * @param {Buffer} file
 * @param {Box | null} box null takes all
 * @param {number} width
 * @param {number} height
 */
async function pixels(page, file, box, width, height) {
    const text = await page.evaluate(async ({ photo, part, size }) => {
        const bytes = Uint8Array.from(atob(photo), (character) => character.charCodeAt(0));
        const image = await createImageBitmap(new Blob([bytes]));
        const { x, y, width: across, height: down } = part ?? { x: 0, y: 0, width: image.width, height: image.height };
        const canvas = new OffscreenCanvas(size[0], size[1]);
        const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
        context.drawImage(image, x, y, across, down, 0, 0, size[0], size[1]);
        const { data } = context.getImageData(0, 0, size[0], size[1]);
        let binary = '';
        for (let at = 0; at < data.length; at += 32768) binary += String.fromCharCode(...data.subarray(at, at + 32768));
        return btoa(binary);
    }, { photo: file.toString('base64'), part: box, size: [width, height] });
    return Buffer.from(text, 'base64');
}

/**
 * Planes of normalised colour in `target`, whose rows are `across` wide.
 *
 * @param {Float32Array} target
 * @param {Buffer} rgba
 * @param {{width: number, height: number, across: number, down: number, mean: number[], std: number[]}} size
 */
function normalise(target, rgba, { width, height, across, down, mean, std }) {
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            for (let channel = 0; channel < 3; channel++) {
                target[(channel * down + y) * across + x] = (rgba[(y * width + x) * 4 + channel] - mean[channel]) / std[channel];
            }
        }
    }
}

/** The sine encoding of positions. @param {{channels: number, temperature: number}} position @param {number} down @param {number} across @returns {Input} */
function positions({ channels, temperature }, down, across) {
    const half = channels / 2;
    const data = new Float32Array(channels * down * across);
    for (let channel = 0; channel < channels; channel++) {
        const within = channel % half;
        const divisor = temperature ** ((within >> 1) * 2 / half);
        for (let y = 0; y < down; y++) {
            for (let x = 0; x < across; x++) {
                const place = 2 * Math.PI * (channel < half ? (y + 1) / down : (x + 1) / across) / divisor;
                data[(channel * down + y) * across + x] = within % 2 ? Math.cos(place) : Math.sin(place);
            }
        }
    }
    return { name: 'position', shape: [1, channels, down, across], data };
}

/** @param {import('playwright-core').Page} page @param {Buffer} photo @param {any} bundle @returns {Promise<Input[]>} */
async function segmenterInputs(page, photo, bundle) {
    const { stride, mean, std, resolutions, default: resolution } = bundle.pixels;
    const { width: photoWidth, height: photoHeight } = await page.evaluate(async (text) => {
        const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
        const { width, height } = await createImageBitmap(new Blob([bytes]));
        return { width, height };
    }, photo.toString('base64'));
    const { short, long } = resolutions[resolution];
    const scale = Math.min(short / Math.min(photoWidth, photoHeight), long / Math.max(photoWidth, photoHeight));
    const [width, height] = [Math.round(photoWidth * scale), Math.round(photoHeight * scale)];
    const [across, down] = [width, height].map((side) => Math.ceil(side / stride) * stride);
    const data = new Float32Array(3 * across * down);
    normalise(data, await pixels(page, photo, null, width, height), { width, height, across, down, mean, std });
    const inputs = [{ name: 'pixels', shape: [1, 3, down, across], data }];
    const { position } = bundle.segmenter;
    return position ? [...inputs, positions(position, down / position.stride, across / position.stride)] : inputs;
}

/** @param {import('playwright-core').Page} page @param {Buffer} photo @param {any} bundle @returns {Promise<Input[]>} */
async function imageInputs(page, photo, bundle) {
    const { batch, crop: side, mean, std } = bundle.image;
    const data = new Float32Array(batch * 3 * side * side);
    for (let at = 0; at < batch; at++) {
        const box = { x: 20 * at, y: 10 * at, width: 300 - 30 * at, height: 280 - 20 * at };
        const plane = data.subarray(at * 3 * side * side, (at + 1) * 3 * side * side);
        normalise(plane, await pixels(page, photo, box, side, side), { width: side, height: side, across: side, down: side, mean, std });
    }
    return [{ name: 'crops', shape: [batch, 3, side, side], data }];
}

/** One half-precision number. @param {number} bits */
function half(bits) {
    const exponent = bits >> 10 & 31;
    const fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    return bits & 0x8000 ? -size : size;
}

/** @param {string} folder @param {any} bundle @returns {Promise<Input[]>} */
async function textInputs(folder, bundle) {
    const { text, templates } = bundle;
    if (text.table.encoding !== 'int8' || text.position.encoding !== 'f16' || text.pooling !== 'mean') {
        throw new Error('the benchmark reads the tables of the default model only');
    }
    const { vocab } = JSON.parse(await readFile(`${folder}/${text.tokenizer}`, 'utf8')).model;
    const table = await readFile(`${folder}/${text.table.file}`);
    const places = await readFile(`${folder}/${text.position.file}`);
    const tokens = new Float32Array(PROMPTS * TOKENS * text.width);
    const bias = new Float32Array(PROMPTS * TOKENS * TOKENS);
    const pooling = new Float32Array(PROMPTS * TOKENS);
    for (const [prompt, name] of NAMES.entries()) {
        // All these words are whole tokens.
        const words = templates.query[0].replace('{}', name).match(/\w+|\S/g) ?? [];
        const ids = ['[CLS]', ...words, '[SEP]'].map((word) => vocab[word]);
        if (ids.includes(undefined)) throw new Error(`no tokens for ${name}`);
        for (let step = 0; step < TOKENS; step++) {
            const id = ids[step] ?? vocab['[PAD]'];
            const scale = table.readFloatLE(text.table.rows * text.width + 4 * id);
            for (let at = 0; at < text.width; at++) {
                const place = half(places.readUInt16LE(2 * (step * text.width + at)));
                tokens[(prompt * TOKENS + step) * text.width + at] = table.readInt8(id * text.width + at) * scale + place;
            }
            bias.fill(MASKED, (prompt * TOKENS + step) * TOKENS + ids.length, (prompt * TOKENS + step + 1) * TOKENS);
            if (step < ids.length) pooling[prompt * TOKENS + step] = 1 / ids.length;
        }
    }
    return [
        { name: 'tokens', shape: [PROMPTS, TOKENS, text.width], data: tokens },
        { name: 'attention_bias', shape: [PROMPTS, 1, TOKENS, TOKENS], data: bias },
        { name: 'pooling', shape: [PROMPTS, TOKENS], data: pooling },
    ];
}

/**
 * @param {import('playwright-core').Page} page decodes the photo
 * @param {string} folder the bundle's
 * @returns {Promise<Row[]>}
 */
export async function graphRows(page, folder) {
    const bundle = JSON.parse(await readFile(`${folder}/bundle.json`, 'utf8'));
    const photo = await readFile(PHOTO);
    /** @type {[string, Input[]][]} */
    const graphs = [
        ['segmenter', await segmenterInputs(page, photo, bundle)],
        ['image', await imageInputs(page, photo, bundle)],
        ['text', await textInputs(folder, bundle)],
    ];
    return Promise.all(graphs.map(async ([branch, inputs]) => ({
        row: `graph ${branch} ${inputs[0].shape.join('x')}`,
        model: await readFile(`${folder}/${bundle[branch].graph}`),
        inputs,
    })));
}
