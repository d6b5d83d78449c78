// What events of the page do in the browser itself; mind2mind/ui names these functions in `js=` and `js_on_load=`.
// A widget that is HTML triggers events with details; `detail` hands them to the handler as its first argument.
window.m2m = {
  details: {},

  detail(id, all) {
    return [m2m.details[id], ...all];
  },

  tell(element, trigger, event, detail) {
    m2m.details[element.closest("[id]:not([id^=html-])").id] = detail;
    trigger(event, detail);
  },

  isSeen(id) {
    return Boolean(document.getElementById(id)?.offsetParent);
  },

  // A wall of pictures: a click, or Enter, picks one or enlarges it; one of them is a tab stop, arrows lead on.
  wall(element, watch, trigger, how) {
    let focused = null;
    const all = () => [...element.querySelectorAll(".m2m-tile")];
    const pick = (tile) => {
      const tiles = all();
      tiles.forEach((other) => other.setAttribute("aria-pressed", other === tile));
      m2m.tell(element, trigger, "select", tiles.indexOf(tile));
    };
    element.addEventListener("click", (event) => {
      const tile = event.target.closest(".m2m-tile");
      if (tile) how === "pick" ? pick(tile) : m2m.enlarge(all(), all().indexOf(tile));
    });
    element.addEventListener("focusin", (event) => {
      const tiles = all();
      focused = tiles.indexOf(event.target);
      tiles.forEach((tile) => { tile.tabIndex = tile === event.target ? 0 : -1; });
    });
    element.addEventListener("focusout", (event) => { if (event.relatedTarget) focused = null; });
    element.addEventListener("keydown", (event) => {
      const tiles = all(), at = tiles.indexOf(document.activeElement);
      const to = tiles[at + m2m.step(event.key, tiles)];
      if (at < 0 || !to || to === tiles[at]) return;
      event.preventDefault();
      to.focus();
      if (how === "pick" && element.closest(".m2m-follows")) pick(to);
    });
    watch("value", () => {  // the buttons are new ones
      if (focused === null || document.activeElement !== document.body) return;
      all()[focused]?.focus({ preventScroll: true });
    });
  },

  // How far a key leads among tiles in rows.
  step(key, tiles) {
    const row = tiles.findIndex((tile) => tile.offsetTop > tiles[0].offsetTop);
    const columns = row < 0 ? tiles.length : row;
    return { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key] || 0;
  },

  // One of the tiles as large as fits; arrows lead to the next, Escape or a click beside it closes.
  enlarge(tiles, at) {
    const dialog = document.createElement("dialog");
    dialog.className = "m2m-dialog";
    const image = dialog.appendChild(document.createElement("img"));
    const caption = dialog.appendChild(document.createElement("p"));
    const close = dialog.appendChild(document.createElement("button"));
    close.textContent = "Close";
    const show = (i) => {
      at = (i + tiles.length) % tiles.length;
      image.src = tiles[at].querySelector("img").src;
      image.alt = caption.textContent = tiles[at].ariaLabel;
    };
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) show(at + step);
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === image) show(at + 1);
      else if (event.target === dialog || event.target === close) dialog.close();
    });
    dialog.addEventListener("close", () => { dialog.remove(); tiles[at].focus({ preventScroll: true }); });
    document.body.append(dialog);
    show(at);
    dialog.showModal();
  },

  // The large picture: arrow keys pick the next one on the wall that is seen.
  leaf(element) {
    element.addEventListener("keydown", (event) => {
      const wall = [...document.querySelectorAll(".m2m-follows .m2m-wall")].find((one) => one.offsetParent);
      const tiles = [...(wall?.children || [])];
      const at = tiles.findIndex((tile) => tile.ariaPressed === "true");
      const to = tiles[at + m2m.step(event.key, tiles)];
      if (at < 0 || !to || to === tiles[at]) return;
      event.preventDefault();
      to.click();
    });
  },

  // A row of native sliders: `input` while one moves, `submit` when it is let go (`change` is any new value of ours).
  sliders(element, trigger) {
    const send = (event, held) => {
      const all = [...element.querySelectorAll("input[type=range]")];
      all.forEach((one) => { one.nextElementSibling.textContent = Number(one.value).toFixed(one.step < 0.1 ? 2 : 1); });
      m2m.tell(element, trigger, event, { held, values: all.map((one) => Number(one.value)) });
    };
    element.addEventListener("input", (event) => {
      send("input", event.target.matches(":active") ? "moving" : "");
    });
    element.addEventListener("change", () => send("submit", "let go"));
    element.addEventListener("click", (event) => {
      if (!event.target.closest("button")) return;
      element.querySelectorAll("input[type=range]").forEach((one) => { one.value = one.dataset.default; });
      send("input", "");
    });
  },

  // A way from picture to picture: a slider, which a click on a stop or on a frame of the strip moves, and Play, which
  // runs to and fro over the frames of the film, or of the strip until the film has come: `play` asks for it.
  way(element, trigger, watch) {
    const [film, strip, stops] = ["film", "strip", "stops"].map((id) => document.getElementById(`interpolate-${id}`));
    const bar = () => element.querySelector("input"), button = () => element.querySelector("button");
    let rolling = 0, moves = false;
    const seen = () => {  // the number, and the frame that is nearest, within sight
      element.querySelector("output").textContent = Number(bar().value).toFixed(2);
      const frames = [...strip.querySelectorAll(".m2m-tile")], nearest = Math.round(bar().value * (frames.length - 1));
      frames.forEach((frame, i) => frame.setAttribute("aria-pressed", i === nearest));
      const wall = strip.querySelector(".m2m-wall");
      if (wall) wall.scrollLeft = (wall.scrollWidth - wall.clientWidth) * bar().value;  // on a phone it is wider
    };
    const stop = () => {
      cancelAnimationFrame(rolling);
      rolling = 0;
      button().textContent = "Play";
    };
    const send = (held) => {
      stop();
      seen();
      m2m.tell(element, trigger, "input", { held, t: Number(bar().value) });
    };
    const roll = () => {
      const lasts = 1000 * bar().dataset.seconds, begun = performance.now() - bar().value * lasts;
      const step = (now) => {
        const past = Math.max(0, now - begun) / lasts % 2, t = past < 1 ? past : 2 - past;
        const image = document.querySelector("#interpolate-picture img");
        if (!element.offsetParent || !image) return stop();
        const drawn = film.querySelectorAll("img"), frames = drawn.length ? drawn : strip.querySelectorAll("img");
        const frame = frames[Math.round(t * (frames.length - 1))];
        if (image.src !== frame.src) image.src = frame.src;
        bar().value = t;
        seen();
        rolling = requestAnimationFrame(step);
      };
      rolling = requestAnimationFrame(step);
      button().textContent = "Stop";
      if (!film.querySelector("img")) trigger("play");
    };
    element.addEventListener("input", (event) => {
      moves = event.target.matches(":active");
      send(moves ? "moving" : "");
    });
    element.addEventListener("change", () => { if (moves) send(""); });  // it is let go
    element.addEventListener("click", (event) => {
      if (event.target === button()) rolling ? send("") : roll();  // in the end the very picture of the place
    });
    for (const wall of [stops, strip]) wall.addEventListener("click", (event) => {
      const tiles = [...wall.querySelectorAll(".m2m-tile")], at = tiles.indexOf(event.target.closest(".m2m-tile"));
      if (at < 0) return;
      bar().value = at / (tiles.length - 1);
      send("");
    });
    watch("value", () => { if (bar()) { stop(); seen(); } });  // it is another one
  },

  // A map of cells to wander over: it asks for those that are in sight and not there, and keeps what comes.
  plane(element, trigger) {
    const ground = element.querySelector(".m2m-plane"), cells = new Map();
    let centre = [0, 0], held = null, waits = false;
    const across = () => Number(getComputedStyle(ground).getPropertyValue("--across"));
    const place = () => {
      const side = ground.clientWidth / across(), middle = (across() - 1) / 2;
      for (const [at, cell] of cells) {
        const [x, y] = at.split(",").map(Number);
        const moved = [x - centre[0] + middle, y - centre[1] + middle].map((n) => `${n * side}px`);
        cell.style.cssText = `width:${side}px;height:${side}px;transform:translate(${moved.join(",")})`;
        cell.classList.toggle("m2m-centre", x === Math.round(centre[0]) && y === Math.round(centre[1]));
      }
    };
    const ask = () => {
      if (waits || !ground.clientWidth) return;
      const reach = (across() - 1) / 2, wanted = [];
      for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) {
        const at = [Math.round(centre[0]) + x, Math.round(centre[1]) + y];
        if (!cells.has(at.join())) wanted.push(at);
      }
      if (!wanted.length) return;
      const far = ([x, y]) => Math.hypot(x - centre[0], y - centre[1]);
      wanted.sort((a, b) => far(a) - far(b));
      waits = true;
      m2m.tell(element, trigger, "input", wanted);
    };
    const go = (to) => { centre = to; place(); ask(); };
    const pick = (at) => m2m.tell(element, trigger, "select", at);
    ground.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, y: event.clientY, from: centre, cell: event.target.closest("img"), far: false };
      ground.setPointerCapture(event.pointerId);
    });
    ground.addEventListener("pointermove", (event) => {
      if (!held) return;
      const side = ground.clientWidth / across(), moved = [event.clientX - held.x, event.clientY - held.y];
      held.far ||= Math.hypot(...moved) > 4;
      if (held.far) go([held.from[0] - moved[0] / side, held.from[1] - moved[1] / side]);
    });
    ground.addEventListener("pointerup", () => {
      if (held?.far) go(centre.map(Math.round));
      else if (held?.cell) pick(held.cell.dataset.at.split(",").map(Number));
      held = null;
    });
    ground.addEventListener("pointercancel", () => { held = null; });
    ground.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (by) go([Math.round(centre[0]) + by[0], Math.round(centre[1]) + by[1]]);
      else if (event.key === "Enter") pick(centre.map(Math.round));
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => go(centre)).observe(ground);
    m2m.ground = {
      take(fresh) {  // the pictures that were asked for, or those around the middle of another map
        if (ground.dataset.map !== fresh.dataset.map) {
          ground.dataset.map = fresh.dataset.map;
          ground.replaceChildren();
          cells.clear();
          centre = [0, 0];
        }
        for (const cell of [...fresh.children]) {
          cells.set(cell.dataset.at, cell);
          ground.append(cell);
        }
        waits = false;
        go(centre);
      },
    };
  },

  // Buttons that ask for something: `select`, or `delete` by those which unfold below a first one.
  asks(element, trigger) {
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button"), fold = button?.closest(".m2m-twice");
      if (!button) return;
      if (fold) fold.open = false;
      m2m.tell(element, trigger, fold ? "delete" : "select", { ...button.dataset });
    });
  },

  // The steps of a way: a click leads to one, and the one that is come to is brought into sight.
  steps(element, watch, trigger) {
    let now = null;
    element.addEventListener("click", (event) => {
      const to = event.target.closest("[data-step]");
      if (to) m2m.tell(element, trigger, "select", to.dataset.step);
    });
    watch("value", () => {
      const before = now;
      now = element.querySelector("[aria-current]")?.dataset.step;
      if (!element.offsetParent) return;
      if (now !== before) element.scrollIntoView({ block: "start" });
      if (document.activeElement === document.body) {  // what had the focus is gone
        element.querySelector("p button")?.focus({ preventScroll: true });
      }
    });
  },

  // A run that goes on, in the head of the page and in the title of the browser's tab.
  chip(element, watch, trigger) {
    element.addEventListener("click", () => m2m.tell(element, trigger, "select", "live"));
    watch("value", () => {
      document.title = element.querySelector("[data-title]")?.dataset.title || "Mind2Mind";
    });
  },

  // The name of the folder that was chosen last; uploads come without it.
  folder: "",

  // Saves a file that was made for it.
  save(file) {
    if (!file) return;
    const link = document.createElement("a");
    link.href = file.url;
    link.download = file.orig_name || "";
    link.click();
  },

  // A clip that was made, as it is shown.
  clip(file) {
    const element = document.createElement(file.url.endsWith(".mp4") ? "video" : "img");
    element.src = file.url;
    element.alt = element.ariaLabel = "The clip";
    element.toggleAttribute("autoplay", true);
    element.toggleAttribute("loop", true);
    element.toggleAttribute("controls", true);
    return element.outerHTML;
  },

  scrollTo(id, all) {
    document.getElementById(id).scrollIntoView({ block: "center" });
    return all;
  },

  // The address at which the run is only looked at: the browser alone knows under which one the page is seen.
  linkTo: (visit) => visit && visit.look ? `${location.origin}${location.pathname}?run=${visit.look}` : "",
};

document.addEventListener("change", (event) => {
  const [file] = event.target.webkitdirectory ? event.target.files : [];
  if (file) m2m.folder = file.webkitRelativePath.split("/")[0];
}, true);
