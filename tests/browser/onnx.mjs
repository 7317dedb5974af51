/**
 * As much of ONNX's protobuf as the tests and the benchmark need: read tensors and names, turn an input into a constant,
 * write small models.
 */

/** @typedef {{number: number, value: number | Uint8Array, bytes: Uint8Array}} Field `bytes` is the whole field */
/** @typedef {{type: number, shape: number[], values: number[]}} TensorValues */

const FLOAT = 1;
const INT32 = 6;
export const INT64 = 7;
const BOOL = 9;

/** @param {Uint8Array} bytes @returns {Generator<Field>} */
function* fields(bytes) {
    let at = 0;
    const varint = () => {
        let result = 0n;
        for (let shift = 0n; ; shift += 7n) {
            const byte = bytes[at++];
            result |= BigInt(byte & 127) << shift;
            if (byte < 128) return Number(BigInt.asIntN(64, result));
        }
    };
    while (at < bytes.length) {
        const start = at;
        const key = varint();
        const wire = key & 7;
        /** @type {number | Uint8Array} */
        let value = 0;
        if (wire === 0) {
            value = varint();
        } else {
            const length = wire === 2 ? varint() : wire === 1 ? 8 : 4;
            value = bytes.subarray(at, at + length);
            at += length;
        }
        yield { number: key >> 3, value, bytes: bytes.subarray(start, at) };
    }
}

/** The values of all fields of a number. @param {Uint8Array} bytes @param {number} number */
const all = (bytes, number) => [...fields(bytes)].filter((field) => field.number === number).map(({ value }) => value);

/** @param {Uint8Array} bytes @param {number} number */
const messages = (bytes, number) => all(bytes, number).filter((value) => value instanceof Uint8Array);

/** Numbers, one by one or packed. @param {Uint8Array} bytes @param {number} number */
function numbers(bytes, number) {
    return all(bytes, number).flatMap((value) => {
        if (typeof value === 'number') return [value];
        // Packed varints look like the fields 0, 1, … of nothing: put a key before each.
        const list = [];
        for (let at = 0, start = 0; at < value.length; at++) {
            if (value[at] < 128) {
                const [field] = fields(new Uint8Array([8, ...value.subarray(start, at + 1)]));
                list.push(Number(field.value));
                start = at + 1;
            }
        }
        return list;
    });
}

/** @param {Uint8Array} bytes */
const text = (bytes) => new TextDecoder().decode(bytes);

/** The names of a model's inputs and outputs. @param {Uint8Array} model */
export function ends(model) {
    const [graph] = messages(model, 7);
    /** @param {number} number */
    const names = (number) => messages(graph, number).map((info) => text(messages(info, 1)[0]));
    return { inputs: names(11), outputs: names(12), operators: messages(graph, 1).map((node) => text(messages(node, 4)[0])) };
}

/** @param {Uint8Array} bytes a TensorProto of f32, integers or truth values @returns {TensorValues} */
export function tensor(bytes) {
    const [type] = numbers(bytes, 2);
    const shape = numbers(bytes, 1);
    const raw = (messages(bytes, 9)[0] ?? new Uint8Array()).slice();
    const view = type === FLOAT ? new Float32Array(raw.buffer)
        : type === INT64 ? [...new BigInt64Array(raw.buffer)].map(Number)
            : type === INT32 ? new Int32Array(raw.buffer)
                : type === BOOL ? raw : null;
    if (!view || view.length !== shape.reduce((product, side) => product * side, 1)) throw new Error(`a tensor of type ${type}`);
    return { type, shape, values: [...view] };
}

/** A whole number; a negative one takes ten bytes. @param {number} value */
function varint(value) {
    const bytes = [];
    for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
        const low = Number(rest & 127n);
        bytes.push(rest < 128n ? low : low | 128);
        if (rest < 128n) break;
    }
    return Buffer.from(bytes);
}

/** @param {number} number @param {number} value */
const whole = (number, value) => Buffer.concat([varint(number << 3), varint(value)]);

/** @param {number} number @param {Uint8Array | string} content */
function message(number, content) {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    return Buffer.concat([varint(number << 3 | 2), varint(bytes.length), bytes]);
}

/**
 * The model with an initializer for its input `name`.
 *
 * @param {Uint8Array} model
 * @param {string} name
 * @param {Uint8Array} content a TensorProto
 */
export function withConstant(model, name, content) {
    // A later name replaces the tensor's own.
    const initializer = message(5, Buffer.concat([content, message(8, name)]));
    return Buffer.concat([...fields(model)].map((field) => (field.number === 7 && field.value instanceof Uint8Array
        ? message(7, Buffer.concat([field.value, initializer])) : field.bytes)));
}

/**
 * Attributes are a whole number, a list of whole numbers, or `{float}`; a side is a number, or a name where any will do.
 *
 * @typedef {number | number[] | {float: number}} Attribute
 * @typedef {{operator: string, inputs: string[], output: string, attributes?: Record<string, Attribute>}} ModelNode
 * @typedef {{name: string, shape: (number | string)[]}} End
 * @typedef {{name: string, shape: number[], data: Float32Array}} Weight
 */

/** @param {string} name @param {Attribute} value */
function attribute(name, value) {
    if (Array.isArray(value)) return Buffer.concat([message(1, name), ...value.map((each) => whole(8, each)), whole(20, 7)]);
    if (typeof value === 'number') return Buffer.concat([message(1, name), whole(3, value), whole(20, 2)]);
    const float = Buffer.alloc(4);
    float.writeFloatLE(value.float);
    return Buffer.concat([message(1, name), varint(2 << 3 | 5), float, whole(20, 1)]);
}

/**
 * An ONNX model of f32 tensors.
 *
 * @param {{nodes: ModelNode[], inputs: End[], outputs: End[], weights?: Weight[], opset?: number}} graph
 */
export function writeModel({ nodes, inputs, outputs, weights = [], opset = 17 }) {
    /** @param {End} end */
    const info = ({ name, shape }) => {
        const sides = shape.map((side) => message(1, typeof side === 'number' ? whole(1, side) : message(2, side)));
        return Buffer.concat([message(1, name), message(2, message(1, Buffer.concat([whole(1, FLOAT), message(2, Buffer.concat(sides))])))]);
    };
    const graph = [
        ...nodes.map((node) => message(1, Buffer.concat([
            ...node.inputs.map((input) => message(1, input)),
            message(2, node.output),
            message(3, node.output),
            message(4, node.operator),
            ...Object.entries(node.attributes ?? {}).map(([name, value]) => message(5, attribute(name, value))),
        ]))),
        message(2, 'graph'),
        ...weights.map(({ name, shape, data }) => message(5, Buffer.concat([
            ...shape.map((side) => whole(1, side)),
            whole(2, FLOAT),
            message(8, name),
            message(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
        ]))),
        ...inputs.map((end) => message(11, info(end))),
        ...outputs.map((end) => message(12, info(end))),
    ];
    return Buffer.concat([whole(1, 8), message(7, Buffer.concat(graph)), message(8, whole(2, opset))]);
}
