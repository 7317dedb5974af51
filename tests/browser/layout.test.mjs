/** The page fits, in both schemes, and can be used with the keyboard. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PHOTO, TEST_MS, launch } from './harness.mjs';

const browser = launch();

const LONG = 'a very long name of a thing that nobody would ever type into a field of this width, '
    + 'Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen';

for (const width of [320, 390, 768, 1280]) {
    test(`no horizontal scroll at ${width} px`, { timeout: TEST_MS }, async () => {
        const { page, ...zeg } = await browser.open(`?engine=cpu&classes=${encodeURIComponent(`cat, ${LONG}`)}`, { width });
        await page.setInputFiles('#file', PHOTO);
        await zeg.state('done');
        await page.click('#settings-box summary');
        await page.click('#segments-box summary');
        const widest = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(widest <= width, `${widest} px wide`);
        await zeg.close();
    });
}

/** WCAG's contrast of two colours. @param {number[]} one @param {number[]} other */
function contrast(one, other) {
    const [light, dark] = [one, other].map((rgb) => {
        const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }).sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
}

for (const scheme of /** @type {const} */ (['light', 'dark'])) {
    test(`text can be read in the ${scheme} scheme`, { timeout: TEST_MS }, async () => {
        const { page, ...zeg } = await browser.open('?engine=cpu');
        await page.emulateMedia({ colorScheme: scheme });
        await zeg.state('ready');
        const pairs = await page.evaluate(() => {
            const style = getComputedStyle(document.documentElement);
            const rgb = (/** @type {string} */ name) => {
                const value = style.getPropertyValue(name).trim();
                return [1, 3, 5].map((at) => parseInt(value.slice(at, at + 2), 16));
            };
            const named = [['--ink', '--paper'], ['--ink', '--card'], ['--soft', '--card'], ['--soft', '--well'], ['--soft', '--paper'],
                ['--accent', '--card'], ['--accent-ink', '--accent'], ['--bad', '--card'], ['--good', '--paper']];
            return named.map(([text, ground]) => ({ text, ground, colours: [rgb(text), rgb(ground)] }));
        });
        for (const { text, ground, colours } of pairs) {
            const found = contrast(colours[0], colours[1]);
            assert.ok(found >= 4.5, `${text} on ${ground}: ${found.toFixed(2)}`);
        }
        await zeg.close();
    });
}

test('everything is reached with the tab key and has a name', { timeout: TEST_MS }, async () => {
    const { page, ...zeg } = await browser.open('?engine=cpu&classes=cat');
    await page.setInputFiles('#file', PHOTO);
    await zeg.state('done');
    await page.locator('#settings-box summary').press('Enter');
    const reached = new Set();
    await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement)?.blur());
    for (let step = 0; step < 60; step++) {
        await page.keyboard.press('Tab');
        const at = await page.evaluate(() => {
            const element = /** @type {HTMLInputElement} */ (document.activeElement);
            const name = element.getAttribute('aria-label') || element.labels?.[0]?.textContent?.trim()
                || element.textContent?.trim() || element.querySelector('img')?.alt;
            return { key: element.id || element.getAttribute('name') || element.className || element.dataset.kind || element.tagName, name };
        });
        if (at.key !== 'BODY') assert.ok(at.name, `${at.key} has no name`);
        reached.add(at.key);
    }
    for (const key of ['overlay', 'file', 'classes', 'chip-name', 'chip-remove', 'legend-toggle', 'legend-action', 'overlay.png', 'SUMMARY', 'opacity', 'resolution', 'engine', 'lambda', 'threshold']) {
        assert.ok(reached.has(key), `${key} is not reached; ${[...reached].join(', ')} are`);
    }
    await zeg.close();
});
