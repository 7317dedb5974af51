/** As much of ONNX's protobuf as the node tests need: read tensors and names, turn an input into a constant. */

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

/** @param {number} number @param {Uint8Array} content */
function message(number, content) {
    const length = [];
    for (let rest = content.length; ; rest >>>= 7) {
        length.push(rest < 128 ? rest : rest & 127 | 128);
        if (rest < 128) break;
    }
    return Buffer.concat([Buffer.from([number << 3 | 2, ...length]), content]);
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
    const initializer = message(5, Buffer.concat([content, message(8, new TextEncoder().encode(name))]));
    return Buffer.concat([...fields(model)].map((field) => (field.number === 7 && field.value instanceof Uint8Array
        ? message(7, Buffer.concat([field.value, initializer])) : field.bytes)));
}
