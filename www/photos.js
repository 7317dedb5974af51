/** Photos that come in: chosen, dropped or pasted. */

/**
 * @typedef {{
 *   take(photo: Blob, name: string): void,
 *   notice(text: string): void,
 *   refuse(text: string): void,
 * }} Receiver
 */

/**
 * The one photo of several files, and what there is to say of the others.
 *
 * @template {{name: string, type: string}} T
 * @param {T[]} files
 * @returns {{chosen: T | undefined, said: string}}
 */
export function chooseOne(files) {
    const pictures = files.filter(({ type }) => type.startsWith('image/'));
    // What is in a file is seen when it is read, whatever its type says.
    const [chosen] = pictures.length > 0 ? pictures : files;
    const said = files.length > 1 ? `One photo at a time: of ${files.length} files this is ${chosen.name}.` : '';
    return { chosen, said };
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
    /** @param {File[]} files @param {string} [name] in place of the file's own */
    const takeOne = (files, name) => {
        const { chosen, said } = chooseOne(files);
        if (!chosen) return;
        if (said) receiver.notice(said);
        receiver.take(chosen, name ?? chosen.name);
    };

    chooser.addEventListener('change', () => {
        takeOne([...chooser.files ?? []]);
        // The same file can be chosen again.
        chooser.value = '';
    });

    let depth = 0;
    document.addEventListener('dragenter', (event) => {
        if (!carriesFiles(event)) return;
        event.preventDefault();
        depth += 1;
        stage.classList.add('is-over');
    });
    document.addEventListener('dragleave', (event) => {
        if (!carriesFiles(event)) return;
        depth = Math.max(0, depth - 1);
        if (depth === 0) stage.classList.remove('is-over');
    });
    document.addEventListener('dragover', (event) => {
        if (carriesFiles(event) || carriesLink(event)) event.preventDefault();
    });
    document.addEventListener('drop', (event) => {
        if (!carriesFiles(event) && !carriesLink(event)) return;
        event.preventDefault();
        depth = 0;
        stage.classList.remove('is-over');
        const files = [...event.dataTransfer?.files ?? []];
        if (files.length > 0) takeOne(files);
        else receiver.refuse('That was not a file. Save the photo first, or copy and paste it.');
    });

    document.addEventListener('paste', (event) => {
        const clipboard = event.clipboardData;
        // A spreadsheet's cells come as text and as a picture of them: into a field of names goes the text.
        if (event.defaultPrevented || (isTextField(event.target) && clipboard?.getData('text/plain'))) return;
        const pictures = [...clipboard?.files ?? []].filter(({ type }) => type.startsWith('image/'));
        if (pictures.length === 0) return;
        event.preventDefault();
        takeOne(pictures, 'pasted.png');
    });
}
