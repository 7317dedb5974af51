/** The field of names: typing, pasting, editing, and the address that keeps them. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { AVIF, PHOTO, SUITE_MS, launch } from './harness.mjs';

const browser = launch();

/** @param {import('playwright-core').Page} page */
const chips = (page) => page.locator('.chip-name').allInnerTexts();

/**
 * Pastes text, a picture or both, as a user does, into the element that has the focus.
 *
 * @param {import('playwright-core').Page} page
 * @param {{text?: string, pictures?: number}} clipboard
 */
async function paste(page, { text = '', pictures = 0 }) {
    await page.evaluate(([words, base64, count]) => {
        const data = Uint8Array.from(atob(/** @type {string} */ (base64)), (character) => character.charCodeAt(0));
        const clipboard = new DataTransfer();
        if (words) clipboard.setData('text/plain', /** @type {string} */ (words));
        for (let at = 0; at < Number(count); at++) clipboard.items.add(new File([data], `image${at}.png`, { type: 'image/png' }));
        const event = new ClipboardEvent('paste', { clipboardData: clipboard, bubbles: true, cancelable: true });
        const unhandled = (document.activeElement ?? document.body).dispatchEvent(event);
        // What the browser does itself with text in a field.
        if (unhandled && words) document.execCommand('insertText', false, /** @type {string} */ (words));
    }, [text, (await readFile(PHOTO)).toString('base64'), pictures]);
}

describe('the field of names', { timeout: SUITE_MS }, () => {
    test('a pasted picture is the photo, a pasted list are names', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu');
        await zeg.state('ready');
        await page.focus('#classes');
        await paste(page, { text: 'cat\nsofa | couch; wall' });
        assert.deepEqual(await chips(page), ['cat', 'sofa | couch', 'wall']);
        await paste(page, { pictures: 1 });
        await zeg.state('done');
        assert.equal((await zeg.lastMap()).width, 451);
        await zeg.close();
    });

    test('cells of a spreadsheet are names, though they come with a picture', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu');
        await zeg.state('ready');
        await page.focus('#classes');
        await paste(page, { text: 'cat\r\ndog\r\n', pictures: 1 });
        assert.deepEqual(await chips(page), ['cat', 'dog']);
        await paste(page, { text: 'wall', pictures: 1 });
        assert.equal(await page.inputValue('#classes'), 'wall');
        // A photo is begun with at once.
        assert.equal(await page.locator('#status').getAttribute('data-state'), 'ready', 'the picture of the cells became the photo');
        await page.setInputFiles('#file', AVIF);
        await zeg.state('done');
        assert.deepEqual(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.map((/** @type {any} */ { width }) => width)), [226]);
        await zeg.close();
    });

    test('several pictures are pasted under their own names', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
        await zeg.state('ready');
        await paste(page, { pictures: 3 });
        await zeg.state('done');
        assert.equal(await page.textContent('#position'), '1 of 3 image0.png');
        await zeg.close();
    });

    test('Backspace takes the last name, but not while it is held', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,dog,wall');
        await zeg.state('ready');
        await page.fill('#classes', 'sof');
        await page.focus('#classes');
        // A key that goes down again without having come up repeats.
        for (let times = 0; times < 8; times++) await page.keyboard.down('Backspace');
        await page.keyboard.up('Backspace');
        assert.equal(await page.inputValue('#classes'), '');
        assert.deepEqual(await chips(page), ['cat', 'dog', 'wall']);
        await page.keyboard.press('Backspace');
        assert.deepEqual(await chips(page), ['cat', 'dog']);
        await zeg.close();
    });

    test('a name is edited, split, and left as it was', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,dog');
        await zeg.state('ready');
        await page.click('.chip-name >> text=cat');
        await page.keyboard.type('lion, tiger');
        await page.keyboard.press('Enter');
        assert.deepEqual(await chips(page), ['lion', 'tiger', 'dog']);
        assert.equal(await page.evaluate(() => document.activeElement?.id), 'classes');
        await page.click('.chip-name >> text=dog');
        await page.keyboard.type('wolf');
        await page.keyboard.press('Escape');
        assert.deepEqual(await chips(page), ['lion', 'tiger', 'dog']);
        await page.click('.chip-name >> text=tiger');
        await page.keyboard.press('Delete');
        await page.click('h1');
        assert.deepEqual(await chips(page), ['lion', 'dog']);
        await zeg.close();
    });

    test('the keyboard goes on in the field after a name is removed; a tap opens no keyboard', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,dog,wall');
        await zeg.state('ready');
        const focused = () => page.evaluate(() => document.activeElement?.id);
        await page.click('[aria-label="Remove dog"]');
        assert.notEqual(await focused(), 'classes');
        await page.locator('[aria-label="Remove cat"]').press('Enter');
        assert.equal(await focused(), 'classes');
        assert.deepEqual(await chips(page), ['wall']);
        await zeg.close();
    });
});

describe('the address', { timeout: SUITE_MS }, () => {
    test('keeps names, engine and mode, and a reload keeps them too', async () => {
        const { page, ...zeg } = await browser.open('');
        await zeg.state('ready');
        const search = () => page.evaluate(() => location.search);
        assert.equal(await search(), '');
        const steps = await page.evaluate(() => history.length);
        await page.fill('#classes', 'sofa | couch, Käthe & <b>,');
        assert.equal(await search(), '?classes=sofa+%7C+couch,K%C3%A4the+%26+%3Cb%3E');
        await page.click('#settings-box summary');
        await page.selectOption('select[name=engine]', 'cpu');
        await zeg.state('ready');
        await page.selectOption('select[name=mode]', 'fast');
        await page.click('[aria-label="Remove sofa | couch"]');
        assert.equal(await search(), '?classes=K%C3%A4the+%26+%3Cb%3E&engine=cpu&mode=fast');
        assert.equal(await page.evaluate(() => history.length), steps, 'each change is a step back');

        await page.reload();
        await zeg.state('ready');
        assert.deepEqual(await chips(page), ['Käthe & <b>']);
        assert.equal(await page.inputValue('select[name=engine]'), 'cpu');
        assert.equal(await page.inputValue('select[name=mode]'), 'fast');
        assert.equal(await search(), '?classes=K%C3%A4the+%26+%3Cb%3E&engine=cpu&mode=fast');
        await page.click('#settings-box summary');
        await page.click('#settings [type=reset]');
        await page.click('.chip-remove');
        assert.equal(await search(), '?engine=cpu');
        await zeg.close();
    });

    test('is copied as a link', async () => {
        const context = await browser.browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat', { context });
        await zeg.state('ready');
        await page.fill('#classes', 'dog,');
        // It says so for a while only.
        await Promise.all([page.waitForSelector('#copy-link >> text=Copied'), page.click('#copy-link')]);
        assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `${browser.server.url}?classes=cat,dog&engine=cpu`);
        await page.fill('#classes', Array.from({ length: 900 }, (_, at) => `name ${at}`).join());
        assert.equal(await page.evaluate(() => location.search), '?engine=cpu');
        await page.click('#copy-link');
        assert.match(await page.innerText('#notice'), /too many names/);
        await zeg.close();
        await context.close();
    });
});
