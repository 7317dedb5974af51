/** ZIP files whose entries are stored as they are: pictures are packed already. */

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
/** Version 2.0 of the format, and names in UTF-8. */
const VERSION = 20;
const UTF8 = 0x0800;
/** What the format's numbers of 16 and 32 bits hold. The largest of 32 bits stands for "elsewhere". */
const LIMITS = { entries: 0xffff, bytes: 0xfffffffe };

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
});

/**
 * The checksum of the pieces, one after another.
 *
 * @param {Uint8Array[]} pieces
 */
export function crc32(pieces) {
    let value = 0xffffffff;
    for (const piece of pieces) {
        for (let at = 0; at < piece.length; at++) value = TABLE[(value ^ piece[at]) & 0xff] ^ (value >>> 8);
    }
    return (value ^ 0xffffffff) >>> 0;
}

export class Zip {
    /** What is in a Blob need not stay in memory. @type {Blob[]} */
    #parts = [];
    /** @type {Uint8Array<ArrayBuffer>[]} */
    #directory = [];
    #bytes = 0;
    #directoryBytes = 0;
    #time;
    #limits;

    /**
     * @param {Date} [date] of all entries
     * @param {typeof LIMITS} [limits]
     */
    constructor(date = new Date(), limits = LIMITS) {
        const day = (Math.max(0, date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
        this.#time = ((day << 16) | (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1)) >>> 0;
        this.#limits = limits;
    }

    /**
     * Why there is no room for more entries with so many bytes, names included; or nothing.
     *
     * @param {number} bytes
     * @param {number} [entries]
     */
    full(bytes, entries = 1) {
        const { entries: mostEntries, bytes: mostBytes } = this.#limits;
        if (this.count + entries > mostEntries) return `a ZIP file holds no more than ${mostEntries.toLocaleString('en')} files`;
        // Each has a head of its own, a place in the directory, and its name in both; and the file has an end.
        const whole = this.#bytes + this.#directoryBytes + bytes + entries * (30 + 46) + 22;
        return whole > mostBytes ? 'a ZIP file holds no more than 4 GiB' : '';
    }

    /**
     * @param {string} name with `/` between folders
     * @param {Uint8Array<ArrayBuffer>[]} pieces of its content
     */
    add(name, pieces) {
        const path = new TextEncoder().encode(name);
        const size = pieces.reduce((sum, { length }) => sum + length, 0);
        const full = this.full(size + 2 * path.length);
        if (full) throw new Error(full);
        const facts = numbers([VERSION, 2], [UTF8, 2], [0, 2], [this.#time, 4], [crc32(pieces), 4], [size, 4], [size, 4], [path.length, 2], [0, 2]);
        const entry = joined(numbers([CENTRAL, 4], [VERSION, 2]), facts, numbers([0, 2], [0, 2], [0, 2], [0, 4], [this.#bytes, 4]), path);
        const head = joined(numbers([LOCAL, 4]), facts, path);
        this.#parts.push(new Blob([head, ...pieces]));
        this.#bytes += head.length + size;
        this.#directory.push(entry);
        this.#directoryBytes += entry.length;
    }

    get count() {
        return this.#directory.length;
    }

    /** The file with all that was added. */
    finish() {
        const end = numbers([END, 4], [0, 2], [0, 2], [this.count, 2], [this.count, 2], [this.#directoryBytes, 4], [this.#bytes, 4], [0, 2]);
        return new Blob([...this.#parts, ...this.#directory, end], { type: 'application/zip' });
    }
}

/**
 * Numbers as the format has them, the lowest byte first.
 *
 * @param {[value: number, bytes: number][]} fields
 */
function numbers(...fields) {
    return Uint8Array.from(fields.flatMap(([value, bytes]) => Array.from({ length: bytes }, (_, at) => (value >>> (8 * at)) & 0xff)));
}

/** @param {Uint8Array[]} pieces */
function joined(...pieces) {
    return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}
