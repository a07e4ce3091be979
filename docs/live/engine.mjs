// Python, NumPy and the engine, in a browser's worker or in Node: what both need, so that what is tested in one is what runs in the other.

import { loadPyodide } from "./pyodide/pyodide.mjs";

/** Load all of it. `bytes(name)` gives a file that lies beside this one as an ArrayBuffer; `print(line)` takes what Python prints. */
export async function loadEngine({ bytes, print }) {
  const { numpy, engine } = JSON.parse(new TextDecoder().decode(await bytes("files.json")));
  const python = await loadPyodide();
  python.setStdout({ batched: print });
  python.setStderr({ batched: print });
  for (const name of [numpy, engine]) python.unpackArchive(await bytes(name), "wheel");
  python.runPython("import os; os.umask(0o022)"); // Emscripten's own, 0o777, makes files that nobody may read
  return python;
}

/** Run a program and record it. Gives the page of its steps (null where there were none) and whether it failed. */
export function trace(python, program) {
  python.FS.writeFile("/home/pyodide/program.py", program);
  if (python.FS.analyzePath("/home/pyodide/steps.html").exists) python.FS.unlink("/home/pyodide/steps.html");
  const failed = python.runPython(RUN);
  const written = python.FS.analyzePath("/home/pyodide/steps.html").exists;
  return { page: written ? python.FS.readFile("/home/pyodide/steps.html", { encoding: "utf8" }) : null, failed };
}

// As `python -m tinygrad_effnet trace` does it, but for the traceback: only the program's own lines are what its writer can mend.
// `linecache` would show the program as it was the last time.
const RUN = `
def _run():
    import linecache, runpy, sys, traceback
    from tinygrad_effnet.stepper import record
    linecache.checkcache()
    failed = False
    with record() as run:
        try:
            runpy.run_path("program.py", run_name="__main__")
        except BaseException as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith("program.py")]
            lines = traceback.format_list(frames) + traceback.format_exception_only(error)
            print("".join(lines).rstrip(), file=sys.stderr)
            failed = True
    if len(run):
        run.page("steps.html", "Your program")
    return failed

_run()
`;
