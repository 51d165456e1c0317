// The gallery page: asks for what changed, keeps one cell a photo, and shows a photo's ladder.
//
// Photo ids, labels and messages are other people's text: they reach the page as text only.

const LIVE_MILLISECONDS = 1000;
const DONE_MILLISECONDS = 10000;
const OFFLINE_MILLISECONDS = 4000;

const byId = (id) => document.getElementById(id);

// ---------------------------------------------------------------- numbers and words

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** Bytes in decimal units, three digits: "1.48 MB". */
export function humanBytes(bytes) {
  let unit = 0;
  while (bytes >= 999.5 && unit < 4) {
    bytes /= 1000;
    unit += 1;
  }
  return `${number.format(bytes)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

const pixels = (width, height) => `${width} × ${height}`;

// ---------------------------------------------------------------- placeholder

/** Pixels of a ThumbHash, at most 32 px an edge: {width, height, rgba}. */
export function decodeThumbhash(hash) {
  const head = hash[0] | (hash[1] << 8) | (hash[2] << 16);
  const tail = hash[3] | (hash[4] << 8);
  const hasAlpha = head >> 23 === 1;
  const landscape = tail >> 15 === 1;
  const most = hasAlpha ? 5 : 7;
  const least = Math.max(1, tail & 7);
  const [across, down] = landscape ? [most, least] : [least, most];
  const ratio = across / down;
  const width = Math.round(ratio > 1 ? 32 : 32 * ratio);
  const height = Math.round(ratio > 1 ? 32 / ratio : 32);

  let at = (hasAlpha ? 6 : 5) * 2; // counted in half bytes
  const wavesAcross = waves(width, 7);
  const wavesDown = waves(height, 7);
  const channel = (mean, scale, countAcross, countDown) => {
    const plane = new Float64Array(width * height).fill(mean);
    for (let y = 0; y < countDown; y++) {
      for (let x = y ? 0 : 1; x * countDown < countAcross * (countDown - y); x++) {
        const half = (hash[at >> 1] >> ((at & 1) * 4)) & 15;
        at += 1;
        const weight = (half / 7.5 - 1) * scale * 2;
        if (weight === 0) continue;
        for (let row = 0, i = 0; row < height; row++) {
          const factor = weight * wavesDown[y][row];
          for (let column = 0; column < width; column++, i++) {
            plane[i] += factor * wavesAcross[x][column];
          }
        }
      }
    }
    return plane;
  };
  // The colour differences get a quarter more swing, to make up for what four bits lose.
  const l = channel((head & 63) / 63, ((head >> 18) & 31) / 31, Math.max(3, across), Math.max(3, down));
  const p = channel(((head >> 6) & 63) / 31.5 - 1, (((tail >> 3) & 63) / 63) * 1.25, 3, 3);
  const q = channel(((head >> 12) & 63) / 31.5 - 1, (((tail >> 9) & 63) / 63) * 1.25, 3, 3);
  const a = hasAlpha ? channel((hash[5] & 15) / 15, (hash[5] >> 4) / 15, 5, 5) : null;

  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    const blue = l[i] - (2 / 3) * p[i];
    const red = (3 * l[i] - blue + q[i]) / 2;
    rgba.set([255 * red, 255 * (red - q[i]), 255 * blue, a ? 255 * a[i] : 255], i * 4);
  }
  return { width, height, rgba };
}

function waves(length, count) {
  return Array.from({ length: count }, (_, frequency) =>
    Array.from({ length }, (_, place) => Math.cos((Math.PI / length) * frequency * (place + 0.5))),
  );
}

/** A data: URL of the blurred photo, or null when the hash is no hash. */
function thumbhashUrl(base64) {
  try {
    const hash = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    if (hash.length < 6) return null;
    const { width, height, rgba } = decodeThumbhash(hash);
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
    return canvas.toDataURL();
  } catch {
    return null; // the average colour alone will do
  }
}

function paint(element, color, url) {
  element.style.backgroundColor = /^#[0-9a-f]{6}$/i.test(color ?? "") ? color : "";
  element.style.backgroundImage = url ? `url(${url})` : "";
}

// ---------------------------------------------------------------- renditions

const quoted = (name) => name.split("/").map(encodeURIComponent).join("/");
const address = (name) => `/objects/${quoted(name)}`;

/** Smallest first; `full` may be as wide as another rung, and a srcset names a width once. */
function ladderOf(manifest) {
  return [...manifest.renditions].sort((a, b) => a.width - b.width || a.bytes - b.bytes);
}

function srcsetOf(ladder) {
  const widths = new Map(ladder.map((rendition) => [rendition.width, rendition]));
  return [...widths.values()].map((r) => `${address(r.object)} ${r.width}w`).join(", ");
}

/** The rung of that name, or the one whose long edge is nearest to it; `full` is the largest. */
function nearest(ladder, rung) {
  const edge = Number(rung) || Infinity;
  const away = (rendition) => Math.abs(Math.max(rendition.width, rendition.height) - edge);
  return ladder.find((rendition) => rendition.rung === rung) ??
    ladder.reduce((best, each) => (away(each) <= away(best) ? each : best));
}

// ---------------------------------------------------------------- cells

const grid = byId("grid");
const cells = new Map(); // photo id → Cell

class Cell {
  constructor(photoId) {
    this.photoId = photoId;
    this.element = byId("cell-template").content.firstElementChild.cloneNode(true);
    const part = (name) => this.element.querySelector(name);
    this.button = part(".open");
    this.image = part("img");
    this.veil = part(".veil");
    this.note = part(".note");
    part(".name").textContent = photoId;
    this.element.title = photoId;
    this.element.cell = this;
    this.button.addEventListener("click", () => view.open(this));
    this.image.addEventListener("load", () => this.button.classList.add("shown"));
    this.image.addEventListener("error", () => this.element.classList.add("failed"));
  }

  update(photo) {
    const before = this.photo;
    this.photo = photo;
    const status = photo.status === "ready" && photo.manifest?.renditions.length ? "ready"
      : photo.status === "rejected" ? "rejected" : "waiting";
    if (this.status !== status) this.place(status);
    this.status = status;
    this.button.hidden = status !== "ready";
    this.note.hidden = status !== "rejected";
    this.element.querySelector(".name").ariaHidden = String(status === "ready"); // the image says it
    if (status === "ready" && before?.manifest?.commit_id !== photo.manifest.commit_id) this.showPhoto();
    if (status === "rejected") {
      this.note.querySelector(".reason").textContent = photo.reason ?? "rejected";
      this.note.querySelector(".message").textContent = photo.message ?? "";
      this.element.style.removeProperty("--ratio");
    }
  }

  /** Finished photos queue up before the waiting ones: what is on show already stays put. */
  place(status) {
    this.element.className = `cell ${status}`;
    const next = status === "ready" ? grid.querySelector(":scope > .waiting") : null;
    (status === "rejected" ? byId("refusals") : grid).insertBefore(this.element, next);
  }

  showPhoto() {
    const { manifest } = this.photo;
    this.ladder = ladderOf(manifest);
    const largest = this.ladder.at(-1);
    this.ratio = largest.width / largest.height;
    this.placeholderUrl = thumbhashUrl(manifest.placeholder?.thumbhash ?? "");
    // A ribbon of a panorama would leave nothing to see: beyond 4:1 the cell crops.
    this.element.style.setProperty("--ratio", Math.min(4, Math.max(0.45, this.ratio)).toFixed(4));
    paint(this.veil, manifest.placeholder?.color, this.placeholderUrl);
    this.button.classList.remove("shown");
    this.element.classList.remove("failed");
    this.image.alt = this.photoId;
    this.image.width = largest.width;
    this.image.height = largest.height;
    this.image.removeAttribute("srcset");
    this.image.removeAttribute("src");
    this.drawnWidth = 0;
    widths.unobserve(this.element);
    widths.observe(this.element); // calls back once layout has given the cell its width
  }

  /** Tell the browser the cell's true width, so that it fetches the rung that fits. */
  fit(width) {
    if (this.status !== "ready" || width < 1 || width <= this.drawnWidth * 1.1) return;
    this.image.sizes = `${Math.ceil(width)}px`;
    if (!this.drawnWidth) {
      this.image.srcset = srcsetOf(this.ladder);
      this.image.src = address(this.ladder[0].object);
    }
    this.drawnWidth = width;
  }

  remove() {
    widths.unobserve(this.element);
    if (view.cell === this && dialog.open) leave();
    this.element.remove();
    cells.delete(this.photoId);
  }
}

const widths = new ResizeObserver((entries) => {
  for (const entry of entries) entry.target.cell.fit(entry.contentRect.width);
});

// ---------------------------------------------------------------- ladder view

const [dialog, stage, frame, rows] = ["ladder", "stage", "frame", "rows"].map(byId);

const view = {
  cell: null,
  wanted: null, // the chosen rung's name, kept from photo to photo; null is Auto
  image: null, // what is being loaded, or on show

  open(cell) {
    this.wanted = null;
    history.pushState({ opened: true }, "", permalink(cell.photoId, null));
    this.show(cell);
  },

  show(cell) {
    const held = rows.contains(document.activeElement);
    this.cell = cell;
    const { manifest, photo_id: id } = cell.photo;
    const file = id.lastIndexOf("/") + 1;
    const folder = text("span", id.slice(0, file));
    folder.className = "folder";
    byId("ladder-name").replaceChildren(folder, id.slice(file));
    const { rejection } = manifest;
    byId("ladder-rejection").hidden = !rejection;
    byId("ladder-rejection").textContent = rejection
      ? `A newer version was rejected: ${rejection.reason}. ${rejection.message ?? ""}` : "";
    this.showRows();
    this.showFacts();
    const labels = Object.entries(manifest.labels ?? {});
    byId("labels-part").hidden = labels.length === 0;
    byId("labels").replaceChildren(...labels.map(([name, value]) => {
      const item = text("li", "");
      item.append(text("b", name), value);
      return item;
    }));
    dialog.classList.toggle("alone", this.ready().length < 2);
    dialog.style.setProperty("--ratio", cell.ratio.toFixed(4));
    // A new sheet a photo: the last photo must not stand in while the next one loads.
    const veil = text("span", "");
    veil.className = "veil";
    paint(veil, manifest.placeholder?.color, cell.placeholderUrl);
    this.sheet = text("div", "");
    this.sheet.className = "sheet";
    this.sheet.append(veil);
    frame.replaceChildren(this.sheet);
    this.shown = null;
    this.zoomed = false;
    if (!dialog.open) dialog.showModal();
    this.load();
    if (held) rows.querySelector("[aria-pressed=true]").focus();
  },

  showRows() {
    const { ladder } = this.cell;
    const most = Math.max(...ladder.map((rendition) => rendition.bytes));
    rows.replaceChildren(...[null, ...ladder].map((rendition) => {
      const row = byId("row-template").content.firstElementChild.cloneNode(true);
      row.rendition = rendition;
      row.querySelector("button").textContent = rendition?.rung ?? "Auto";
      const link = row.querySelector("a");
      if (rendition) {
        row.querySelector(".pixels").textContent = pixels(rendition.width, rendition.height);
        row.querySelector(".value").textContent = humanBytes(rendition.bytes);
        row.querySelector(".bar").style.setProperty("--share", (rendition.bytes / most).toFixed(4));
        link.href = address(rendition.object);
        link.setAttribute("aria-label", `Open rung ${rendition.rung}`);
      } else {
        link.closest("td").remove();
        row.querySelector(".size").remove();
        const told = row.querySelector(".pixels");
        told.colSpan = 3;
        told.textContent = "the rung that fits this screen";
      }
      return row;
    }));
  },

  choose(rung) {
    this.wanted = rung;
    history.replaceState(history.state, "", permalink(this.cell.photoId, rung));
    this.load();
  },

  /** Load the chosen rung, or the one that fits, and swap it in once it is decoded. */
  async load() {
    const { ladder, photoId } = this.cell;
    const chosen = this.wanted && nearest(ladder, this.wanted);
    // Auto at 1:1 means all pixels that there are.
    const one = chosen ?? (this.zoomed ? ladder.at(-1) : null);
    for (const row of rows.children) {
      row.querySelector("button").setAttribute("aria-pressed", String(row.rendition === chosen));
    }
    this.resize(one);
    const image = document.createElement("img");
    this.image = image;
    Object.assign(image, { alt: photoId, decoding: "sync", draggable: false });
    if (!one) {
      image.sizes = `${Math.ceil(this.sheet.clientWidth)}px`;
      image.srcset = srcsetOf(ladder);
    }
    image.src = address((one ?? ladder[0]).object);
    stage.setAttribute("aria-busy", "true");
    byId("showing").textContent = one ? `Loading rung ${one.rung}, ${humanBytes(one.bytes)}…` : "Loading…";
    try {
      await image.decode();
    } catch {
      if (this.image === image) this.tell("This rung cannot be loaded.");
      return;
    }
    if (this.image !== image) return; // another one was asked for meanwhile
    this.sheet.querySelector("img")?.remove();
    this.sheet.prepend(image);
    this.sheet.classList.add("shown");
    const path = new URL(image.currentSrc).pathname;
    this.shown = one ?? ladder.findLast((rendition) => address(rendition.object) === path);
    for (const row of rows.children) {
      if (row.rendition === this.shown) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    this.tell();
  },

  tell(trouble) {
    const { shown } = this;
    stage.removeAttribute("aria-busy");
    if (trouble || !shown) {
      byId("showing").textContent = trouble ?? "";
      return;
    }
    const scale = Math.round((100 * this.sheet.clientWidth * devicePixelRatio) / shown.width);
    byId("showing").textContent = `Rung ${shown.rung}, ${humanBytes(shown.bytes)}, ` +
      (this.zoomed ? "pixel for pixel" : `drawn at ${scale} %`);
  },

  /** Give the sheet its size, 1:1 or fitting, and keep the point `at` of the screen in place. */
  resize(rendition, at) {
    const middle = frame.getBoundingClientRect();
    const [x, y] = at ?? [middle.x + middle.width / 2, middle.y + middle.height / 2];
    const before = this.sheet.getBoundingClientRect();
    stage.classList.toggle("zoomed", this.zoomed);
    byId("zoom").setAttribute("aria-pressed", String(this.zoomed));
    if (this.zoomed) this.sheet.style.setProperty("--actual", `${rendition.width / devicePixelRatio}px`);
    const after = this.sheet.getBoundingClientRect();
    frame.scrollBy(
      after.x - x + ((x - before.x) / before.width) * after.width,
      after.y - y + ((y - before.y) / before.height) * after.height,
    );
  },

  /** Between the whole photo and one image pixel a screen pixel. */
  zoom(at) {
    this.zoomed = !this.zoomed;
    this.resize(this.wanted ? nearest(this.cell.ladder, this.wanted) : this.cell.ladder.at(-1), at);
    this.load();
  },

  showFacts() {
    const { photo, ladder, ratio, placeholderUrl } = this.cell;
    const original = photo.manifest.original ?? {};
    const seconds = (value) => value != null && `${number.format(value)} s`;
    const facts = [
      ["Format", original.format],
      ["Dimensions", original.width && `${pixels(original.width, original.height)} px`],
      ["Size", original.bytes && humanBytes(original.bytes)],
      ["Whole ladder", humanBytes(ladder.reduce((total, rendition) => total + rendition.bytes, 0))],
      ["Taken", original.taken_at && original.taken_at.replace("T", " ")],
      ["Rendered in", seconds(photo.render_seconds)],
      ["Ready after, with the wait", seconds(photo.seconds)],
    ];
    byId("original").replaceChildren(...facts.filter(([, fact]) => fact)
      .flatMap(([name, fact]) => [text("dt", name), text("dd", fact)]));
    const { color, thumbhash } = photo.manifest.placeholder ?? {};
    for (const swatch of document.querySelectorAll(".swatch")) {
      swatch.style.setProperty("--ratio", Math.min(2.5, Math.max(0.6, ratio)).toFixed(4));
    }
    paint(byId("swatch-color"), color, null);
    paint(byId("swatch-hash"), null, placeholderUrl);
    byId("text-color").textContent = color ?? "";
    byId("text-hash").textContent = thumbhash ?? "";
  },

  ready: () => [...grid.querySelectorAll(":scope > .ready")].map((element) => element.cell),

  step(by) {
    const ready = this.ready();
    const to = ready[(ready.indexOf(this.cell) + by + ready.length) % ready.length];
    if (!to || to === this.cell) return;
    history.replaceState(history.state, "", permalink(to.photoId, this.wanted));
    this.show(to);
  },
};

function text(tag, words) {
  const element = document.createElement(tag);
  element.textContent = words;
  return element;
}

byId("close").addEventListener("click", leave);
byId("previous").addEventListener("click", () => view.step(-1));
byId("next").addEventListener("click", () => view.step(1));
byId("zoom").addEventListener("click", () => view.zoom());
rows.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && !event.target.closest("a")) view.choose(row.rendition?.rung ?? null);
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
// On the document: the element that had the focus may be gone, and then no key reaches the dialog.
document.addEventListener("keydown", (event) => {
  if (!dialog.open || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const [across, down] = ARROWS[event.key] ?? [0, 0];
  if (event.key === "Escape") view.zoomed ? view.zoom() : leave();
  else if (event.key.toLowerCase() === "z" && !event.repeat) view.zoom();
  else if (view.zoomed && (across || down)) frame.scrollBy(90 * across, 90 * down);
  else if (across) view.step(across);
  else return;
  event.preventDefault();
});

let drag = null; // where the mouse went down on a zoomed photo, and whether it has moved since
frame.addEventListener("pointerdown", (event) => {
  drag = null;
  if (!view.zoomed || event.pointerType !== "mouse" || event.button) return; // touch scrolls by itself
  drag = { x: event.clientX, y: event.clientY, left: frame.scrollLeft, top: frame.scrollTop };
  frame.setPointerCapture(event.pointerId);
});
frame.addEventListener("pointermove", (event) => {
  if (!drag || !event.buttons) return;
  const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
  drag.moved ||= Math.hypot(x, y) > 4;
  frame.scrollTo(drag.left - x, drag.top - y);
});
frame.addEventListener("click", (event) => {
  // The second click of a double click would undo the first.
  if (drag?.moved || event.detail > 1) return;
  if (view.zoomed || event.target.closest(".sheet")) view.zoom([event.clientX, event.clientY]);
});
addEventListener("resize", () => {
  const outgrown = view.shown && view.sheet.clientWidth * devicePixelRatio > view.shown.width;
  if (dialog.open && outgrown && !view.zoomed && !view.wanted) view.load();
});

// ---------------------------------------------------------------- the address: "#/PHOTO?rung=512"

history.scrollRestoration = "manual";

const permalink = (photoId, rung) => `#/${quoted(photoId)}${rung ? `?rung=${encodeURIComponent(rung)}` : ""}`;

/** Show what the address names, as soon as it is there. */
function follow() {
  const [, photoId, rung] = location.hash.match(/^#\/([^?]+)(?:\?rung=(.+))?$/) ?? [];
  if (!photoId) {
    dialog.close();
    return;
  }
  let cell = null;
  try {
    cell = cells.get(decodeURIComponent(photoId));
    view.wanted = rung ? decodeURIComponent(rung) : null;
  } catch {
    return; // not an address of ours
  }
  if (cell?.status === "ready") view.show(cell);
}

/** Close the view. What a click here opened goes back in the history, so that Forward opens it again. */
function leave() {
  const opened = history.state?.opened;
  history.replaceState(null, ""); // a second call must not go back twice
  if (opened) history.back();
  else dialog.close();
}

addEventListener("popstate", follow);
dialog.addEventListener("close", () => {
  if (dialog.open) return; // Forward was faster than this event
  if (location.hash.startsWith("#/")) history.replaceState(null, "", location.pathname);
  view.image = null;
  frame.replaceChildren();
  // The photo last looked at, which need not be the one that was opened.
  view.cell.button.focus();
  view.cell.element.scrollIntoView({ block: "nearest" });
});

// ---------------------------------------------------------------- what changed

function showHeader(state) {
  const photos = [...cells.values()].map((cell) => cell.photo);
  const count = (status) => photos.filter((photo) => photo.status === status).length;
  document.title = byId("title").textContent = state.title;
  byId("broker").hidden = !state.broker;
  byId("broker").textContent = state.broker;
  for (const item of document.querySelectorAll("[data-count]")) {
    item.querySelector("b").textContent = count(item.dataset.count);
    item.hidden = item.dataset.count !== "ready" && !count(item.dataset.count);
  }
  byId("rejected").hidden = !count("rejected");
  // Only finished photos on both sides: a saving against originals still waiting would flatter.
  const finished = photos.filter((photo) => photo.status === "ready" && photo.bytes_out !== null);
  const sum = (field) => finished.reduce((total, photo) => total + photo[field], 0);
  const [bytesIn, bytesOut] = [sum("bytes_in"), sum("bytes_out")];
  byId("bytes").hidden = bytesIn === 0;
  if (bytesIn) {
    const saving = Math.round(100 * (1 - bytesOut / bytesIn));
    const part = (name) => document.querySelector(`[data-bytes="${name}"]`);
    part("in").textContent = humanBytes(bytesIn);
    part("out").textContent = humanBytes(bytesOut);
    part("saving").textContent = saving >= 0 ? `${saving} % saved` : `${-saving} % more`;
    part("saving").classList.toggle("larger", saving < 0);
  }
  byId("progress").max = Math.max(1, photos.length);
  byId("progress").value = photos.length - count("waiting");
  byId("empty").hidden = photos.length > 0;
  document.body.classList.toggle("done", state.done);
}

function showPhotos({ photos, whole }) {
  const gone = new Set(whole ? cells.keys() : []);
  for (const photo of photos) {
    if (photo.status === "deregistered") {
      gone.add(photo.photo_id);
      continue;
    }
    gone.delete(photo.photo_id);
    if (!cells.has(photo.photo_id)) cells.set(photo.photo_id, new Cell(photo.photo_id));
    cells.get(photo.photo_id).update(photo);
  }
  for (const photoId of gone) cells.get(photoId)?.remove();
}

function showState(words, offline) {
  document.body.classList.toggle("offline", offline);
  // A status line speaks when it changes: writing the same words again would repeat them aloud.
  if (byId("state").textContent !== words) byId("state").textContent = words;
}

let timer = 0;
let cursor = "";

async function poll() {
  clearTimeout(timer);
  let pause = OFFLINE_MILLISECONDS;
  try {
    const answer = await fetch(`/photos.json?since=${cursor}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(`photos.json: ${answer.status}`);
    const state = await answer.json();
    showPhotos(state);
    showHeader(state);
    showState(state.done ? "Done" : "", false);
    cursor = state.cursor;
    pause = state.done ? DONE_MILLISECONDS : LIVE_MILLISECONDS;
    if (!dialog.open && location.hash) follow();
  } catch (error) {
    console.warn(error);
    showState("Not connected to the worker, trying again", true);
  }
  clearTimeout(timer);
  timer = setTimeout(poll, pause);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
poll();
