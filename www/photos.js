/** Photos that come in: chosen, dropped or pasted. */

import { droppedFolders, filesIn } from './folders.js';
import { megabytes } from './status.js';

/**
 * @typedef {{blob: Blob, name: string}} NamedPhoto
 * @typedef {{
 *   take(photos: NamedPhoto[], said: string): void,
 *   notice(text: string): void,
 *   refuse(text: string): void,
 *   begin(): () => boolean,
 * }} Receiver takes at least one photo, and what there is to say of other files; `begin`: photos are on their way; tells later
 *   whether no others were chosen since
 */

export const MOST_BYTES = 300e6;

/** Some systems know no type for these. */
const ENDINGS = /\.(avif|bmp|gif|hei[cf]|jpe?g|png|webp)$/i;
/** So many names in one sentence. */
const MOST_NAMES = 3;

/** @param {{name: string, type: string}} file */
const isPicture = ({ name, type }) => type.startsWith('image/') || (type === '' && ENDINGS.test(name));

/**
 * The photos among files, and what there is to say of the others.
 *
 * @template {{name: string, type: string}} T
 * @param {T[]} files
 * @returns {{photos: T[], said: string}}
 */
export function sortOut(files) {
    // What is in a file is seen when it is read, whatever its type says.
    if (files.length < 2) return { photos: files, said: '' };
    const photos = files.filter(isPicture);
    const others = files.filter((file) => !isPicture(file)).map(({ name }) => name);
    if (others.length === 0) return { photos, said: '' };
    if (photos.length === 0) return { photos, said: `None of these ${files.length} files is a picture.` };
    const more = others.length > MOST_NAMES ? ` and ${others.length - MOST_NAMES} more` : '';
    const names = others.slice(0, MOST_NAMES).join(', ') + more;
    return { photos, said: `Left out, as ${others.length === 1 ? 'it is no picture' : 'they are no pictures'}: ${names}.` };
}

/**
 * @param {Blob} blob
 * @returns {Promise<Uint8Array>}
 */
export async function readPhoto(blob) {
    if (blob.size > MOST_BYTES) throw new Error(`the file has ${megabytes(blob.size)}, more than this page reads; make it smaller`);
    return new Uint8Array(await blob.arrayBuffer().catch(() => {
        throw new Error('the file could not be read; was it moved or deleted?');
    }));
}

/** @param {EventTarget | null} target */
const isTextField = (target) => target instanceof HTMLInputElement && target.type === 'text';
/** Text that is dragged into the field of names is none of the photo's business. @param {DragEvent} event */
const carriesFiles = (event) => Boolean(event.dataTransfer?.types.includes('Files'));
/** A dropped link would take the page away. @param {DragEvent} event */
const carriesLink = (event) => Boolean(event.dataTransfer?.types.includes('text/uri-list'));

/**
 * @param {HTMLInputElement} chooser
 * @param {HTMLElement} stage shows that a file is held over the page
 * @param {Receiver} receiver
 */
export function receivePhotos(chooser, stage, receiver) {
    /** @param {{name: string, type: string, blob: Blob}[]} files @param {string} [missing] what there is to say of others */
    const takeNamed = (files, missing = '') => {
        const sorted = sortOut(files);
        const said = [sorted.said, missing].filter(Boolean).join(' ');
        if (sorted.photos.length > 0) receiver.take(sorted.photos.map(({ blob, name }) => ({ blob, name })), said);
        else if (said) receiver.refuse(said);
    };
    /** @param {File[]} files @param {string} [name] in place of the file's own */
    const take = (files, name) => takeNamed(files.map((file) => ({ name: name ?? file.name, type: file.type, blob: file })));
    /** @param {FileSystemEntry[]} folders */
    const takeFolders = async (folders) => {
        const isLatest = receiver.begin();
        const { files, said } = await filesIn(folders);
        if (!isLatest()) receiver.notice('The folder was left out, as another photo was chosen meanwhile: drop it again.');
        else if (files.length > 0) takeNamed(files, said);
        else receiver.refuse(said || 'There are no files in this folder.');
    };

    chooser.addEventListener('change', () => {
        take([...chooser.files ?? []]);
        // The same file can be chosen again.
        chooser.value = '';
    });

    /** What the pointer is over: an element is entered before the one around it, or beside it, is left. @type {EventTarget | null} */
    let over = null;
    document.addEventListener('dragenter', (event) => {
        if (!carriesFiles(event)) return;
        event.preventDefault();
        over = event.target;
        stage.classList.add('is-over');
    });
    document.addEventListener('dragleave', (event) => {
        if (!carriesFiles(event) || event.target !== over) return;
        over = null;
        stage.classList.remove('is-over');
    });
    document.addEventListener('dragover', (event) => {
        if (carriesFiles(event) || carriesLink(event)) event.preventDefault();
    });
    document.addEventListener('drop', (event) => {
        if (!carriesFiles(event) && !carriesLink(event)) return;
        event.preventDefault();
        over = null;
        stage.classList.remove('is-over');
        const files = [...event.dataTransfer?.files ?? []];
        const folders = droppedFolders(event.dataTransfer);
        if (folders) takeFolders(folders).catch(() => receiver.refuse('The folder could not be read.'));
        else if (files.length > 0) take(files);
        else receiver.refuse('That was not a file. Save the photo first, or copy and paste it.');
    });

    document.addEventListener('paste', (event) => {
        const clipboard = event.clipboardData;
        // A spreadsheet's cells come as text and as a picture of them: into a field of names goes the text.
        if (event.defaultPrevented || (isTextField(event.target) && clipboard?.getData('text/plain'))) return;
        const pictures = [...clipboard?.files ?? []].filter(({ type }) => type.startsWith('image/'));
        if (pictures.length === 0) return;
        event.preventDefault();
        // One that was copied out of another picture has a name that says nothing.
        take(pictures, pictures.length === 1 ? 'pasted.png' : undefined);
    });
}
