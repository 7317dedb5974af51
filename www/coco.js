/** One COCO document of the documents of many photos. */

/**
 * @typedef {{id: number, file_name: string, width: number, height: number}} Image
 * @typedef {{id: number, image_id: number, category_id: number}} Annotation as far as it has to be known here
 * @typedef {{info: object, images: Image[], annotations: Annotation[], categories: {id: number, name: string}[]}} Document
 */

export class CocoFile {
    /** @type {Pick<Document, 'info' | 'categories'> | null} */
    #common = null;
    /** As text, since all of it as one string may be longer than a string can be. @type {string[]} */
    #images = [];
    /** @type {string[]} */
    #annotations = [];
    #characters = 0;

    /**
     * Adds the document of one photo. Images and annotations are counted on; the classes have to be those of the photos before.
     *
     * @param {Document} document
     * @param {string} labels the file with the photo's label map, which readers of COCO pass over
     */
    add({ info, images, annotations, categories }, labels) {
        const [image] = images;
        const ids = new Set(categories.map(({ id }) => id));
        const fits = images.length === 1 && annotations.every((found) => found.image_id === image.id && ids.has(found.category_id));
        if (!fits) throw new Error('the annotations do not fit the photo');
        this.#common ??= { info, categories };
        if (JSON.stringify(categories) !== JSON.stringify(this.#common.categories)) throw new Error('the names changed meanwhile');
        const id = this.#images.length + 1;
        this.#images.push(this.#counted({ ...image, id, labels }));
        for (const found of annotations) {
            this.#annotations.push(this.#counted({ ...found, id: this.#annotations.length + 1, image_id: id }));
        }
    }

    /** About as many bytes as it has. */
    get size() {
        return this.#characters;
    }

    /** @param {object} item */
    #counted(item) {
        const text = JSON.stringify(item);
        this.#characters += text.length + 2;
        return text;
    }

    /** The document's bytes in pieces. */
    pieces() {
        const { info, categories } = this.#common ?? { info: {}, categories: [] };
        const list = (/** @type {string[]} */ items) => items.map((item, at) => `${at > 0 ? ',\n' : ''}${item}`);
        const texts = [
            `{"info":${JSON.stringify(info)},\n"images":[\n`, ...list(this.#images),
            '],\n"annotations":[\n', ...list(this.#annotations),
            `],\n"categories":${JSON.stringify(categories)}}\n`,
        ];
        const encoder = new TextEncoder();
        return texts.map((text) => encoder.encode(text));
    }
}
