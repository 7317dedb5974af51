/** Example photos, each with names that suit it. */

const EXAMPLES = [
    { file: 'chelsea.jpg', title: 'a cat', classes: ['cat', 'sofa | couch', 'wall'] },
    { file: 'astronaut.jpg', title: 'an astronaut', classes: ['person', 'flag', 'space shuttle'] },
    { file: 'coffee.jpg', title: 'a cup of coffee', classes: ['cup | mug', 'spoon', 'dining table'] },
    { file: 'rocket.jpg', title: 'a rocket launch', classes: ['rocket', 'sky', 'tower'] },
];

/**
 * Fills a list with the examples as buttons.
 *
 * @param {HTMLElement} list
 * @param {() => () => boolean} begin a choice; tells later whether it is still the last one
 * @param {(photo: Blob, name: string, classes: string[]) => void} choose
 * @param {(error: unknown) => void} failed
 */
export function showExamples(list, begin, choose, failed) {
    list.replaceChildren(...EXAMPLES.map(({ file, title, classes }) => {
        const url = new URL(`./examples/${file}`, import.meta.url).href;
        const picture = document.createElement('img');
        picture.src = url;
        picture.alt = title;
        picture.width = 72;
        picture.height = 72;
        const button = document.createElement('button');
        button.type = 'button';
        button.title = `Try ${title}`;
        button.append(picture);
        button.addEventListener('click', async () => {
            const isLast = begin();
            try {
                const response = await fetch(url);
                if (!response.ok) throw new Error('the example is not on the server');
                const photo = await response.blob();
                // On a slow network another photo may have been chosen meanwhile.
                if (isLast()) choose(photo, file, classes);
            } catch (error) {
                if (isLast()) failed(error);
            }
        });
        const item = document.createElement('li');
        item.append(button);
        return item;
    }));
}
