// Puts buttons to the animated picture of a player, where scripts may run. The picture holds every frame:
// each <animate> in it lists the values of one attribute, and when they begin. No network, no ids, and
// nothing that is data becomes markup.
(function (digest) {
  "use strict";
  const STYLE = `
    :host { all: initial; display: block; }
    .player { %light%; }
    .player { display: flex; flex-direction: column; box-sizing: border-box; max-width: 100%; padding: 10px 12px;
      /* bar, caption and stage on one screen, below the menus of a notebook */
      max-height: max(320px, 100vh - 160px); border: 1px solid var(--border); border-radius: 6px; background: var(--paper);
      color: var(--ink); font: 14px/1.4 "DejaVu Sans", Verdana, Arial, sans-serif; }
    .player.alone { max-height: max(320px, 100vh - 32px); }
    .player:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible {
      outline: 3px solid var(--forward); outline-offset: -2px; }
    .bar { display: flex; flex: none; flex-wrap: wrap; align-items: center; gap: 6px; }
    button, select { height: 30px; border: 1px solid var(--button-border); border-radius: 4px; background: var(--button);
      color: inherit; font: inherit; }
    button { width: 36px; padding: 0; cursor: pointer; }
    button:hover { border-color: var(--forward); color: var(--forward-heading); }
    button path { fill: currentColor; }
    input { flex: 1 1 160px; min-width: 80px; accent-color: var(--forward); }
    .caption { flex: none; min-height: 5em; max-height: min(11em, 30vh); overflow: auto; margin: 8px 0 4px; padding-left: 10px;
      border-left: 4px solid var(--forward); overflow-wrap: anywhere; }
    .caption.backward { border-color: var(--backward); }
    .caption p { margin: 2px 0; font-size: 15px; font-variant-numeric: tabular-nums; }
    .caption p:first-child { font-size: 13px; color: var(--forward-heading); }
    .caption.backward p:first-child { color: var(--backward-heading); }
    .stage { flex: 0 1 auto; min-height: 0; overflow: auto; }
    .stage svg { display: block; margin: auto; height: auto; }`;
  const DARK = ".player { %dark%; }";
  const ICONS = {
    first: "M3 3h2v10H3zM13 3v10L6 8z", back: "M11 3v10L4 8z", play: "M4 2v12l9-6z", pause: "M4 3h3v10H4zM9 3h3v10H9z",
    next: "M5 3v10l7-5z", last: "M11 3h2v10h-2zM3 3v10l7-5z",
  };

  function make(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function button(label, icon) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("width", "16");
    svg.setAttribute("height", "16");
    svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    const element = make("button", { type: "button" }, svg);
    element.become = (label, icon) => {
      element.setAttribute("aria-label", label);
      element.title = label;
      svg.firstChild.setAttribute("d", ICONS[icon]);
    };
    element.become(label, icon);
    return element;
  }

  function parsed(uri) {
    const bytes = Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (c) => c.charCodeAt(0));
    const text = new TextDecoder().decode(bytes);
    return document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  }

  // Where the text around is light, the page is dark: a notebook's theme need not be that of the system.
  function isDark(element) {
    const [red, green, blue] = getComputedStyle(element).color.match(/[\d.]+/g);
    return 0.3 * red + 0.59 * green + 0.11 * blue > 128;
  }

  function start(host) {
    const alone = host.parentNode === document.body; // on a page that was saved
    const svg = parsed(host.querySelector("img").getAttribute("src"));
    const last = Number(svg.dataset.frames) - 1;
    const [x, y, width, height] = svg.dataset.view.split(" ");
    const least = (parseFloat(host.querySelector("img").style.minWidth) * width) / svg.getAttribute("width");
    svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.removeAttribute("height");
    svg.setAttribute("aria-hidden", "true");
    svg.style.width = `clamp(${least}px, 100%, ${width}px)`; // narrower, the stage scrolls
    const group = svg.querySelector(".captions");
    const captions = [...group.querySelectorAll("g")].map((caption) => ({
      phase: caption.getAttribute("class"),
      lines: [...caption.querySelectorAll("text")].map((line) => line.textContent),
    }));
    group.remove();
    const changes = [...svg.querySelectorAll("animate")].map((animate) => {
      const list = (name) => animate.getAttribute(name).split(";");
      const begins = list("keyTimes").map((time) => Math.round(time * (last + 1)));
      const change = { element: animate.parentNode, name: animate.getAttribute("attributeName"), values: list("values"), begins };
      animate.remove();
      return change;
    });

    const first = button("first frame", "first"), back = button("one frame back", "back"), play = button("play", "play");
    const next = button("next frame", "next"), end = button("last frame", "last");
    const slider = make("input", { type: "range", min: 1, max: last + 1, value: 1, "aria-label": "frame" });
    const speed = make("select", { "aria-label": "speed", title: "speed" });
    for (const times of ["0.5", "1", "2", "4"]) speed.append(make("option", { value: times }, `${times}×`));
    speed.value = "1";
    const caption = make("div", { class: "caption", "aria-live": "polite" });
    const stage = make("div", { class: "stage" }, svg);
    const about = "Forward and backward pass. Arrow keys step, Home and End go to the ends, space plays and pauses.";
    const player = make("div", { class: alone ? "player alone" : "player", role: "group", tabindex: 0, "aria-label": about },
      make("div", { class: "bar" }, first, back, play, next, end, slider, speed), caption, stage);
    const shadow = host.attachShadow({ mode: "open" });
    const styles = [make("style", {}, DARK), svg.querySelector("style")];
    shadow.append(make("style", {}, STYLE), styles[0], player);
    host.replaceChildren();

    function follow() {
      for (const style of styles) style.media = isDark(host.parentElement) ? "all" : "not all";
    }

    let at = 0, timer = 0;

    function show(frame) {
      at = Math.max(0, Math.min(frame, last));
      for (const { element, name, values, begins } of changes) {
        element.setAttribute(name, values[begins.findLastIndex((begin) => begin <= at)]);
      }
      caption.className = `caption ${captions[at].phase}`;
      caption.replaceChildren(...captions[at].lines.map((line) => make("p", {}, line)));
      slider.value = at + 1;
      slider.setAttribute("aria-valuetext", captions[at].lines[0]);
      const lit = [...svg.querySelectorAll(`[id="f${at}"] > [href^="#h"]`)].map((use) => use.getAttribute("href").slice(2));
      if (lit.length) reveal(lit.map((key) => svg.querySelector(`[data-key="${key}"]`).getBoundingClientRect()));
    }

    // scrolls to these boxes, or to the first of them where they do not fit
    function reveal(boxes) {
      const seen = stage.getBoundingClientRect();
      let left = Math.min(...boxes.map((b) => b.left)), right = Math.max(...boxes.map((b) => b.right));
      let top = Math.min(...boxes.map((b) => b.top)), bottom = Math.max(...boxes.map((b) => b.bottom));
      if (right - left > seen.width || bottom - top > seen.height) {
        ({ left, right, top, bottom } = boxes.reduce((a, b) => (b.left + b.top < a.left + a.top ? b : a)));
      }
      if (left < seen.left || right > seen.right || top < seen.top || bottom > seen.bottom) {
        stage.scrollBy((left + right - seen.left - seen.right) / 2, (top + bottom - seen.top - seen.bottom) / 2);
      }
    }

    function pause() {
      clearTimeout(timer);
      timer = 0;
      caption.setAttribute("aria-live", "polite");
      play.become("play", "play");
    }

    function wait() {
      timer = setTimeout(() => {
        show(at + 1);
        if (at < last && host.isConnected) wait();
        else pause();
      }, (1000 * svg.dataset.seconds) / speed.value);
    }

    function toggle() {
      if (timer) return pause();
      if (at === last) show(0);
      caption.setAttribute("aria-live", "off");
      play.become("pause", "pause");
      wait();
    }

    function go(frame) {
      pause();
      show(frame);
      for (const part of [player, caption]) part.scrollIntoView({ block: "nearest" }); // the caption, where both do not fit
    }

    const keys = { ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), Home: () => go(0), End: () => go(last), " ": toggle };

    // on the window, before a notebook's own shortcuts; only while the player has the focus, or has a page of its own
    function press(event) {
      const target = event.composedPath()[0];
      if (!alone && !shadow.contains(target)) return leave();
      const native = target === speed || (event.key === " " && target.localName === "button");
      if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.stopImmediatePropagation();
      if (native) return;
      event.preventDefault();
      keys[event.key]();
    }

    function leave() {
      window.removeEventListener("keydown", press, true);
    }

    if (alone) {
      window.addEventListener("keydown", press, true);
    } else {
      player.addEventListener("focusin", () => window.addEventListener("keydown", press, true));
      player.addEventListener("focusout", leave);
    }
    first.onclick = keys.Home;
    back.onclick = keys.ArrowLeft;
    play.onclick = toggle;
    next.onclick = keys.ArrowRight;
    end.onclick = keys.End;
    slider.oninput = () => go(slider.value - 1);
    speed.onchange = () => { if (timer) { clearTimeout(timer); wait(); } };
    new MutationObserver(follow).observe(document.body, { attributes: true }); // as JupyterLab tells of another theme
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
    follow();
    show(0);
    if (alone) player.focus();
  }

  for (const host of document.querySelectorAll(`[data-player="${digest}"]`)) {
    if (!host.shadowRoot) start(host);
  }
})
