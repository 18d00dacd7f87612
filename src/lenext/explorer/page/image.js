// From an image to the network's input, as training did it: the steps of lenext's `Preprocessing`.
//
// Pixels are {shape: [channels, height, width], data}, of 0 to 255.
"use strict";

// The triangle filter along one axis: for each output pixel its first input pixel, and the weights from there on.
// `low` to `high` is the part of the axis that is kept. Sums and roundings are those of Pillow.
function filterOf(length, outputs, low, high, bits = 22) {
  const scale = Math.fround(high - low) / outputs, wide = Math.max(scale, 1);
  return Array.from({ length: outputs }, (_, o) => {
    const centre = low + (o + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - wide + 0.5), 0), last = Math.min(Math.trunc(centre + wide + 0.5), length);
    let weights = [];
    for (let k = first; k < last; k++) weights.push(Math.max(0, 1 - Math.abs((k - centre + 0.5) * (1 / wide))));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    weights = weights.map((weight) => weight * (1 / sum));
    return [first, bits ? weights.map((weight) => Math.floor(weight * 2 ** bits + 0.5)) : weights];
  });
}

// Applies a filter along an axis (1: rows, 2: columns); rounded to 8 bits where its weights are whole.
function filtered(pixels, axis, filter, bits = 22) {
  const [channels, height, width] = pixels.shape, unit = 2 ** bits;
  const shape = axis === 1 ? [channels, filter.length, width] : [channels, height, filter.length];
  const result = { shape, data: new (bits ? Uint8ClampedArray : Float32Array)(shape[0] * shape[1] * shape[2]) };
  const step = axis === 1 ? width : 1;
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < shape[1]; y++) {
      for (let x = 0; x < shape[2]; x++) {
        const [first, weights] = filter[axis === 1 ? y : x];
        const start = (c * height + (axis === 1 ? first : y)) * width + (axis === 1 ? x : first);
        let sum = bits ? unit / 2 : 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * pixels.data[start + k * step];
        result.data[at++] = bits ? Math.floor(sum / unit) : sum;
      }
    }
  }
  return result;
}

// Resizes a part of an image; an axis that keeps its pixels is left alone.
function resample(pixels, height, width, [left, right], [top, bottom]) {
  const [, oldHeight, oldWidth] = pixels.shape, round = Math.fround;
  if (width !== oldWidth || left !== 0 || right !== oldWidth) {
    pixels = filtered(pixels, 2, filterOf(oldWidth, width, round(left), round(right)));
  }
  if (height !== oldHeight || top !== 0 || bottom !== oldHeight) {
    pixels = filtered(pixels, 1, filterOf(oldHeight, height, round(top), round(bottom)));
  }
  return pixels;
}

// Brings a decoded image to the size of the stored pixels: its centre scaled to cover it, or all of it, on black.
function fitted(pixels, [height, width], fit) {
  const [channels, oldHeight, oldWidth] = pixels.shape;
  if (fit === "crop") {
    const cropWidth = Math.min(oldWidth, oldHeight * (width / height)), cropHeight = Math.min(oldHeight, oldWidth * (height / width));
    const left = (oldWidth - cropWidth) / 2, top = (oldHeight - cropHeight) / 2;
    return resample(pixels, height, width, [left, left + cropWidth], [top, top + cropHeight]);
  }
  let inner = [oldHeight, oldWidth];
  if (oldHeight > height || oldWidth > width) {
    inner = height * oldWidth <= width * oldHeight
      ? [height, Math.max(1, Math.floor((2 * height * oldWidth + oldHeight) / (2 * oldHeight)))]
      : [Math.max(1, Math.floor((2 * width * oldHeight + oldWidth) / (2 * oldWidth))), width];
  }
  const small = resample(pixels, ...inner, [0, oldWidth], [0, oldHeight]);
  return placed(small, [height, width], Uint8ClampedArray, channels);
}

// Puts an image into the middle of a larger black one, or takes the middle of it.
function placed(pixels, [height, width], Type = Float32Array, channels = pixels.shape[0]) {
  const [, oldHeight, oldWidth] = pixels.shape, result = { shape: [channels, height, width], data: new Type(channels * height * width) };
  const shift = (outer, inner) => (outer >= inner ? Math.floor((outer - inner) / 2) : -Math.floor((inner - outer) / 2));
  const top = shift(height, oldHeight), left = shift(width, oldWidth);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const oy = y - top, ox = x - left;
        if (oy < 0 || oy >= oldHeight || ox < 0 || ox >= oldWidth) continue;
        result.data[(c * height + y) * width + x] = pixels.data[(c * oldHeight + oy) * oldWidth + ox];
      }
    }
  }
  return result;
}

// Converts stored pixels to the network's input.
function prepared(pixels, settings) {
  const [height, width] = settings.imageSize, [, oldHeight, oldWidth] = pixels.shape;
  let image = pixels;
  if (height !== oldHeight || width !== oldWidth) {
    if (settings.resize === "interpolate") {
      image = filtered(image, 2, filterOf(oldWidth, width, 0, oldWidth, 0), 0);
      image = filtered(image, 1, filterOf(oldHeight, height, 0, oldHeight, 0), 0);
    } else image = placed(image, [height, width]);
  }
  const plane = height * width, channels = settings.networkChannels, data = new Float32Array(channels * plane);
  for (let c = 0; c < channels; c++) {
    const from = channels > pixels.shape[0] ? 0 : c; // a grey image is repeated
    const own = Math.min(c, settings.scale.length - 1), scale = settings.scale[own], shift = settings.shift[own];
    for (let p = 0; p < plane; p++) data[c * plane + p] = image.data[from * plane + p] * scale + shift;
  }
  return { shape: [channels, height, width], data };
}

// Converts a canvas's RGBA to pixels: transparent ones on white, grey as Pillow weighs it.
function fromCanvas({ data, width, height }, channels) {
  const plane = width * height, pixels = { shape: [channels, height, width], data: new Uint8ClampedArray(channels * plane) };
  for (let p = 0; p < plane; p++) {
    const alpha = data[4 * p + 3], onWhite = (value) => (alpha === 255 ? value : Math.round((value * alpha + 255 * (255 - alpha)) / 255));
    const r = onWhite(data[4 * p]), g = onWhite(data[4 * p + 1]), b = onWhite(data[4 * p + 2]);
    if (channels === 1) pixels.data[p] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
    else { pixels.data[p] = r; pixels.data[plane + p] = g; pixels.data[2 * plane + p] = b; }
  }
  return pixels;
}

// Centres a drawn digit as MNIST has it: ink (0 to 255) in a box of 20 of 28 parts, its centre of mass in the middle.
function centredInk(ink) {
  const [, height, width] = ink.shape;
  let left = width, right = -1, top = height, bottom = -1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink.data[y * width + x] < 51) continue; // paler than a fifth is paper
      left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
    }
  }
  if (right < 0) return ink;
  const box = (Math.min(height, width) * 20) / 28, scale = box / Math.max(right - left + 1, bottom - top + 1);
  const inner = [Math.max(1, Math.round((bottom - top + 1) * scale)), Math.max(1, Math.round((right - left + 1) * scale))];
  const small = resample(ink, ...inner, [left, right + 1], [top, bottom + 1]);
  let sum = 0, sumX = 0, sumY = 0;
  small.data.forEach((value, at) => { sum += value; sumX += value * (at % inner[1]); sumY += value * Math.floor(at / inner[1]); });
  const start = (outer, length, middle) => Math.min(Math.max(Math.round((outer - 1) / 2 - middle), 0), Math.max(outer - length, 0));
  const topAt = start(height, inner[0], sumY / sum), leftAt = start(width, inner[1], sumX / sum);
  const result = { shape: ink.shape, data: new Uint8ClampedArray(height * width) };
  for (let y = 0; y < inner[0]; y++) {
    for (let x = 0; x < inner[1]; x++) {
      const to = (y + topAt) * width + x + leftAt;
      if (y + topAt < height && x + leftAt < width) result.data[to] = small.data[y * inner[1] + x];
    }
  }
  return result;
}
