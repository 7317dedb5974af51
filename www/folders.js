/** The files of folders that are dropped. */

/** More entries than this are looked at by nobody; it also ends the walk through a disk. */
const MOST_FILES = 5000;

/**
 * The folders and files of a drop where at least one is a folder, else `null`. To be asked during the event: afterwards nothing
 * is left of it.
 *
 * @param {DataTransfer | null} dropped
 * @returns {FileSystemEntry[] | null}
 */
export function droppedFolders(dropped) {
    const entries = [...dropped?.items ?? []].map((item) => item.webkitGetAsEntry?.() ?? null).filter((entry) => entry !== null);
    return entries.some((entry) => entry.isDirectory) ? entries : null;
}

/**
 * All files in these, folders of folders too, in the order of their names, which tell their folders: below the one that was
 * dropped, or which of several. Not the ones that systems hide; what cannot be read is left out.
 *
 * @param {FileSystemEntry[]} entries
 * @returns {Promise<{name: string, type: string, blob: Blob}[]>}
 */
export async function filesIn(entries) {
    /** @type {{name: string, type: string, blob: Blob}[]} */
    const files = [];
    /** @param {FileSystemEntry[]} found @param {string} folder */
    const walk = async (found, folder) => {
        const order = new Intl.Collator(undefined, { numeric: true });
        for (const entry of found.toSorted((one, other) => order.compare(one.name, other.name))) {
            if (files.length >= MOST_FILES) return;
            if (entry.name.startsWith('.')) continue;
            if (entry.isDirectory) await walk(await entriesOf(/** @type {FileSystemDirectoryEntry} */ (entry)), `${folder}${entry.name}/`);
            else {
                const file = await new Promise((resolve) => {
                    /** @type {FileSystemFileEntry} */ (entry).file(resolve, () => resolve(null));
                });
                if (file) files.push({ name: folder + file.name, type: file.type, blob: file });
            }
        }
    };
    const [only] = entries;
    if (entries.length === 1) await walk(await entriesOf(/** @type {FileSystemDirectoryEntry} */ (only)), '');
    else await walk(entries, '');
    return files;
}

/** @param {FileSystemDirectoryEntry} folder */
async function entriesOf(folder) {
    const reader = folder.createReader();
    /** @type {FileSystemEntry[]} */
    const all = [];
    for (;;) {
        // Browsers give a hundred at a time, and none once all were given.
        const some = await new Promise((resolve) => {
            reader.readEntries(resolve, () => resolve([]));
        });
        if (some.length === 0 || all.length >= MOST_FILES) return all;
        all.push(...some);
    }
}
