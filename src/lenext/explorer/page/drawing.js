// Elements, numbers as text, and maps as pictures.
"use strict";

const byId = (id) => document.getElementById(id);

// Makes an element: make("button", { class: "x", onclick: f }, "text", child, ...).
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// A number to four places, and a tiny one with its power of ten.
function format(value) {
  if (value === 0) return "0";
  return Math.abs(value) < 0.001 ? value.toExponential(2) : value.toFixed(4);
}

const percent = (share) => `${(100 * share).toFixed(share > 0.995 || share < 0.005 ? 2 : 1)} %`;
const shapeText = (shape) => shape.join(" × ");
const largestOf = (data) => data.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) || 1;

// The colours of numbers: from the background to blue for positive ones, to orange for negative ones.
let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).split(",").map(Number);
  colours = { zero: read("--zero"), positive: read("--positive"), negative: read("--negative"), gap: read("--gap") };
}

function paint(target, at, share) {
  const end = share < 0 ? colours.negative : colours.positive, amount = Math.min(Math.abs(share), 1) ** 0.8;
  for (let k = 0; k < 3; k++) target[at + k] = colours.zero[k] + (end[k] - colours.zero[k]) * amount;
  target[at + 3] = 255;
}

// How the channels of a tensor lie on a picture: tiles of height x width, with a gap of one pixel between maps.
function layoutOf(shape, columns) {
  const [channels, height = 1, width = 1] = shape, gap = height * width > 1 ? 1 : 0;
  return { channels, height, width, gap, columns: Math.min(columns, channels), rows: Math.ceil(channels / columns) };
}

// Draws channels side by side, all on one scale; `count` of them. A canvas pixel is a number.
function drawMaps(canvas, tensor, columns, count = tensor.shape[0], largest = largestOf(tensor.data)) {
  const layout = layoutOf([count, ...tensor.shape.slice(1)], columns), { height, width, gap } = layout;
  canvas.width = layout.columns * (width + gap) - gap;
  canvas.height = layout.rows * (height + gap) - gap;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  const [r, g, b] = colours.gap;
  if (gap) new Uint32Array(image.data.buffer).fill(((255 << 24) | (b << 16) | (g << 8) | r) >>> 0);
  for (let c = 0; c < count; c++) {
    const left = (c % layout.columns) * (width + gap), top = Math.floor(c / layout.columns) * (height + gap);
    for (let p = 0; p < height * width; p++) {
      const x = left + (p % width), y = top + Math.floor(p / width);
      paint(image.data, 4 * (y * canvas.width + x), tensor.data[c * height * width + p] / largest);
    }
  }
  context.putImageData(image, 0, 0);
  return layout;
}

// Draws pixels (1 or 3 channels, 0 to 255) as they look.
function drawPixels(canvas, pixels) {
  const [channels, height, width] = pixels.shape, plane = height * width;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let p = 0; p < plane; p++) {
    for (let k = 0; k < 3; k++) image.data[4 * p + k] = pixels.data[(channels === 1 ? 0 : k) * plane + p];
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// Draws a heat map (height x width) over the image: transparent where it is low.
function drawHeat(canvas, heat, height, width) {
  const largest = largestOf(heat), context = canvas.getContext("2d");
  canvas.width = width;
  canvas.height = height;
  const image = context.createImageData(width, height);
  heat.forEach((value, at) => {
    const share = value / largest;
    image.data.set(share >= 0 ? [255, 40, 120, 235 * share] : [40, 200, 80, -235 * share], 4 * at);
  });
  context.putImageData(image, 0, 0);
}

// Random numbers of a normal distribution, the same in every page.
function normals(count, seed = 1) {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 4294967297;
  };
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}
