/* Keeps the pages of circuits up to date while they are looked at.

   What is new comes from the server as HTML, made by the same code as the page, and is put in place
   node by node: what is the same is not touched, so that focus, selections and scroll positions
   stay. All sentences stand in the page, in its language. Without this script the pages are whole;
   they only stand still. */

(() => {
    "use strict";

    /** The most seconds between two attempts to reach the server, and how long one may take. */
    const MOST_PAUSE = 30;
    const PATIENCE = 10;

    /** How many times as long as an answer took it pauses at least: a slow server has worries. */
    const RESPECT = 10;

    /** Seconds after which a pointer that rests on the list is not about to press anything. */
    const RESTING = 5;

    /** Seconds for which it is said that the connection is back. */
    const RELIEF = 5;

    /** How many changes are announced one by one: who hears them has to listen to the end. */
    const NAMED = 5;

    // Times --------------------------------------------------------------------------------------

    const language = document.documentElement.lang || undefined;
    const exact = new Intl.DateTimeFormat(language, {
        dateStyle: "medium",
        timeStyle: "long",
        hourCycle: "h23",
    });
    const minute = new Intl.DateTimeFormat(language, {timeStyle: "short", hourCycle: "h23"});
    const dayAndMinute = new Intl.DateTimeFormat(language, {
        day: "numeric",
        month: "short",
        hour: "2-digit",
        minute: "2-digit",
        hourCycle: "h23",
    });
    const ofDay = new Intl.DateTimeFormat(language, {timeStyle: "medium", hourCycle: "h23"});

    /** Return the seconds of a clock that nobody sets. */
    const now = () => performance.now() / 1000;

    /** Write the times below a node in the browser's zone, and begin what counts down there. */
    function prepare(root) {
        root.querySelectorAll("time[data-circuits-time]").forEach(writeTime);
        root.querySelectorAll("[data-circuits-countdown]").forEach((element) => {
            element.dataset.circuitsUntil = now() + Number(element.dataset.circuitsCountdown);
            countDown(element);
        });
        // Without this script its link leads to another page; with it, the page stays where it is.
        root.querySelectorAll("[data-circuits-unfolded]").forEach((mark) => {
            const link = (mark.closest("tr") ?? root).querySelector("th a");
            link?.setAttribute("aria-expanded", mark.dataset.circuitsUnfolded);
        });
    }

    function writeTime(element) {
        const words = exact.format(new Date(element.dateTime));
        if (element.dataset.circuitsTime === "text") {
            write(element, words);
            return;
        }
        element.title = words;
        if (element.dataset.circuitsTime === "day") {
            write(element, minuteOfDay(new Date(element.dateTime)));
        }
    }

    /** Return a moment to the minute, with its day where that is not today. */
    function minuteOfDay(moment) {
        const isToday = moment.toDateString() === new Date().toDateString();
        return (isToday ? minute : dayAndMinute).format(moment);
    }

    function countDown(element) {
        const left = Math.max(0, Number(element.dataset.circuitsUntil) - now());
        if (element.dataset.circuitsTotal) {
            drawRing(element, left);
        } else {
            const {circuitsText: text, circuitsOver: over} = element.dataset;
            write(element, left > 0 ? text.replace("%s", clock(left)) : over);
        }
    }

    /** Return what is left of a time as the server writes it: 7 s, 2:05, 1:02:05. */
    function clock(seconds) {
        const left = Math.ceil(seconds);
        if (left < 60) {
            return `${left} s`;
        }
        const parts = left < 3600 ? [] : [Math.floor(left / 3600)];
        const rest = [Math.floor(left / 60) % 60, left % 60];
        return [...parts, ...rest]
            .map((part, index) => (index ? String(part).padStart(2, "0") : part))
            .join(":");
    }

    function drawRing(ring, left) {
        const share = Math.min(1, left / Number(ring.dataset.circuitsTotal)) || 0;
        const arc = ring.querySelector(".circuits-ring-left");
        arc?.setAttribute("stroke-dasharray", `${(100 * share).toFixed(1)} 100`);
        const text = ring.querySelector("text");
        const unit = unitOf(left);
        // The word for the unit is the server's: in another unit than it was written in, it waits.
        if (text && unit === unitOf(Number(ring.dataset.circuitsCountdown))) {
            write(text, text.textContent.replace(/\d+/, Math.ceil(left / unit)));
        }
    }

    function unitOf(seconds) {
        return [1, 60, 3600].find((unit) => Math.ceil(seconds / unit) < 100) ?? 86400;
    }

    // What is shown ------------------------------------------------------------------------------

    /** Attributes that stay where the server's HTML has none: what other scripts and readers set. */
    const KEPT = new Set(["class", "open"]);

    function write(element, words) {
        if (element.textContent !== words) {
            element.textContent = words;
        }
    }

    /** Return HTML as nodes that are ready to be shown. */
    function parse(html) {
        const template = document.createElement("template");
        template.innerHTML = html;
        prepare(template.content);
        return template.content;
    }

    /** Whether somebody has hold of a node: it has the focus, or a part of its text is selected. */
    function isHeld(node) {
        const selection = getSelection();
        return (
            node.contains(document.activeElement) ||
            (!selection.isCollapsed && selection.containsNode(node, true))
        );
    }

    function isAlike(one, other) {
        return one.nodeName === other.nodeName && one.id === other.id;
    }

    /** Make the content of a node the same as that of another, with as little change as can be. */
    function update(old, fresh) {
        let next = old.firstChild;
        for (const node of [...fresh.childNodes]) {
            let match = next;
            while (match && !isAlike(match, node)) {
                match = isHeld(match) ? null : match.nextSibling;
            }
            if (match) {
                while (next !== match) {
                    next = removed(next);
                }
                refresh(match, node);
                next = match.nextSibling;
            } else {
                old.insertBefore(node, next);
            }
        }
        while (next) {
            next = isHeld(next) ? next.nextSibling : removed(next);
        }
    }

    /** Remove a node; return the one behind it. */
    function removed(node) {
        const behind = node.nextSibling;
        node.remove();
        return behind;
    }

    function refresh(old, fresh) {
        if (old.nodeType !== Node.ELEMENT_NODE) {
            if (old.data !== fresh.data) {
                old.data = fresh.data;
            }
            return;
        }
        for (const {name, value} of fresh.attributes) {
            if (old.getAttribute(name) !== value) {
                old.setAttribute(name, value);
            }
        }
        for (const {name} of [...old.attributes]) {
            if (!fresh.hasAttribute(name) && !KEPT.has(name)) {
                old.removeAttribute(name);
            }
        }
        update(old, fresh);
    }

    /** Show sections of the page, and what a form says that nobody sets; each by its name. */
    function showParts(parts, fields) {
        const show = (html, selector) =>
            document.querySelectorAll(selector).forEach((place) => update(place, parse(html)));
        for (const [name, html] of Object.entries(parts)) {
            show(html, `[data-circuits-part="${name}"]`);
        }
        for (const [name, html] of Object.entries(fields)) {
            show(html, `.field-${name} .readonly`);
        }
    }

    // The list -----------------------------------------------------------------------------------

    /** The rows of the list. They stay where they are and are given to other circuits as the order
        changes: what Django's own script knows of them, such as which lie between two, stays true.

        A row is given to another circuit only while nobody has to do with the list. Otherwise a
        click that somebody is about to make would meet another circuit than they mean. */
    class Rows {
        /** @param keys The keys of the circuits that the page was made with, from the top. */
        constructor(keys, words) {
            this.words = words;
            this.keys = keys;
            this.table = document.getElementById("result_list");
            this.rows = [...(this.table?.querySelectorAll("tbody > tr") ?? [])].filter((row) =>
                row.querySelector(":scope > [class*='field-']"),
            );
            // A site may show other rows than one for each circuit: those it keeps to itself.
            this.areOurs = this.rows.length === keys.length;
            const hasBodies = this.rows.length > 1 && this.table.tBodies.length === keys.length;
            this.whole = (row) => (hasBodies ? row.parentElement : row);
            this.pattern = this.rows.length ? this.whole(this.rows[0]).cloneNode(true) : null;
            this.place = this.rows.length ? this.whole(this.rows[0]).parentElement : null;
            this.movedAt = -Infinity;
            for (const kind of ["pointermove", "pointerdown", "wheel"]) {
                const note = () => (this.movedAt = now());
                this.table?.addEventListener(kind, note, {passive: true});
            }
        }

        /** Show the circuits as far as that disturbs nobody; return whether some has to wait. */
        show(circuits) {
            if (!this.areOurs) {
                return false;
            }
            if (!this.table) {
                this.begin(circuits);
                return false;
            }
            if (this.isInUse()) {
                this.showInPlace(new Map(circuits.map((circuit) => [circuit.pk, circuit])));
                return String(circuits.map(({pk}) => pk)) !== String(this.keys);
            }
            this.showInOrder(circuits);
            return false;
        }

        /** An empty list has no table that rows could be added to. */
        begin(circuits) {
            if (circuits.length && document.activeElement === document.body) {
                location.reload();
            }
        }

        isInUse() {
            const isPointed = this.table.matches(":hover") && now() - this.movedAt < RESTING;
            return isPointed || isHeld(this.table) || this.table.querySelector("input:checked");
        }

        showInPlace(circuits) {
            this.rows.forEach((row, index) => {
                const circuit = circuits.get(this.keys[index]);
                this.mark(row, !circuit);
                if (circuit) {
                    this.fill(row, circuit.cells);
                }
            });
        }

        showInOrder(circuits) {
            while (this.rows.length > circuits.length) {
                this.whole(this.rows.pop()).remove();
            }
            while (this.rows.length < circuits.length) {
                this.rows.push(this.added());
            }
            circuits.forEach((circuit, index) => {
                this.mark(this.rows[index], false);
                this.fill(this.rows[index], circuit.cells);
            });
            this.keys = circuits.map(({pk}) => pk);
        }

        added() {
            const whole = this.pattern.cloneNode(true);
            this.place.append(whole);
            const row = whole.matches("tr") ? whole : whole.querySelector("tr");
            // Django's script does not know it, and would take it for the one before the first.
            row.querySelector("input.action-select")?.addEventListener("change", (event) =>
                event.stopPropagation(),
            );
            return row;
        }

        fill(row, cells) {
            for (const fresh of parse(cells.join("")).children) {
                const name = fresh.classList[0];
                const cell = [...row.cells].find(({classList}) => classList.contains(name));
                if (cell) {
                    update(cell, fresh);
                }
            }
        }

        mark(row, isGone) {
            const cell = row.querySelector("th") ?? row.cells[0];
            row.classList.toggle("circuits-gone", isGone);
            if (isGone) {
                cell.dataset.circuitsNote = this.words.circuitsGone;
            } else {
                delete cell.dataset.circuitsNote;
            }
        }
    }

    // Families -----------------------------------------------------------------------------------

    /** Lets the page that unfolds or folds a family be where this one was: with the same rows on
        the screen, the same ones ticked, and the focus on the link that led to it. */
    const Place = {
        key: "circuits-place",

        start() {
            document.getElementById("result_list")?.addEventListener("click", ({target}) => {
                const link = target.closest("a[aria-expanded]");
                if (link) {
                    this.keep(link);
                }
            });
            // Django's own script counts what is ticked, once the page is there.
            addEventListener("load", () => this.restore());
        },

        keep(link) {
            const ticked = [...document.querySelectorAll("input.action-select:checked")];
            const place = {
                name: link.textContent,
                top: link.getBoundingClientRect().top,
                ticked: ticked.map(({value}) => value),
            };
            sessionStorage.setItem(this.key, JSON.stringify(place));
        },

        restore() {
            const place = JSON.parse(sessionStorage.getItem(this.key));
            sessionStorage.removeItem(this.key);
            const links = [...document.querySelectorAll("#result_list a[aria-expanded]")];
            const link = place && links.find(({textContent}) => textContent === place.name);
            if (!link) {
                return;
            }
            for (const box of document.querySelectorAll("input.action-select:not(:checked)")) {
                if (place.ticked.includes(box.value)) {
                    box.click();
                }
            }
            link.focus({preventScroll: true});
            scrollBy(0, link.getBoundingClientRect().top - place.top);
        },
    };

    // What is said -------------------------------------------------------------------------------

    /** Tells of the circuits that have changed since they were last heard of. */
    class Announcer {
        constructor(region, known, fresh) {
            this.region = region;
            this.generations = new Map(known);
            this.fresh = fresh;
        }

        tell(circuits) {
            const changed = circuits.filter((circuit) => this.isNews(circuit));
            circuits.forEach(({pk, generation}) => this.generations.set(pk, generation));
            if (changed.length) {
                const words = changed.slice(0, NAMED).map((circuit) => circuit.words);
                const rest = changed.length > NAMED ? ["…"] : [];
                this.region.textContent = [...words, ...rest].join(" ");
            }
        }

        /** One that has only now come into the list is news if it has changed just now. */
        isNews({pk, generation, seconds}) {
            const known = this.generations.get(pk);
            return known === undefined ? seconds < this.fresh : known !== generation;
        }
    }

    /** Why there is nothing new, in words; with a link where somebody has to do something. */
    class Trouble extends Error {
        constructor(words, link = "") {
            super(words);
            this.link = link;
        }
    }

    // Looking again ------------------------------------------------------------------------------

    class Live {
        constructor(element) {
            const known = JSON.parse(element.dataset.circuitsKnown);
            this.words = element.dataset;
            this.seconds = Number(element.dataset.circuitsSeconds);
            this.status = element.querySelector("[role=status]");
            const region = element.querySelector("[aria-live]");
            this.announcer = new Announcer(region, known, 2 * this.seconds);
            this.rows = new Rows(
                known.map(([key]) => key),
                this.words,
            );
            this.asOf = new Date();
            this.failures = 0;
            this.took = 0;
            this.backAt = -Infinity;
        }

        start() {
            document.addEventListener("visibilitychange", () => {
                if (document.hidden) {
                    clearTimeout(this.timer);
                    this.asking?.abort();
                } else {
                    this.look();
                }
            });
            addEventListener("online", () => this.look());
            this.wait();
        }

        wait() {
            clearTimeout(this.timer);
            if (!document.hidden) {
                const pause = Math.max(this.seconds * 2 ** this.failures, RESPECT * this.took);
                this.timer = setTimeout(() => this.look(), 1000 * Math.min(MOST_PAUSE, pause));
            }
        }

        /** Ask what is new and show it; never twice at once. */
        async look() {
            if (this.asking) {
                return;
            }
            this.asking = new AbortController();
            const patience = setTimeout(() => this.asking.abort(), 1000 * PATIENCE);
            const began = now();
            try {
                const payload = await this.ask(this.asking.signal);
                this.took = now() - began;
                this.show(payload);
            } catch (error) {
                this.fail(error);
            } finally {
                clearTimeout(patience);
                this.asking = null;
                this.wait();
            }
        }

        async ask(signal) {
            const response = await fetch(this.words.circuitsLive + location.search, {
                headers: {Accept: "application/json"},
                redirect: "manual", // to the page for logging in, maybe of another site
                cache: "no-store",
                signal,
            });
            const type = response.headers.get("Content-Type") ?? "";
            const isJson = type.startsWith("application/json");
            const isPage = response.ok && !isJson;
            if (response.type === "opaqueredirect" || response.status === 403 || isPage) {
                throw new Trouble(this.words.circuitsOut, this.words.circuitsIn);
            }
            const payload = isJson ? await response.json() : {};
            if (!response.ok) {
                throw payload.error ? new Trouble(payload.error) : new Error(response.statusText);
            }
            return payload;
        }

        show({parts, fields = {}, circuits}) {
            showParts(parts, fields);
            const isWaiting = this.rows.show(circuits.filter(({cells}) => cells));
            this.announcer.tell(circuits);
            this.backAt = this.failures ? now() : this.backAt;
            this.failures = 0;
            this.asOf = new Date();
            const said = isWaiting ? this.words.circuitsWaiting : "";
            this.say(now() - this.backAt < RELIEF ? this.words.circuitsBack : said);
        }

        fail(error) {
            if (document.hidden) {
                return;
            }
            this.failures += 1;
            const isTrouble = error instanceof Trouble;
            const text = isTrouble ? this.words.circuitsAsOf : this.words.circuitsLost;
            const words = text.replace("%s", ofDay.format(this.asOf));
            this.say(isTrouble ? `${error.message} ${words}` : words, error.link);
        }

        /** Say something if it is not said already: it is read out each time. */
        say(words, link = "") {
            if (this.status.dataset.circuitsSaid === words) {
                return;
            }
            this.status.dataset.circuitsSaid = words;
            this.status.replaceChildren(words);
            if (link) {
                const element = document.createElement("a");
                element.href = location.href;
                element.textContent = link;
                this.status.append(" ", element);
            }
        }
    }

    prepare(document);
    Place.start();
    setInterval(() => {
        if (!document.hidden) {
            document.querySelectorAll("[data-circuits-countdown]").forEach(countDown);
        }
    }, 1000);
    const element = document.querySelector("[data-circuits-live]");
    if (element) {
        new Live(element).start();
    }
})();
