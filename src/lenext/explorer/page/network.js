// A convolutional network in plain JavaScript: every operation forward, backward, and explained number by number.
// Start with class Network at the end: run() is the forward pass, gradient() the backward pass.
// A tensor is {shape, data}: shape [channels, height, width] or [length], data a Float32Array in that order.
// An operation has: kind, inputs (which values it takes: value 0 is the image, operation p makes value p + 1),
// shape (of its result), and its weights and settings by name.
//
// Each kind below has
//   forward(op, inputs, out)             fills out.data
//   backward(op, inputs, out, gradient)  returns the gradients of the inputs, given that of the result (nothing is
//                                        trained here, so weights get no gradients)
//   explain(op, inputs, out, at)         says how the number at position `at` of the result came about:
//                                        {rule, terms: [{input, at, factor}], ...}; a term is one input number
"use strict";

const size = (shape) => shape.reduce((product, length) => product * length, 1);
const zeros = (shape) => ({ shape, data: new Float32Array(size(shape)) });
const planeOf = (shape) => size(shape.slice(1)); // how many numbers a channel has

// Activations: the function, and its derivative at x where the function gave y.
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const normalDensity = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
function erf(x) { // to 1e-12: a series near zero, a continued fraction farther out
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a, sum = a;
    for (let n = 1; n < 80 && Math.abs(term) > 1e-17; n++) { term *= (-a * a) / n; sum += term / (2 * n + 1); }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}
const normalShare = (x) => (1 + erf(x / Math.SQRT2)) / 2;
const geluTanh = (x) => Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x));
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const activations = {
  relu: [(x) => (x > 0 ? x : 0), (x) => (x > 0 ? 1 : 0)], relu6: [(x) => clamp(x, 0, 6), (x) => (x > 0 && x < 6 ? 1 : 0)],
  tanh: [Math.tanh, (x, y) => 1 - y * y], sigmoid: [sigmoid, (x, y) => y * (1 - y)],
  silu: [(x) => x * sigmoid(x), (x, y) => sigmoid(x) * (1 + x - y)],
  gelu: [(x) => x * normalShare(x), (x) => normalShare(x) + x * normalDensity(x)],
  gelu_tanh: [(x) => (x * (1 + geluTanh(x))) / 2,
    (x) => (1 + geluTanh(x)) / 2 + (x * (1 - geluTanh(x) ** 2) * Math.sqrt(2 / Math.PI) * (1 + 0.134145 * x * x)) / 2],
  leaky_relu: [(x, a) => (x > 0 ? x : a * x), (x, y, a) => (x > 0 ? 1 : a)], elu: [(x, a) => (x > 0 ? x : a * Math.expm1(x)), (x, y, a) => (x > 0 ? 1 : y + a)],
  hardsigmoid: [(x) => clamp(x / 6 + 0.5, 0, 1), (x) => (x > -3 && x < 3 ? 1 / 6 : 0)],
  hardswish: [(x) => x * clamp(x / 6 + 0.5, 0, 1), (x) => (x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5)],
};

// The taps of a convolution: taps[k * places + p] is the position of the input number that weight k of a kernel meets at
// output place p, in the first group of channels; -1 beyond the border, where the input counts as 0.
const knownTaps = new WeakMap();
function tapsOf(op, [, height = 1, width = 1]) {
  if (knownTaps.has(op)) return knownTaps.get(op);
  const [, outHeight = 1, outWidth = 1] = op.shape, [, channels, kernelHeight = 1, kernelWidth = 1] = op.weight.shape;
  const taps = new Int32Array(channels * kernelHeight * kernelWidth * outHeight * outWidth);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < kernelHeight; i++) {
      for (let j = 0; j < kernelWidth; j++) {
        for (let oy = 0; oy < outHeight; oy++) {
          const y = oy * op.stride[0] - op.padding[0] + i * op.dilation[0];
          for (let ox = 0; ox < outWidth; ox++) {
            const x = ox * op.stride[1] - op.padding[1] + j * op.dilation[1];
            taps[at++] = y >= 0 && y < height && x >= 0 && x < width ? (c * height + y) * width + x : -1;
          }
        }
      }
    }
  }
  return knownTaps.set(op, taps).get(op);
}

// Mean and 1 / standard deviation: of all channels at one place (step = plane), or of a group of channels (step = 1).
function moments(data, start, count, step, eps) {
  let sum = 0, squares = 0;
  for (let k = 0; k < count; k++) sum += data[start + k * step];
  const mean = sum / count;
  for (let k = 0; k < count; k++) squares += (data[start + k * step] - mean) ** 2;
  return [mean, 1 / Math.sqrt(squares / count + eps)];
}

// The sets of numbers that a norm takes together, each as [start, count, step, channel of its k-th number].
function normSets(op, input) {
  const plane = planeOf(input.shape), channels = input.shape[0];
  if (op.kind === "layer_norm") return Array.from({ length: plane }, (_, place) => [place, channels, plane, (k) => k]);
  const count = (channels / op.groups) * plane;
  return Array.from({ length: op.groups }, (_, g) => [g * count, count, 1, (k) => Math.floor((g * count + k) / plane)]);
}

// A norm's weight may be one for each channel, or one for each number.
const normWeight = (tensor, at, channel, fallback) => (tensor ? tensor.data[tensor.shape.length > 1 ? at : channel] : fallback);

const norm = {
  forward(op, [input], out) {
    for (const [start, count, step, channel] of normSets(op, input)) {
      const [mean, inverse] = moments(input.data, start, count, step, op.eps);
      for (let k = 0; k < count; k++) {
        const at = start + k * step, c = channel(k);
        out.data[at] = (input.data[at] - mean) * inverse * normWeight(op.weight, at, c, 1) + normWeight(op.bias, at, c, 0);
      }
    }
  },
  backward(op, [input], out, gradient) {
    const result = zeros(input.shape);
    for (const [start, count, step, channel] of normSets(op, input)) {
      const [mean, inverse] = moments(input.data, start, count, step, op.eps);
      let sum = 0, product = 0;
      const scaled = (k) => gradient.data[start + k * step] * normWeight(op.weight, start + k * step, channel(k), 1);
      const normal = (k) => (input.data[start + k * step] - mean) * inverse;
      for (let k = 0; k < count; k++) { sum += scaled(k); product += scaled(k) * normal(k); }
      for (let k = 0; k < count; k++) {
        result.data[start + k * step] = inverse * (scaled(k) - sum / count - (normal(k) * product) / count);
      }
    }
    return [result];
  },
  explain(op, [input], out, at) {
    const plane = planeOf(input.shape), channel = Math.floor(at / plane);
    const [start, count, step] = normSets(op, input)[op.kind === "layer_norm" ? at % plane : Math.floor(channel / (input.shape[0] / op.groups))];
    const [mean, inverse] = moments(input.data, start, count, step, op.eps);
    const weight = normWeight(op.weight, at, channel, 1), bias = normWeight(op.bias, at, channel, 0);
    return { rule: "norm", terms: [{ input: 0, at, factor: 1 }], mean, deviation: 1 / inverse, weight, bias, count };
  },
};

// Pooling: the input places of an output place, as [rows from, to, columns from, to, number that an average divides by].
function poolWindow(op, input, o) {
  const places = [Math.floor(o / op.shape[2]), o % op.shape[2]]; // row and column
  const edges = places.map((place, axis) => {
    const length = input.shape[axis + 1], outputs = op.shape[axis + 1];
    if (op.kind === "adaptive_pool") return [Math.floor((place * length) / outputs), Math.ceil(((place + 1) * length) / outputs)];
    const start = place * op.stride[axis] - op.padding[axis], end = start + op.kernel[axis];
    return [Math.max(start, 0), Math.min(end, length), Math.min(end, length + op.padding[axis]) - start];
  });
  const count = edges.reduce((product, [from, to, padded]) => product * (op.countPadding ? padded : to - from), 1);
  return [...edges[0].slice(0, 2), ...edges[1].slice(0, 2), count];
}

const pool = {
  // Calls visit(output, an input place of its window, the number that an average divides by); `only`: for this output.
  each(op, input, visit, only = -1) {
    const inputPlane = planeOf(input.shape), plane = planeOf(op.shape), width = input.shape[2];
    for (let o = 0; o < plane; o++) {
      if (only >= 0 && o !== only % plane) continue;
      const [top, bottom, left, right, count] = poolWindow(op, input, o);
      for (let c = 0; c < op.shape[0]; c++) {
        if (only >= 0 && c !== Math.floor(only / plane)) continue;
        for (let y = top; y < bottom; y++) {
          for (let x = left; x < right; x++) visit(c * plane + o, c * inputPlane + y * width + x, count);
        }
      }
    }
  },
  forward(op, [input], out) {
    const isMax = op.mode === "max", from = input.data, to = out.data.fill(isMax ? -Infinity : 0);
    pool.each(op, input, (o, at, count) => {
      if (!isMax) to[o] += from[at] / count;
      else if (from[at] > to[o]) to[o] = from[at];
    });
  },
  backward(op, [input], out, gradient) {
    const result = zeros(input.shape), taken = new Uint8Array(out.data.length); // of equal ones the first gets it
    pool.each(op, input, (o, at, count) => {
      if (op.mode !== "max") result.data[at] += gradient.data[o] / count;
      else if (!taken[o] && input.data[at] === out.data[o]) { result.data[at] += gradient.data[o]; taken[o] = 1; }
    });
    return [result];
  },
  explain(op, [input], out, at) {
    const terms = [], [, , left, right] = poolWindow(op, input, at % planeOf(op.shape));
    pool.each(op, input, (o, place, count) => terms.push({ input: 0, at: place, factor: op.mode === "max" ? 1 : 1 / count }), at);
    return { rule: op.mode, terms, columns: right - left };
  },
};

const operations = {
  convolution: {
    // The rule: out[o, p] = bias[o] + the sum over k of weights[o, k] * columns[k, p]; columns[k, p] is the number that
    // weight k meets at place p. Four output channels (o, q, r, s) and two places at once, only for speed: six numbers
    // are read for eight products. so: where o's weights start; wo: a weight; xo: the sum at p; yo: at the next place.
    forward(op, [input], out) {
      const outputs = op.shape[0] / op.groups, places = planeOf(op.shape), weightCount = size(op.weight.shape.slice(1));
      const taps = tapsOf(op, input.shape), columns = new Float32Array(taps.length), weights = op.weight.data;
      for (let group = 0; group < op.groups; group++) {
        const offset = group * op.weight.shape[1] * planeOf(input.shape), end = (group + 1) * outputs;
        for (let k = 0; k < taps.length; k++) columns[k] = taps[k] < 0 ? 0 : input.data[taps[k] + offset];
        for (let first = group * outputs; first < end; first += 4) {
          const channel = (k) => Math.min(first + k, end - 1), bias = (k) => (op.bias ? op.bias.data[channel(k)] : 0);
          const o = channel(0), q = channel(1), r = channel(2), s = channel(3); // the last one again where fewer are left
          const bo = bias(0), bq = bias(1), br = bias(2), bs = bias(3), so = o * weightCount, sq = q * weightCount, sr = r * weightCount, ss = s * weightCount;
          for (let p = 0; p < places; p += 2) {
            const next = p + 1 < places ? 1 : 0;
            let xo = bo, xq = bq, xr = br, xs = bs, yo = bo, yq = bq, yr = br, ys = bs;
            for (let k = 0, at = p; k < weightCount; k++, at += places) {
              const x = columns[at], y = columns[at + next];
              const wo = weights[so + k], wq = weights[sq + k], wr = weights[sr + k], ws = weights[ss + k];
              xo += wo * x; xq += wq * x; xr += wr * x; xs += ws * x;
              yo += wo * y; yq += wq * y; yr += wr * y; ys += ws * y;
            }
            const after = p + next;
            out.data[o * places + p] = xo; out.data[q * places + p] = xq; out.data[r * places + p] = xr; out.data[s * places + p] = xs;
            out.data[o * places + after] = yo; out.data[q * places + after] = yq; out.data[r * places + after] = yr; out.data[s * places + after] = ys;
          }
        }
      }
    },
    backward(op, [input], out, gradient) {
      const result = zeros(input.shape), outputs = op.shape[0] / op.groups, taps = tapsOf(op, input.shape);
      const places = planeOf(op.shape), weightCount = size(op.weight.shape.slice(1));
      for (let o = 0; o < op.shape[0]; o++) {
        const offset = Math.floor(o / outputs) * op.weight.shape[1] * planeOf(input.shape);
        for (let k = 0; k < weightCount * places; k++) {
          const g = op.weight.data[o * weightCount + Math.floor(k / places)] * gradient.data[o * places + (k % places)];
          if (taps[k] >= 0) result.data[taps[k] + offset] += g;
        }
      }
      return [result];
    },
    explain(op, [input], out, at) {
      const [, channels, kernelHeight = 1, kernelWidth = 1] = op.weight.shape, places = planeOf(op.shape);
      const o = Math.floor(at / places), taps = tapsOf(op, input.shape), weightCount = channels * kernelHeight * kernelWidth;
      const offset = Math.floor(o / (op.shape[0] / op.groups)) * channels * planeOf(input.shape);
      const terms = Array.from({ length: weightCount }, (_, row) => {
        const tap = taps[row * places + (at % places)], weight = o * weightCount + row;
        return { input: 0, at: tap < 0 ? -1 : tap + offset, factor: op.weight.data[weight], weight };
      });
      const firstChannel = offset / planeOf(input.shape);
      return { rule: "sum", terms, bias: op.bias ? op.bias.data[o] : 0, columns: kernelWidth, rows: kernelHeight, firstChannel };
    },
  },
  get dense() { return operations.convolution; }, // of a map of 1 x 1
  scale: pointwise((op, c) => [op.factor.data[c % op.factor.data.length], op.summand.data[c % op.summand.data.length]]),
  batch_norm: pointwise((op, c) => {
    const factor = (op.weight ? op.weight.data[c] : 1) / Math.sqrt(op.variance.data[c] + op.eps);
    return [factor, (op.bias ? op.bias.data[c] : 0) - op.mean.data[c] * factor];
  }, (op, c) => ({ rule: "norm", mean: op.mean.data[c], deviation: Math.sqrt(op.variance.data[c] + op.eps),
    weight: op.weight ? op.weight.data[c] : 1, bias: op.bias ? op.bias.data[c] : 0 })),
  layer_norm: norm,
  group_norm: norm,
  pool,
  adaptive_pool: pool,
  activation: {
    forward(op, [input], out) {
      const f = activations[op.function][0];
      for (let k = 0; k < out.data.length; k++) out.data[k] = f(input.data[k], op.alpha);
    },
    backward(op, [input], out, gradient) {
      const slope = activations[op.function][1];
      return [{ shape: input.shape, data: gradient.data.map((g, k) => g * slope(input.data[k], out.data[k], op.alpha)) }];
    },
    explain: (op, inputs, out, at) => ({ rule: op.function, terms: [{ input: 0, at, factor: 1 }] }),
  },
  softmax: {
    forward(op, [input], out) { out.data.set(softmax(input.data)); },
    backward(op, [input], out, gradient) {
      const mean = out.data.reduce((sum, y, k) => sum + y * gradient.data[k], 0);
      return [{ shape: input.shape, data: out.data.map((y, k) => y * (gradient.data[k] - mean)) }];
    },
    explain: (op, [input], out, at) => ({ rule: "softmax", terms: Array.from(input.data, (_, k) => ({ input: 0, at: k, factor: 1 })) }),
  },
  add: join((a, b) => a + b, () => [1, 1]),
  multiply: join((a, b) => a * b, (a, b) => [b, a]),
  concatenate: gather((op, inputs) => inputs.flatMap((input, number) => Array.from(input.data, (_, k) => [number, k]))),
  reshape: gather((op, [input]) => Array.from(input.data, (_, k) => [0, k])),
  slice: gather((op, [input]) => Array.from({ length: size(op.shape) }, (_, k) => [0, op.start * planeOf(input.shape) + k])),
  pad: gather((op, [input]) => Array.from({ length: size(op.shape) }, (_, k) => {
    const [, height, width] = input.shape, [, outHeight, outWidth] = op.shape, plane = outHeight * outWidth;
    const y = Math.floor((k % plane) / outWidth) - op.top, x = (k % outWidth) - op.left;
    const inside = y >= 0 && y < height && x >= 0 && x < width;
    return [0, inside ? (Math.floor(k / plane) * height + y) * width + x : -1];
  })),
  permute: gather((op, [input]) => Array.from({ length: size(op.shape) }, (_, k) => [0, op.axes.reduce((sum, axis, own) => (
    sum + (Math.floor(k / size(op.shape.slice(own + 1))) % op.shape[own]) * size(input.shape.slice(axis + 1))), 0)])),
};

// An operation that multiplies each number of a channel by a factor, and adds a summand.
function pointwise(numbers, explain) {
  return {
    forward(op, [input], out) {
      const plane = planeOf(input.shape);
      for (let c = 0, at = 0; c < input.shape[0]; c++) {
        const [factor, summand] = numbers(op, c);
        for (let p = 0; p < plane; p++, at++) out.data[at] = input.data[at] * factor + summand;
      }
    },
    backward: (op, [input], out, gradient) => [{ shape: input.shape,
      data: gradient.data.map((g, at) => g * numbers(op, Math.floor(at / planeOf(input.shape)))[0]) }],
    explain(op, [input], out, at) {
      const channel = Math.floor(at / planeOf(input.shape)), [factor, bias] = numbers(op, channel);
      if (explain) return { terms: [{ input: 0, at, factor: 1 }], ...explain(op, channel) };
      return { rule: "sum", terms: [{ input: 0, at, factor }], bias };
    },
  };
}

// An operation on two tensors, the second of which may have one number where the first has a map.
function join(combine, slopes) {
  const partner = (a, b) => { // the position in b for each position in a
    if (a.data.length === b.data.length) return (at) => at;
    const strides = b.shape.map((length, axis) => (length === 1 ? 0 : size(b.shape.slice(axis + 1))));
    const own = a.shape.map((_, axis) => size(a.shape.slice(axis + 1)));
    return (at) => strides.reduce((sum, stride, axis) => sum + stride * (Math.floor(at / own[axis]) % a.shape[axis]), 0);
  };
  return {
    forward(op, [a, b], out) {
      const other = partner(a, b);
      for (let at = 0; at < out.data.length; at++) out.data[at] = combine(a.data[at], b.data[other(at)]);
    },
    backward(op, [a, b], out, gradient) {
      const results = [zeros(a.shape), zeros(b.shape)], other = partner(a, b);
      gradient.data.forEach((g, at) => {
        const [first, second] = slopes(a.data[at], b.data[other(at)]);
        results[0].data[at] += g * first;
        results[1].data[other(at)] += g * second;
      });
      return results;
    },
    explain: (op, [a, b], out, at) => ({ rule: op.kind, terms: [{ input: 0, at, factor: 1 }, { input: 1, at: partner(a, b)(at), factor: 1 }] }),
  };
}

// An operation that only moves numbers: places(op, inputs) lists [input, position] for each number of the result.
function gather(places) {
  const known = new WeakMap(); // they never change
  const listOf = (op, inputs) => {
    if (known.has(op)) return known.get(op);
    const list = places(op, inputs), arrays = [0, 1].map((part) => Int32Array.from(list, (place) => place[part]));
    return known.set(op, arrays).get(op);
  };
  return {
    forward(op, inputs, out) {
      const [from, at] = listOf(op, inputs);
      for (let k = 0; k < at.length; k++) out.data[k] = at[k] < 0 ? 0 : inputs[from[k]].data[at[k]];
    },
    backward(op, inputs, out, gradient) {
      const results = inputs.map((input) => zeros(input.shape)), [from, at] = listOf(op, inputs);
      for (let k = 0; k < at.length; k++) if (at[k] >= 0) results[from[k]].data[at[k]] += gradient.data[k];
      return results;
    },
    explain: (op, inputs, out, k) => ({ rule: "moved", terms: [{ input: listOf(op, inputs)[0][k], at: listOf(op, inputs)[1][k], factor: 1 }] }),
  };
}

function softmax(logits) {
  const largest = Math.max(...logits), powers = Array.from(logits, (x) => Math.exp(x - largest)), sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

class Network {
  constructor(steps) {
    this.steps = steps;
    this.values = [null, ...steps.map((op) => zeros(op.shape))];
    this.off = new Map(); // operation: set of its channels that are switched off
  }

  // Computes all values from operation `from` on.
  run(image, from = 0) {
    this.values[0] = image;
    for (let p = from; p < this.steps.length; p++) {
      const op = this.steps[p], out = this.values[p + 1];
      operations[op.kind].forward(op, op.inputs.map((value) => this.values[value]), out);
      for (const channel of this.off.get(p) || []) this.silence(p, channel, out);
    }
    return this.probabilities();
  }

  silence(p, channel, tensor) {
    const plane = planeOf(this.steps[p].shape);
    tensor.data.fill(0, channel * plane, (channel + 1) * plane);
  }

  probabilities() { return softmax(this.values[this.values.length - 1].data); }

  // Returns the derivative of a class's logit with respect to each number of the image, by the chain rule: from the last operation
  // back; where a value is used twice, its gradients add up.
  gradient(label) {
    const gradients = this.values.map(() => null), last = this.values.length - 1;
    gradients[last] = zeros(this.values[last].shape);
    gradients[last].data[label] = 1;
    for (let p = last - 1; p >= 0; p--) {
      const op = this.steps[p];
      if (!gradients[p + 1]) continue; // nothing depends on it
      for (const channel of this.off.get(p) || []) this.silence(p, channel, gradients[p + 1]);
      const inputs = op.inputs.map((value) => this.values[value]);
      operations[op.kind].backward(op, inputs, this.values[p + 1], gradients[p + 1]).forEach((gradient, k) => {
        const known = gradients[op.inputs[k]];
        if (known) gradient.data.forEach((g, at) => { known.data[at] += g; });
        else gradients[op.inputs[k]] = gradient;
      });
    }
    return gradients[0];
  }

  // Says how one number of an operation's result came about.
  explain(p, at) {
    const op = this.steps[p], inputs = op.inputs.map((value) => this.values[value]);
    return operations[op.kind].explain(op, inputs, this.values[p + 1], at);
  }
}
