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
 * dropped, or which of several; not the ones that systems hide. And what there is to say of those that are missing.
 *
 * @param {FileSystemEntry[]} entries
 * @returns {Promise<{files: {name: string, type: string, blob: Blob}[], said: string}>}
 */
export async function filesIn(entries) {
    /** @type {{name: string, type: string, blob: Blob}[]} */
    const files = [];
    let unread = 0;
    let tooMany = false;
    const failed = () => {
        unread += 1;
    };
    /** @param {FileSystemEntry[]} found @param {string} folder */
    const walk = async (found, folder) => {
        const order = new Intl.Collator(undefined, { numeric: true });
        for (const entry of [...found].sort((one, other) => order.compare(one.name, other.name))) {
            if (entry.name.startsWith('.')) continue;
            tooMany ||= files.length >= MOST_FILES;
            if (tooMany) return;
            if (entry.isDirectory) await walk(await entriesOf(/** @type {FileSystemDirectoryEntry} */ (entry), failed), `${folder}${entry.name}/`);
            else {
                const file = await new Promise((resolve) => {
                    /** @type {FileSystemFileEntry} */ (entry).file(resolve, () => resolve(null));
                });
                if (!file) failed();
                else files.push({ name: folder + file.name, type: file.type, blob: file });
            }
        }
    };
    const [only] = entries;
    if (entries.length === 1) await walk(await entriesOf(/** @type {FileSystemDirectoryEntry} */ (only), failed), '');
    else await walk(entries, '');
    const said = [
        unread > 0 ? `${unread} of the files and folders could not be read.` : '',
        tooMany ? `Only the first ${MOST_FILES.toLocaleString('en')} files were looked at.` : '',
    ];
    return { files, said: said.filter(Boolean).join(' ') };
}

/** @param {FileSystemDirectoryEntry} folder @param {() => void} failed */
async function entriesOf(folder, failed) {
    const reader = folder.createReader();
    /** @type {FileSystemEntry[]} */
    const all = [];
    for (;;) {
        // Browsers give a hundred at a time, and none once all were given.
        const some = await new Promise((resolve) => {
            reader.readEntries(resolve, () => {
                failed();
                resolve([]);
            });
        });
        // One more than are taken, so that it is known that there are more.
        if (some.length === 0 || all.length > MOST_FILES) return all;
        all.push(...some);
    }
}
