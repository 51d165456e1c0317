// The gallery page: polls the worker's snapshot, keeps one cell a photo, and shows a photo's ladder.
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

const address = (name) => `/objects/${name.split("/").map(encodeURIComponent).join("/")}`;

/** Smallest first; `full` may be as wide as another rung, and a srcset names a width once. */
function ladderOf(manifest) {
  return [...manifest.renditions].sort((a, b) => a.width - b.width || a.bytes - b.bytes);
}

function srcsetOf(ladder) {
  const widths = new Map(ladder.map((rendition) => [rendition.width, rendition]));
  return [...widths.values()].map((r) => `${address(r.object)} ${r.width}w`).join(", ");
}

// ---------------------------------------------------------------- cells

const grid = byId("grid");
const cells = new Map(); // photo id → Cell

class Cell {
  constructor(photoId) {
    this.photoId = photoId;
    this.photo = null;
    this.element = byId("cell-template").content.firstElementChild.cloneNode(true);
    const part = (name) => this.element.querySelector(name);
    this.button = part(".open");
    this.image = part("img");
    this.veil = part(".veil");
    this.note = part(".note");
    part(".name").textContent = photoId;
    this.element.title = photoId;
    this.element.cell = this;
    this.button.addEventListener("click", () => ladderView.open(this));
    this.image.addEventListener("load", () => this.button.classList.add("shown"));
    this.image.addEventListener("error", () => this.element.classList.add("failed"));
  }

  update(photo) {
    const before = this.photo;
    this.photo = photo;
    const same = before?.status === photo.status && before.reason === photo.reason &&
      before.message === photo.message && before.manifest?.commit_id === photo.manifest?.commit_id;
    if (same) return;
    const status = photo.status === "ready" && photo.manifest?.renditions.length ? "ready"
      : photo.status === "rejected" ? "rejected" : "waiting";
    if (before === null || this.status !== status) this.place(status);
    this.status = status;
    this.element.className = `cell ${status}`;
    this.button.hidden = status !== "ready";
    this.note.hidden = status !== "rejected";
    if (status === "ready") this.showPhoto(photo.manifest);
    if (status === "rejected") {
      this.note.querySelector(".reason").textContent = photo.reason ?? "rejected";
      this.note.querySelector(".message").textContent = photo.message ?? "";
      this.element.style.removeProperty("--ratio");
    }
  }

  /** Finished photos queue up before the waiting ones: what is on show already stays put. */
  place(status) {
    const before = status === "waiting" ? null : grid.querySelector(":scope > .waiting");
    grid.insertBefore(this.element, before === this.element ? before.nextSibling : before);
  }

  showPhoto(manifest) {
    this.ladder = ladderOf(manifest);
    const largest = this.ladder.at(-1);
    this.ratio = largest.width / largest.height;
    this.placeholderUrl = thumbhashUrl(manifest.placeholder?.thumbhash ?? "");
    // A ribbon of a panorama would leave nothing to see: beyond 4:1 the cell crops.
    this.element.style.setProperty("--ratio", Math.min(4, Math.max(0.45, this.ratio)).toFixed(4));
    paint(this.veil, manifest.placeholder?.color, this.placeholderUrl);
    this.button.classList.remove("shown");
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
    ladderView.forget(this);
    this.element.remove();
    cells.delete(this.photoId);
  }
}

const widths = new ResizeObserver((entries) => {
  for (const entry of entries) entry.target.cell.fit(entry.contentRect.width);
});

// ---------------------------------------------------------------- ladder view

const ladderView = {
  dialog: byId("ladder"),
  cell: null,
  image: null,

  open(cell) {
    this.show(cell);
    this.dialog.showModal();
  },

  show(cell) {
    this.cell = cell;
    const { photo, ladder } = cell;
    const manifest = photo.manifest;
    const ready = this.readyCells();
    this.dialog.classList.toggle("alone", ready.length < 2);
    this.dialog.style.setProperty("--ratio", cell.ratio.toFixed(4));
    const file = photo.photo_id.lastIndexOf("/") + 1;
    const folder = text("span", photo.photo_id.slice(0, file));
    folder.className = "folder";
    byId("ladder-name").replaceChildren(folder, photo.photo_id.slice(file));
    const rejection = manifest.rejection;
    byId("ladder-rejection").hidden = !rejection;
    byId("ladder-rejection").textContent = rejection
      ? `A newer version was rejected: ${rejection.reason}. ${rejection.message ?? ""}` : "";
    this.showSheet();
    this.showRungs();
    this.showRows(ladder);
    this.showOriginal(photo, ladder);
    this.showPlaceholder(manifest.placeholder);
    const labels = Object.entries(manifest.labels ?? {});
    byId("labels-part").hidden = labels.length === 0;
    byId("labels").replaceChildren(...labels.map(([name, value]) => {
      const key = text("b", name);
      const item = text("li", "");
      item.append(key, value);
      return item;
    }));
    this.choose(null);
  },

  /** A new element a photo: the last photo must not stand in while the next one loads. */
  showSheet() {
    const { cell } = this;
    const largest = cell.ladder.at(-1);
    const sheet = text("div", "");
    sheet.className = "sheet";
    const image = document.createElement("img");
    image.alt = cell.photoId;
    image.width = largest.width;
    image.height = largest.height;
    image.decoding = "async";
    image.addEventListener("load", () => {
      sheet.classList.add("shown");
      if (this.image === image) this.tell();
    });
    const veil = text("span", "");
    veil.className = "veil";
    paint(veil, cell.photo.manifest.placeholder?.color, cell.placeholderUrl);
    sheet.append(image, veil);
    byId("frame").replaceChildren(sheet);
    this.image = image;
  },

  showRungs() {
    const choices = [null, ...this.cell.ladder];
    byId("rungs").replaceChildren(...choices.map((rendition) => {
      const button = text("button", rendition ? rendition.rung : "Auto");
      button.type = "button";
      button.rendition = rendition;
      button.addEventListener("click", () => this.choose(rendition));
      return button;
    }));
  },

  /** Show one rung of the ladder, or with null the one that the browser picks for this screen. */
  choose(rendition) {
    for (const button of byId("rungs").children) {
      button.setAttribute("aria-pressed", String(button.rendition === rendition));
    }
    this.chosen = rendition;
    byId("showing").textContent = "Loading…";
    if (rendition) {
      this.image.removeAttribute("srcset");
      this.image.src = address(rendition.object);
    } else {
      this.image.sizes = "100vw";
      this.image.srcset = srcsetOf(this.cell.ladder);
      this.image.src = address(this.cell.ladder[0].object);
    }
  },

  /** Say which rung is on show: with "Auto" only the browser knows, once it has loaded. */
  tell() {
    const path = new URL(this.image.currentSrc).pathname;
    const shown = this.chosen ?? this.cell.ladder.findLast((r) => address(r.object) === path);
    if (!shown || address(shown.object) !== path) return;
    for (const row of byId("rows").children) {
      if (row.rendition === shown) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    const drawn = Math.round(this.image.getBoundingClientRect().width * devicePixelRatio);
    byId("showing").textContent =
      `Rung ${shown.rung}, ${humanBytes(shown.bytes)}, drawn at ${number.format((100 * drawn) / shown.width)} %`;
  },

  showRows(ladder) {
    const most = Math.max(...ladder.map((rendition) => rendition.bytes));
    byId("rows").replaceChildren(...ladder.map((rendition) => {
      const row = byId("row-template").content.firstElementChild.cloneNode(true);
      row.rendition = rendition;
      row.querySelector("th").textContent = rendition.rung;
      row.querySelector(".pixels").textContent = pixels(rendition.width, rendition.height);
      row.querySelector(".value").textContent = humanBytes(rendition.bytes);
      row.querySelector(".bar").style.setProperty("--share", (rendition.bytes / most).toFixed(4));
      const link = row.querySelector("a");
      link.href = address(rendition.object);
      link.setAttribute("aria-label", `Open rung ${rendition.rung}`);
      return row;
    }));
  },

  showOriginal(photo, ladder) {
    const original = photo.manifest.original ?? {};
    const sum = ladder.reduce((total, rendition) => total + rendition.bytes, 0);
    const facts = [
      ["Format", original.format],
      ["Dimensions", original.width && `${pixels(original.width, original.height)} px`],
      ["Size", original.bytes && humanBytes(original.bytes)],
      ["Whole ladder", humanBytes(sum)],
      ["Taken", original.taken_at && original.taken_at.replace("T", " ")],
      ["Rendered in", photo.seconds !== null && `${number.format(photo.seconds)} s`],
    ];
    byId("original").replaceChildren(...facts.filter(([, fact]) => fact)
      .flatMap(([name, fact]) => [text("dt", name), text("dd", fact)]));
  },

  showPlaceholder(placeholder) {
    const ratio = Math.min(2.5, Math.max(0.6, this.cell.ratio)).toFixed(4);
    for (const swatch of [byId("swatch-color"), byId("swatch-hash")]) {
      swatch.style.setProperty("--ratio", ratio);
    }
    paint(byId("swatch-color"), placeholder?.color, null);
    paint(byId("swatch-hash"), null, this.cell.placeholderUrl);
    byId("text-color").textContent = placeholder?.color ?? "";
    byId("text-hash").textContent = placeholder?.thumbhash ?? "";
  },

  readyCells: () => [...grid.querySelectorAll(":scope > .ready")].map((element) => element.cell),

  step(by) {
    const ready = this.readyCells();
    const to = ready[(ready.indexOf(this.cell) + by + ready.length) % ready.length];
    if (to && to !== this.cell) this.show(to);
  },

  forget(cell) {
    if (this.dialog.open && this.cell === cell) this.dialog.close();
  },
};

function text(tag, words) {
  const element = document.createElement(tag);
  element.textContent = words;
  return element;
}

byId("close").addEventListener("click", () => ladderView.dialog.close());
byId("previous").addEventListener("click", () => ladderView.step(-1));
byId("next").addEventListener("click", () => ladderView.step(1));
ladderView.dialog.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  ladderView.step(by);
});
ladderView.dialog.addEventListener("close", () => {
  byId("frame").replaceChildren();
  // The photo last looked at, which need not be the one that was opened.
  ladderView.cell?.button.focus();
  ladderView.cell?.element.scrollIntoView({ block: "nearest" });
});

// ---------------------------------------------------------------- the snapshot

function showHeader(state) {
  const count = (status) => state.photos.filter((photo) => photo.status === status).length;
  document.title = byId("title").textContent = state.title;
  byId("broker").hidden = !state.broker;
  byId("broker").textContent = state.broker;
  for (const item of document.querySelectorAll("[data-count]")) {
    const photos = count(item.dataset.count);
    item.querySelector("b").textContent = photos;
    item.classList.toggle("none", photos === 0);
  }
  // Only finished photos on both sides: a saving against originals still waiting would flatter.
  const finished = state.photos.filter((photo) => photo.status === "ready" && photo.bytes_out !== null);
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
  byId("progress").max = Math.max(1, state.photos.length);
  byId("progress").value = state.photos.length - count("waiting");
  byId("empty").hidden = state.photos.length > 0;
  document.body.classList.toggle("done", state.done);
}

function showPhotos(photos) {
  const present = new Set();
  for (const photo of photos) {
    if (photo.status === "deregistered") continue;
    present.add(photo.photo_id);
    if (!cells.has(photo.photo_id)) cells.set(photo.photo_id, new Cell(photo.photo_id));
    cells.get(photo.photo_id).update(photo);
  }
  for (const cell of [...cells.values()]) {
    if (!present.has(cell.photoId)) cell.remove();
  }
}

function showState(words, offline) {
  document.body.classList.toggle("offline", offline);
  // A status line speaks when it changes: writing the same words again would repeat them aloud.
  if (byId("state").textContent !== words) byId("state").textContent = words;
}

let timer = 0;

async function poll() {
  clearTimeout(timer);
  let pause = OFFLINE_MILLISECONDS;
  try {
    const answer = await fetch("/photos.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`photos.json: ${answer.status}`);
    const state = await answer.json();
    showHeader(state);
    showPhotos(state.photos);
    showState(state.done ? "Done" : "", false);
    pause = state.done ? DONE_MILLISECONDS : LIVE_MILLISECONDS;
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
