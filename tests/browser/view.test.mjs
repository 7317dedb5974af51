/** What is seen, pointed at and read out: the overlay, the read-out, the legend; by mouse, finger, keys and ear. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PHOTO, SUITE_MS, launch, nextFrame } from './harness.mjs';

/** @import { Page } from 'playwright-core' */

const browser = launch({ serving: { isolated: true } });

/** @param {string} classes @param {Parameters<typeof browser.open>[1]} [options] */
async function segmented(classes, options) {
    const opened = await browser.open(`?engine=cpu&classes=${encodeURIComponent(classes)}`, options);
    // Of a cup of coffee on a table.
    await opened.page.click('#examples button >> nth=2');
    await opened.state('done');
    return opened;
}

/** The classes whose colours are on the overlay, when it has been drawn. @param {Page} page */
async function painted(page) {
    await nextFrame(page);
    return page.evaluate(() => {
        const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById('overlay'));
        const { data } = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height);
        const seen = new Set();
        // Where it is opaque, on borders, a colour is what it was painted with.
        for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) seen.add(`rgb(${data[at]} ${data[at + 1]} ${data[at + 2]})`);
        const rows = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('#legend li[data-class]'))];
        return rows.filter((row) => seen.has(row.style.getPropertyValue('--colour'))).map((row) => row.dataset.class).sort();
    });
}

describe('classes', { timeout: SUITE_MS }, () => {
    test('a click hides a class at once, though the mouse is over its row', async () => {
        const { page, ...zeg } = await segmented('cup, dining table');
        assert.deepEqual(await painted(page), ['cup', 'dining table']);
        await page.hover('#legend li[data-class="cup"] .legend-toggle');
        assert.deepEqual(await painted(page), ['cup'], 'the row under the mouse is not shown alone');
        await page.click('#legend li[data-class="cup"] .legend-toggle');
        assert.deepEqual(await painted(page), ['dining table']);
        await page.mouse.move(5, 5);
        await page.hover('#legend li[data-class="cup"] .legend-toggle');
        assert.deepEqual(await painted(page), ['dining table'], 'a hidden class is shown');
        await page.click('#legend li[data-class="cup"] .legend-toggle');
        await page.mouse.move(5, 5);
        assert.deepEqual(await painted(page), ['cup', 'dining table']);
        // Chromium has advice on reading a canvas.
        await zeg.close({ expected: /willReadFrequently/ });
    });
});

const LONG = ['Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen', 'a tall white bookcase with glass doors'];

describe('on a phone', { timeout: SUITE_MS }, () => {
    test('long names can be read in full', async () => {
        const { page, ...zeg } = await segmented(`cup, dining table, ${LONG.join()}`, { width: 320, height: 640 });
        for (const selector of ['.legend-name', '.chip-name']) {
            const cut = await page.locator(selector).evaluateAll((all) => all.filter((element) => {
                const range = document.createRange();
                range.selectNodeContents(element);
                const [text, box] = [range.getBoundingClientRect(), element.getBoundingClientRect()];
                return element.scrollWidth > element.clientWidth || text.right > box.right + 1 || text.bottom > box.bottom + 1 || box.right > innerWidth;
            }).map((element) => element.textContent));
            assert.deepEqual(cut, [], `${selector} is cut`);
        }
        const rows = await page.locator('#legend li[data-class] .legend-name').evaluateAll((all) => all.map((name) => name.getBoundingClientRect().width));
        assert.ok(Math.min(...rows) > 60, `a name has ${Math.min(...rows)} px`);
        const widest = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(widest <= 320, `${widest} px wide`);
        await zeg.close();
    });

    test('a tap is read out till the next one, and two fingers zoom', async () => {
        const context = await browser.browser.newContext({ hasTouch: true, isMobile: true, viewport: { width: 390, height: 800 } });
        const { page, ...zeg } = await segmented('cup, dining table', { context });
        assert.equal(await page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.getElementById('overlay'))).touchAction), 'pan-y pinch-zoom');
        const box = /** @type {NonNullable<Awaited<ReturnType<ReturnType<Page['locator']>['boundingBox']>>>} */ (await page.locator('#overlay').boundingBox());
        await page.touchscreen.tap(box.x + box.width / 2, box.y + box.height / 2);
        assert.match(await page.innerText('#readout'), /^cup · \d+ %$/);
        await page.touchscreen.tap(box.x + 4, box.y + 4);
        assert.match(await page.innerText('#readout'), /^(dining table · \d+ %|nothing named)$/);
        await page.tap('h2');
        assert.ok(await page.locator('#readout').isHidden(), 'the read-out stays for ever');
        await page.tap('[aria-label="Remove dining table"]');
        assert.notEqual(await page.evaluate(() => document.activeElement?.id), 'classes', 'the keyboard comes up');
        await zeg.close();
        await context.close();
    });
});

describe('for keys and ears', { timeout: SUITE_MS }, () => {
    test('arrow keys read the map out', async () => {
        const { page, ...zeg } = await segmented('cup, dining table');
        const spoken = () => page.locator('#spoken').textContent();
        await page.focus('#overlay');
        await page.keyboard.press('ArrowLeft');
        assert.match(await page.innerText('#readout'), /^cup · \d+ %$/);
        assert.equal(await spoken(), await page.innerText('#readout'));
        for (let step = 0; step < 30; step++) await page.keyboard.press('ArrowUp');
        assert.match(await page.innerText('#readout'), /^(dining table · \d+ %|nothing named)$/);
        assert.equal(await spoken(), await page.innerText('#readout'));
        assert.equal(await page.locator('#spoken').getAttribute('role'), 'status');
        await page.keyboard.press('Tab');
        assert.ok(await page.locator('#readout').isHidden());
        await zeg.close();
    });

    test('the outcome is read out once, progress in bytes is not', async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat,wall');
        await zeg.state('ready');
        await page.evaluate(() => {
            const heard = /** @type {string[]} */ ([]);
            Object.assign(globalThis, { heard });
            for (const region of document.querySelectorAll('[role=status], [role=alert], [aria-live]')) {
                new MutationObserver(() => heard.push(region.textContent ?? '')).observe(region, { childList: true, subtree: true, characterData: true });
            }
        });
        const heard = () => page.evaluate(() => /** @type {string[]} */ (/** @type {any} */ (globalThis).heard.splice(0)));
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        const first = await heard();
        assert.deepEqual(first.filter((text) => / MB of /.test(text)), [], 'every piece of a file is read out');
        assert.equal(first.filter((text) => text === 'Fetching the model').length > 0, true, 'that a model is fetched is not said');
        assert.equal(first.filter((text) => /^cat \d+ %, .*nothing named \d+ %$/.test(text)).length, 1, first.join(' | '));
        await page.click('#settings-box summary');
        await page.locator('input[name=threshold]').fill('0.11');
        await page.waitForFunction(() => /** @type {any} */ (globalThis).seen.results.length === 2);
        const again = (await heard()).filter((text) => /^cat \d+ %/.test(text));
        assert.ok(again.length < 2 && again[0] !== first.find((text) => /^cat \d+ %/.test(text)), 'the same is read out again');
        await zeg.close();
    });

    test('a class’s button says what its note says', async () => {
        const { page, ...zeg } = await segmented('furniture, wildcat');
        const furniture = page.locator('#legend li[data-class="furniture"] .legend-toggle');
        assert.match(await furniture.getAttribute('aria-label') ?? '', /^furniture, found as .*, \d+ %, shown$/);
        assert.match(await furniture.getAttribute('aria-description') ?? '', /looks for “furniture” and for \d+ kinds/);
        const wildcat = page.locator('#legend li[data-class="wildcat"] .legend-toggle');
        assert.match(await wildcat.getAttribute('aria-label') ?? '', /^wildcat, no masks in training, /);
        assert.match(await wildcat.getAttribute('aria-description') ?? '', /goes by what the words mean/);
        // For those who neither hear nor hover.
        assert.match(await page.innerText('#legend-hint'), /no masks in training.*words/);
        await page.click('[aria-label="Remove wildcat"]');
        await page.waitForSelector('#legend-hint', { state: 'hidden' });
        await zeg.close();
    });

    test('colours that are forced leave those of the classes', async () => {
        const { page, ...zeg } = await segmented('cup, dining table');
        await page.emulateMedia({ forcedColors: 'active' });
        const colours = await page.evaluate(() => ['#legend li[data-class="cup"] .swatch', '#shares span'].map((selector) => {
            const element = /** @type {HTMLElement} */ (document.querySelector(selector));
            return [getComputedStyle(element).backgroundColor.replaceAll(',', ''), getComputedStyle(element).getPropertyValue('--colour')];
        }));
        for (const [shown, wanted] of colours) assert.equal(shown, wanted);
        await zeg.close();
    });
});
