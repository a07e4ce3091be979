// Python in a worker of the page: the program is a file in the browser's memory, recorded as `python -m tinygrad_effnet trace` does it.

import { loadEngine, trace } from "./engine.mjs";

const bytes = async (name) => (await fetch(name)).arrayBuffer();

try {
  const python = await loadEngine({ bytes, print: (text) => postMessage({ kind: "printed", text }) });
  onmessage = ({ data }) => {
    const began = performance.now();
    const { page, failed } = trace(python, data);
    postMessage({ kind: "done", page, failed, milliseconds: performance.now() - began });
  };
  postMessage({ kind: "ready" });
} catch (error) {
  postMessage({ kind: "failed", text: String(error) });
}
