// onnxruntime-web in place of the forward pass of network.js: it computes all values, and takes the page's own weights,
// so that maps, explanations and changed weights are as before. Gradients stay those of network.js.
"use strict";

let runtime = null;

// Starts the runtime that is written into the page.
async function startRuntime() {
  if (typeof WebAssembly === "undefined") throw new Error("it has no WebAssembly");
  const script = await decompressed(byId("runtime-script").textContent), program = await decompressed(byId("runtime-program").textContent);
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  runtime = await import(address);
  URL.revokeObjectURL(address);
  Object.assign(runtime.env.wasm, { numThreads: 1, proxy: false, wasmBinary: program.buffer });
}

class FastNetwork extends Network {
  // `weights`: the array of each input of the graph, by its name.
  static async open(steps, graph, weights) {
    const network = new FastNetwork(steps);
    network.session = await runtime.InferenceSession.create(graph);
    network.weights = weights;
    network.queue = Promise.resolve(); // a session computes one image at a time
    return network;
  }

  // Another set of values, computed by the same session.
  twin() {
    const network = new FastNetwork(this.steps);
    return Object.assign(network, { session: this.session, weights: this.weights, queue: this.queue, off: this.off });
  }

  // Computes all values; where channels are switched off, network.js does.
  compute(image) {
    if (this.off.size) return Promise.resolve(this.run(image));
    const result = this.queue.then(() => this.computeNow(image));
    this.queue = result.catch(() => {});
    return result;
  }

  async computeNow(image) {
    const tensor = ({ shape, data }, batch) => new runtime.Tensor("float32", Float32Array.from(data), batch ? [1, ...shape] : shape);
    const feeds = { image: tensor(image, true) };
    for (const [name, weights] of Object.entries(this.weights)) feeds[name] = new runtime.Tensor("float32", weights.data, weights.shape);
    const results = await this.session.run(feeds);
    this.values[0] = image;
    this.steps.forEach((op, p) => { this.values[p + 1] = { shape: op.shape, data: results[`v${p + 1}`].data }; });
    return this.probabilities();
  }
}
