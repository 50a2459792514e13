"use strict";

const MASK = "image/png";
const byId = (id) => document.getElementById(id);
const video = byId("video");
const sides = ["a", "b"];

const state = {
  models: new Map(), // by name, as GET /v1/models lists them
  token: "",
  frame: null, // canvas with the pixels that were sent
  upload: null, // Blob of the same
  name: "image",
  results: {}, // by side: { model, mask, times, url of the mask }
  hidden: new Set(), // names of classes
  live: false, // a video or the camera runs
  turn: 0, // counts inputs, so that an answer to an earlier one is dropped
};

function say(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) byId("token-form").hidden = false;
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw Object.assign(new Error(body.error || `status ${response.status}`), { status: response.status });
  }
  return response;
}

async function loadModels() {
  try {
    const { models } = await (await ask("/v1/models")).json();
    byId("token-form").hidden = true;
    state.models = new Map(models.map((model) => [model.name, model]));
    fillSelect("model-a", [...state.models.keys()]);
    fillSelect("model-b", ["none", ...state.models.keys()]);
    byId("model-b").closest(".row").hidden = models.length < 2;
    const wide = models.filter((model) => model.classes.length > 256).map((model) => model.name);
    if (wide.length) say(`${wide.join(", ")}: more than 256 classes, which this page cannot show; use the API.`);
  } catch (error) {
    say(error.message, true);
  }
}

function fillSelect(id, names) {
  byId(id).replaceChildren(...names.map((name) => new Option(name === "none" ? "nothing" : name, name === "none" ? "" : name)));
}

function chosen(side) {
  return byId(`model-${side}`).value;
}

// ---- input

async function openFile(file) {
  stopLive();
  state.name = file.name.replace(/\.[^.]*$/, "") || "image";
  if (file.type.startsWith("video/")) {
    video.src = URL.createObjectURL(file);
    video.loop = true;
    await startLive();
    return;
  }
  state.upload = file;
  state.frame = await pixels(file).catch(() => null); // a TIFF is segmented, but no browser draws it
  await segment();
}

async function pixels(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

async function toggleCamera() {
  if (video.srcObject) {
    stopLive();
    say("The camera is off.");
    return;
  }
  stopLive();
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say(`The camera cannot be used (${error.name}); allow it for this page, which needs https or localhost.`, true);
    return;
  }
  state.name = "camera";
  byId("camera").setAttribute("aria-pressed", "true");
  await startLive();
}

async function startLive() {
  try {
    await video.play();
  } catch (error) {
    say(`The video cannot be played (${error.name}); choose one that this browser plays, such as MP4 with H.264.`, true);
    return;
  }
  state.live = true;
  byId("pause").hidden = false;
  byId("pause").setAttribute("aria-pressed", "false");
  liveLoop(++state.turn);
}

function stopLive() {
  state.live = false;
  state.turn++;
  video.pause();
  if (video.srcObject) video.srcObject.getTracks().forEach((track) => track.stop());
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
  byId("pause").hidden = true;
  byId("camera").setAttribute("aria-pressed", "false");
}

async function liveLoop(turn) {
  while (state.live && turn === state.turn) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    if (turn !== state.turn) return;
    state.frame = canvas;
    state.upload = blob;
    if (!(await segment(turn))) await new Promise((done) => setTimeout(done, 1000));
    await new Promise(requestAnimationFrame);
  }
}

function togglePause() {
  const paused = state.live;
  state.live = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    video.pause();
  } else {
    video.play();
    liveLoop(++state.turn);
  }
}

// ---- segmentation

async function segment(turn = ++state.turn) {
  if (!state.upload) return false;
  if (!state.live) say("Segmenting ...");
  try {
    const wanted = sides.filter((side) => chosen(side));
    const found = await Promise.all(wanted.map((side) => resultOf(chosen(side))));
    if (turn !== state.turn) return false;
    state.results = Object.fromEntries(wanted.map((side, i) => [side, found[i]]));
  } catch (error) {
    if (turn === state.turn) {
      state.results = state.live ? state.results : {};
      draw();
      say(error.message, true);
    }
    return false;
  }
  draw();
  const { width, height } = state.results.a.mask;
  say(`${state.name}, ${width} x ${height} pixels`);
  return true;
}

function segmentPath(model) {
  return `/v1/models/${encodeURIComponent(model)}:segment`;
}

function upload(model, form) {
  const type = state.upload.type.startsWith("image/") ? state.upload.type : "application/octet-stream";
  return ask(segmentPath(model), { method: "POST", body: state.upload, headers: { Accept: form, "Content-Type": type } });
}

async function resultOf(model) {
  const response = await upload(model, MASK);
  const times = Object.fromEntries(
    [...(response.headers.get("Server-Timing") || "").matchAll(/(\w+);dur=([\d.]+)/g)].map((m) => [m[1], Number(m[2])]),
  );
  const blob = await response.blob();
  const canvas = await pixels(blob);
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const ids = new Uint8Array(width * height);
  const counts = new Array(256).fill(0);
  for (let i = 0; i < ids.length; i++) counts[(ids[i] = data[4 * i])]++;
  return { model, times, blob, mask: { ids, width, height, counts } };
}

// ---- drawing

function draw() {
  for (const side of sides) drawView(side);
  drawDifference();
  drawLegend();
}

function drawView(side) {
  const view = byId(`view-${side}`);
  const result = state.results[side];
  view.hidden = !result;
  if (!result) return;
  const canvas = view.querySelector("canvas");
  const { ids, width, height } = result.mask;
  const picture = background(canvas, width, height);
  const { classes } = state.models.get(result.model);
  const opacity = byId("opacity").value / 100;
  const colors = classes.map((c) => (state.hidden.has(c.name) ? null : c.color));
  for (let i = 0; i < ids.length; i++) {
    const color = colors[ids[i]];
    if (!color) continue;
    for (let k = 0; k < 3; k++) picture.data[4 * i + k] += opacity * (color[k] - picture.data[4 * i + k]);
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  canvas.setAttribute("aria-label", `${state.name} with the classes of ${result.model}`);
  view.querySelector(".name").textContent = result.model;
  const steps = ["pre", "network", "post"].map((step) => `${step} ${(result.times[step] ?? 0).toFixed(1)}`);
  view.querySelector(".times").textContent = `${steps.join(" · ")} ms`;
}

// The pixels of the input at the mask's size, which differ where EXIF or a video changed the size meanwhile.
function background(canvas, width, height) {
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (state.frame) context.drawImage(state.frame, 0, 0, width, height);
  const picture = context.getImageData(0, 0, width, height);
  if (!state.frame) for (let i = 3; i < picture.data.length; i += 4) picture.data[i] = 255;
  return picture;
}

function drawDifference() {
  const view = byId("difference");
  const { a, b } = state.results;
  view.hidden = !a || !b;
  if (view.hidden) return;
  const canvas = view.querySelector("canvas");
  const { ids, width, height } = a.mask;
  const picture = background(canvas, width, height);
  const meaning = sameClass(a.model, b.model);
  let differing = 0;
  for (let i = 0; i < ids.length; i++) {
    const differs = meaning[ids[i]] !== b.mask.ids[i];
    differing += differs;
    const grey = (picture.data[4 * i] + picture.data[4 * i + 1] + picture.data[4 * i + 2]) / 6;
    for (let k = 0; k < 3; k++) picture.data[4 * i + k] = differs ? [255, 64, 200][k] : grey;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  const share = ((100 * differing) / ids.length).toFixed(2);
  canvas.setAttribute("aria-label", `Pixels where ${a.model} and ${b.model} differ`);
  view.querySelector(".times").textContent = `${differing} of ${ids.length} (${share} %)`;
}

// For each class id of one model, the id of the class of that name in the other.
function sameClass(a, b) {
  const other = new Map(state.models.get(b).classes.map((c) => [c.name, c.id]));
  return state.models.get(a).classes.map((c) => other.get(c.name));
}

function drawLegend() {
  const shown = sides.filter((side) => state.results[side]);
  byId("legend").hidden = !shown.length;
  const rows = new Map();
  for (const side of shown) {
    const { model, mask } = state.results[side];
    for (const { id, name, color } of state.models.get(model).classes) {
      const row = rows.get(name) || { name, color, areas: {} };
      row.areas[side] = mask.counts[id] / mask.ids.length;
      rows.set(name, row);
    }
  }
  const key = [...rows.keys()].join("\n");
  if (byId("classes").dataset.key !== key) buildLegend(rows, key);
  for (const label of byId("classes").children) {
    const { areas } = rows.get(label.dataset.name);
    const texts = shown.map((side) => `${(100 * (areas[side] ?? 0)).toFixed(1).padStart(5, "\u2007")} %`);
    label.querySelector(".area").textContent = texts.join("  ");
  }
}

function buildLegend(rows, key) {
  byId("classes").dataset.key = key;
  byId("classes").replaceChildren(...[...rows.values()].map(legendRow));
}

function legendRow({ name, color }) {
  const label = document.createElement("label");
  label.dataset.name = name;
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !state.hidden.has(name) });
  box.addEventListener("change", () => {
    state.hidden[box.checked ? "delete" : "add"](name);
    draw();
  });
  const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
  swatch.style.background = `rgb(${color.join(" ")})`;
  const text = Object.assign(document.createElement("span"), { textContent: name });
  label.append(box, swatch, text, Object.assign(document.createElement("span"), { className: "area" }));
  return label;
}

// ---- downloads

async function download(side, form) {
  const result = state.results[side];
  if (!result) return;
  try {
    const blob = form === MASK ? result.blob : await (await upload(result.model, form)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${state.name}-${result.model}.${form === MASK ? "png" : "json"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    say(error.message, true);
  }
}

// ---- events

byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // so that the same file can be chosen again
  if (file) openFile(file);
});
byId("camera").addEventListener("click", toggleCamera);
byId("pause").addEventListener("click", togglePause);
byId("opacity").addEventListener("input", () => {
  byId("opacity-value").textContent = `${byId("opacity").value} %`;
  draw();
});
for (const side of sides) {
  byId(`model-${side}`).addEventListener("change", () => state.live || segment());
  byId(`view-${side}`)
    .querySelectorAll("[data-form]")
    .forEach((button) => button.addEventListener("click", () => download(side, button.dataset.form)));
}
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = byId("token").value.trim();
  loadModels();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const [file] = event.dataTransfer.files;
  if (file) openFile(file);
});

loadModels();
