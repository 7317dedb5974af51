/** The service worker, which keeps the page for use without a network, and the way from one version of the page to the next. */

/**
 * @param {URL} script the service worker's
 * @param {Promise<unknown>} begun when to keep the page: what it needs first comes first
 * @param {(reload: () => void) => void} offer says that there is a new version
 * @param {() => Promise<void>} settled resolves once nothing is under way that a reload would lose
 */
export async function keepPage(script, begun, offer, settled) {
    const container = navigator.serviceWorker;
    if (!container) return;
    let controlled = container.controller !== null;
    // From the start: another tab may take a new version at any time.
    container.addEventListener('controllerchange', () => {
        // The old version's files are gone now: a worker that this tab starts from here on would be of the new one. Whichever
        // tab asked for it, all reload. The first visit's service worker is of the same version as the page.
        if (controlled) settled().then(() => location.reload());
        controlled = true;
    });
    await begun;
    const registration = await container.register(script);
    const look = () => {
        const { waiting } = registration;
        if (!waiting || !controlled) return;
        offer(() => settled().then(() => waiting.postMessage('take over')));
    };
    const watch = () => registration.installing?.addEventListener('statechange', look);
    look();
    // The browser may have found one before.
    watch();
    registration.addEventListener('updatefound', watch);
}
