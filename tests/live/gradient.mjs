// node gradient.mjs FOLDER PROGRAM: run a program on the engine in Pyodide, and tell what it printed and what its page holds.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [folder, program] = process.argv.slice(2);
const { loadEngine, trace } = await import(pathToFileURL(path.join(folder, "engine.mjs")));
const bytes = async (name) => new Uint8Array(fs.readFileSync(path.join(folder, name))).buffer;
const printed = [];
const python = await loadEngine({ bytes, print: (text) => printed.push(text) });
const { page, failed } = trace(python, fs.readFileSync(program, "utf8"));
const modules = python.runPython("import json, sys; json.dumps(sorted({name.split('.')[0] for name in sys.modules}))");
console.log(JSON.stringify({ printed, failed, bytes: page ? page.length : 0, modules: JSON.parse(modules) }));
