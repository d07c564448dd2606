/* Keeps the forecast of a policy up to date while its form is filled in.

   The page that the button "Preview" asks for is asked for in the background, a moment after a value
   has changed, and its forecast is put in place. Without this script, the button does it. */

(() => {
    "use strict";

    /** Milliseconds without a further change after which the forecast is asked for. */
    const PAUSE = 500;

    let asked = null;
    let waiting = 0;

    async function renew(button, shown) {
        asked?.abort();
        asked = new AbortController();
        const body = new FormData(button.form, button);
        try {
            const answer = await fetch(location.href, {method: "POST", body, signal: asked.signal});
            const page = new DOMParser().parseFromString(await answer.text(), "text/html");
            const fresh = page.getElementById(shown.id);
            if (answer.ok && fresh) {
                shown.replaceChildren(...fresh.childNodes);
            }
        } catch {
            // It was overtaken by a further change, or the server is away: the button remains.
        }
    }

    const shown = document.getElementById("circuits-forecast");
    const button = document.querySelector('button[formaction="#circuits-forecast"]');
    if (shown && button) {
        button.form.addEventListener("input", () => {
            clearTimeout(waiting);
            waiting = setTimeout(() => renew(button, shown), PAUSE);
        });
    }
})();
