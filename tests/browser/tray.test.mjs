/** Many photos: a tray to go through. */

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'node:test';
import { AVIF, PHOTO, SUITE_MS, dropFiles, launch } from './harness.mjs';
import { files, opened, position, savedOne, shown, sizeOf } from './photos.mjs';

/** @import { Page } from 'playwright-core' */

const browser = launch();

/** @param {Page} page */
const marked = (page) => page.locator('#photos [aria-current]').evaluateAll((all) => all.map((button) => button.getAttribute('aria-label')));
/** @param {Page} page */
const hasBlankPhoto = (page) => page.evaluate(() => {
    const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById('photo'));
    return /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height).data.every((value) => value === 0);
});

describe('the tray', { timeout: SUITE_MS }, () => {
    test('several files make a tray, whose first is shown', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'notes.txt', 'coffee.jpg', 'broken.jpg']);
        await shown(page, 'cat.png');
        assert.equal(await position(page), '1 of 3 cat.png');
        assert.deepEqual(await marked(page), ['cat.png']);
        assert.match(await page.innerText('#notice'), /^Left out, as it is no picture: notes\.txt\./);
        assert.ok(await page.locator('#examples').isHidden());
        assert.equal(await page.innerText('.tray-bar .pick'), 'Add photos');
        // What the browser cannot decode goes by its name.
        await page.waitForFunction(() => document.querySelectorAll('#photos canvas').length === 2);
        assert.deepEqual(await page.locator('#photos button').allInnerTexts(), ['', '', 'broken.jpg']);
        const colours = await page.locator('#photos canvas').evaluateAll((all) => all.map((canvas) => {
            const context = /** @type {CanvasRenderingContext2D} */ (/** @type {HTMLCanvasElement} */ (canvas).getContext('2d'));
            return new Set(context.getImageData(0, 0, 112, 112).data).size;
        }));
        assert.ok(colours.every((count) => count > 50), `pictures of ${colours} values`);
        await zeg.close();
    });

    test('one photo is shown without a tray, and the next takes its place', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'notes.txt']);
        await zeg.state('done');
        assert.ok(await page.locator('#tray').isHidden());
        await page.setInputFiles('#file', AVIF);
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.at(-1).width === 226);
        assert.ok(await page.locator('#tray').isHidden());
        assert.ok(await page.locator('#examples').isVisible());
        assert.equal(await page.innerText('.examples .pick'), 'Another photo');
        await zeg.close();
    });

    test('buttons, clicks and arrow keys show one after another, by the same names', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'kitten.avif', 'coffee.jpg']);
        await shown(page, 'cat.png');
        // There is none before the first, though the button keeps the focus.
        await page.press('#previous', 'Enter');
        assert.equal(await position(page), '1 of 3 cat.png');
        await page.click('#next');
        await shown(page, 'kitten.avif');
        assert.deepEqual(await marked(page), ['kitten.avif']);
        await page.click('#next');
        await shown(page, 'coffee.jpg');
        assert.equal(await page.locator('#next').getAttribute('aria-disabled'), 'true');
        await page.click('#previous');
        await shown(page, 'kitten.avif');
        await page.click('#photos [aria-label="cat.png"]');
        await shown(page, 'cat.png');
        assert.ok((await zeg.legend()).some(({ name, share }) => name === 'cat' && share > 0.3));

        await page.keyboard.press('ArrowRight');
        await shown(page, 'kitten.avif');
        assert.equal(await page.evaluate(() => document.activeElement?.ariaLabel), 'kitten.avif');
        await page.keyboard.press('End');
        await shown(page, 'coffee.jpg');
        await page.keyboard.press('ArrowRight');
        await page.keyboard.press('ArrowLeft');
        await shown(page, 'kitten.avif');
        // The row is one stop of the tab key.
        assert.equal(await page.locator('#photos button[tabindex="0"]').count(), 1);
        assert.deepEqual((await zeg.legend()).map(({ name }) => name).sort(), ['cat', 'wall']);
        await zeg.close();
    });

    test('whoever hurries gets the last one', async () => {
        const { page, ...zeg } = await opened(browser, ['coffee.jpg', 'kitten.avif', 'coffee.jpg', 'cat.png']);
        await page.evaluate(() => {
            for (let times = 0; times < 3; times++) document.getElementById('next')?.click();
        });
        await shown(page, 'cat.png');
        await page.waitForTimeout(500);
        assert.equal((await zeg.lastMap()).width, 451);
        assert.ok(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length) < 3, 'each was labelled');
        await zeg.close();
    });

    test('more photos are added and shown; Clear brings the examples back and leaves the photo', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'cat.png']);
        await shown(page, 'cat.png');
        await dropFiles(page, [files['kitten.avif']]);
        await shown(page, 'kitten.avif');
        assert.equal(await position(page), '3 of 3 kitten.avif');
        await page.setInputFiles('#file', [PHOTO, fileURLToPath(new URL('../../www/examples/coffee.jpg', import.meta.url))]);
        assert.equal(await page.locator('#photos button').count(), 5);
        assert.match(await position(page) ?? '', /^4 of 5 /);
        await page.click('#next');
        await shown(page, 'coffee.jpg');
        await page.click('#clear');
        assert.ok(await page.locator('#tray').isHidden());
        assert.ok(await page.locator('#examples').isVisible());
        assert.equal(await page.locator('#photos button').count(), 0);
        assert.equal(await page.innerText('.examples .pick'), 'Another photo');
        // The photo is still the one that is worked on.
        await page.fill('#classes', 'cup,');
        await page.waitForSelector('#legend li[data-class="cup"]');
        assert.deepEqual(sizeOf(await savedOne(page, 'labels.png')), [600, 400]);
        await zeg.close();
    });

    test('a photo is taken out of the row, and the next one is shown', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'broken.jpg', 'coffee.jpg', 'kitten.avif']);
        await shown(page, 'cat.png');
        await page.click('#next');
        await page.waitForSelector('#status[data-state=error]');
        await page.click('#remove');
        await shown(page, 'coffee.jpg');
        assert.equal(await position(page), '2 of 3 coffee.jpg');
        assert.equal(await page.evaluate(() => document.activeElement?.id), 'remove');
        await page.click('#next');
        await shown(page, 'kitten.avif');
        await page.locator('#photos [aria-current]').press('Delete');
        await shown(page, 'coffee.jpg');
        assert.deepEqual(await marked(page), ['coffee.jpg']);
        assert.equal(await page.evaluate(() => document.activeElement?.ariaLabel), 'coffee.jpg');
        assert.equal(await position(page), '2 of 2 coffee.jpg');
        await page.click('#previous');
        await shown(page, 'cat.png');
        await page.click('#remove');
        await shown(page, 'coffee.jpg');
        // Without the last one there is no row.
        await page.click('#remove');
        assert.ok(await page.locator('#tray').isHidden());
        assert.ok(await page.locator('#examples').isVisible());
        assert.equal(await page.evaluate(() => document.activeElement?.id), 'file');
        assert.deepEqual(sizeOf(await savedOne(page, 'labels.png')), [600, 400]);
        await zeg.close({ expected: /willReadFrequently/ });
    });

    test('of a photo that cannot be read no other one’s labels are shown', async () => {
        const { page, ...zeg } = await opened(browser, ['cat.png', 'broken.jpg', 'kitten.avif']);
        await shown(page, 'cat.png');
        assert.equal(await hasBlankPhoto(page), false);
        await page.click('#next');
        await page.waitForSelector('#status[data-state=error]');
        assert.match(await zeg.text(), /^This is not an image/);
        assert.ok(await hasBlankPhoto(page), 'the photo before is still there');
        assert.ok(await page.locator('#found').isHidden());
        assert.match(await page.locator('#photos [aria-current]').getAttribute('aria-label') ?? '', /^broken\.jpg: this is not an image/);
        // Nor by a name that is added.
        await page.fill('#classes', 'sofa,');
        await page.waitForFunction(() => document.getElementById('status')?.dataset.state === 'ready');
        assert.match(await zeg.text(), /^This is not an image/);
        assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).seen.results.length), 1);
        await page.click('#next');
        await shown(page, 'kitten.avif');
        assert.equal((await zeg.legend()).length, 3);
        await zeg.close({ expected: /willReadFrequently/ });
    });

    test('no more photos than the page holds, and it says so', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu');
        await zeg.state('ready');
        await page.evaluate(() => {
            const dropped = new DataTransfer();
            for (let at = 0; at < 507; at++) dropped.items.add(new File([`${at}`], `${at}.jpg`, { type: 'image/jpeg' }));
            document.getElementById('drop')?.dispatchEvent(new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true }));
        });
        assert.equal(await page.locator('#photos button').count(), 500);
        assert.equal(await position(page), '1 of 500 0.jpg');
        assert.match(await page.innerText('#notice'), /^No more than 500 photos at a time: 7 more were left out\./);
        await dropFiles(page, [files['cat.png']]);
        assert.match(await page.innerText('#notice'), /: 1 more were left out\./);
        assert.equal(await page.locator('#photos button').count(), 500);
        await zeg.close();
    });

    test('on a phone the row scrolls, the page does not, and only what is in view has a picture', async () => {
        const many = Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? 'kitten.avif' : 'cat.png'));
        const { page, ...zeg } = await opened(browser, many, { width: 390, height: 844 });
        await shown(page, 'kitten.avif');
        await dropFiles(page, [{ ...files['broken.jpg'], name: `${'a_long_name_without_any_space'.repeat(5)}.jpg` }]);
        await page.waitForSelector('#status[data-state=error]');
        const widths = () => page.evaluate(() => {
            const row = /** @type {HTMLElement} */ (document.getElementById('photos'));
            return { page: document.documentElement.scrollWidth, row: row.scrollWidth, frame: row.clientWidth, at: row.scrollLeft };
        });
        const found = await widths();
        assert.ok(found.page <= 390, `${found.page} px wide`);
        assert.ok(found.row > 2 * found.frame, 'the row does not scroll');
        assert.ok(found.at > found.row / 2, 'what is shown is not in view');
        const pictures = await page.locator('#photos canvas').count();
        assert.ok(pictures < 30, `${pictures} of 40 pictures`);
        await page.locator('#photos [aria-current]').press('Home');
        await shown(page, 'kitten.avif');
        assert.equal((await widths()).at, 0);
        await zeg.close();
    });
});
