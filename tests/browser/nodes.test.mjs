/** Some of the ONNX project's own node tests in the browser, on WebGPU: all operators that the models’ graphs use. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { SUITE_MS, openModule, start } from './harness.mjs';
import { INT64, ends, tensor, withConstant } from './onnx.mjs';

const NODES = fileURLToPath(new URL('../../target/onnx-nodes/', import.meta.url));

const CHOSEN = `
add add_bcast averagepool_2d_default averagepool_2d_pads averagepool_2d_strides basic_conv_with_padding
basic_conv_without_padding batchnorm_example clip clip_default_max clip_default_min concat_2d_axis_1 concat_3d_axis_2
conv_with_strides_and_asymmetric_padding conv_with_strides_padding div div_bcast erf expand_dim_changed gather_1
gelu_default_2 gemm_all_attributes gemm_default_vector_bias globalaveragepool greater instancenorm_example
layer_normalization_2d_axis1 layer_normalization_3d_axis_negative_1_epsilon layer_normalization_default_axis
leakyrelu matmul_2d matmul_3d matmul_4d matmul_bcast max_example maxpool_2d_default maxpool_2d_pads maxpool_2d_strides mul
mul_bcast constant_pad pow_bcast_scalar reduce_mean_do_not_keepdims_random reduce_mean_keepdims_random
reduce_l2_keep_dims_random reduce_sum_default_axes_keepdims_random reduce_sum_keepdims_random relu reshape_negative_dim
resize_downsample_scales_linear resize_upsample_scales_linear resize_upsample_scales_nearest
resize_upsample_sizes_nearest sigmoid slice softmax_axis_0 softmax_axis_1 softmax_default_axis softmax_large_number
split_equal_parts_2d sqrt sub sub_bcast tanh transpose_all_permutations_3 transpose_default where_example`.trim().split(/\s+/);

/** @type {Awaited<ReturnType<typeof start>>} */
let browser;
/** @type {import('playwright-core').Page} */
let page;

before(async () => {
    browser = await start({ webgpu: true });
    page = await openModule(browser);
});
after(() => browser.stop());

/** @param {string} name */
async function read(name) {
    /** @param {string} file */
    const bytes = async (file) => new Uint8Array(await readFile(`${NODES}test_${name}/${file}`));
    let model = await bytes('model.onnx');
    const { inputs: names, outputs, operators } = ends(model);
    const inputs = [];
    for (const [at, input] of names.entries()) {
        const content = await bytes(`test_data_set_0/input_${at}.pb`);
        const { type, shape, values } = tensor(content);
        // What steers an operator has to be a constant: integers, and all that Pad and Resize take but the image.
        if (type === INT64 || at > 0 && ['Pad', 'Resize'].includes(operators[0])) model = withConstant(model, input, content);
        else inputs.push({ name: input, shape, values });
    }
    const wanted = await Promise.all(outputs.map(async (_, at) => tensor(await bytes(`test_data_set_0/output_${at}.pb`))));
    return { model: [...model], inputs, wanted };
}

/**
 * Runs a model in the page.
 *
 * @param {{model: number[], inputs: {name: string, shape: number[], values: number[]}[]}} given
 * @param {boolean} [forCard] with the kernels for graphics cards
 * @returns {Promise<{shape: number[], values: number[]}[]>}
 */
function run(given, forCard = false) {
    return page.evaluate(async ({ model, inputs, forCard }) => {
        const { OnnxGraph } = /** @type {any} */ (globalThis).wasm;
        const graph = await (forCard ? OnnxGraph.loadForCard(new Uint8Array(model)) : OnnxGraph.load(new Uint8Array(model), 'webgpu'));
        const results = await graph.run(inputs.map(({ name, shape, values }) => ({ name, shape, data: new Float32Array(values) })));
        graph.free();
        return results.map((/** @type {any} */ { shape, data }) => ({ shape, values: [...data] }));
    }, { ...given, forCard });
}

describe('ONNX node tests on WebGPU', { timeout: SUITE_MS }, () => {
    for (const [name, forCard] of CHOSEN.flatMap((name) => /** @type {[string, boolean][]} */ ([[name, false], [name, true]]))) {
        test(forCard ? `${name}, as on a graphics card` : name, async () => {
            const { wanted, ...given } = await read(name);
            const found = await run(given, forCard);
            assert.deepEqual(found.map(({ shape }) => shape), wanted.map(({ shape }) => shape));
            for (const [at, { values }] of wanted.entries()) {
                for (const [place, value] of values.entries()) {
                    // What the ONNX project allows its backends.
                    const off = Math.abs(found[at].values[place] - value);
                    assert.ok(off <= 1e-7 + 1e-3 * Math.abs(value), `output ${at} has ${found[at].values[place]}, not ${value}`);
                }
            }
        });
    }

    test('an operator that is not known is refused when the graph is loaded', async () => {
        const { model } = await read('acos');
        const message = await page.evaluate(async (bytes) => {
            const { OnnxGraph } = /** @type {any} */ (globalThis).wasm;
            return OnnxGraph.load(new Uint8Array(bytes), 'webgpu').then(() => 'loaded', String);
        }, model);
        assert.match(message, /operator Acos \(node "y"\) is not supported/);
    });
});
