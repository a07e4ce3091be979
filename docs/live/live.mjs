// The page's own part: the editor, the buttons, and the frame in which the recorded run is shown. Python runs in a worker, so that
// the page stays alive while it does and a program that never ends can be stopped.

const $ = (id) => document.getElementById(id);
const programs = await (await fetch("programs/index.json")).json();
let worker = null;
let ready = null; // settles when the worker of now has loaded Python

function start() {
  worker = new Worker("worker.mjs", { type: "module" });
  ready = new Promise((resolve) => {
    worker.onmessage = ({ data }) => (data.kind === "ready" ? resolve() : show(data));
  });
  worker.onerror = (event) => show({ kind: "failed", text: event.message || "Python could not be loaded" });
  ready.then(() => say("Ready.", false));
}

function say(text, running) {
  $("state").textContent = text;
  $("run").disabled = running;
  $("stop").disabled = !running;
}

function show(message) {
  if (message.kind === "printed") {
    $("printed").textContent += message.text + "\n";
  } else if (message.kind === "done") {
    if (message.page) frame(message.page);
    $("printed").classList.toggle("wrong", message.failed);
    const steps = message.page ? "" : " No operation of tinygrad_effnet ran, so there are no steps to show.";
    say(message.failed ? "It stopped with an error." : `Done in ${(message.milliseconds / 1000).toFixed(1)} s.${steps}`, false);
  } else {
    $("printed").textContent += message.text + "\n";
    $("printed").classList.add("wrong");
    $("state").textContent = "Python could not be loaded.";
  }
}

function frame(page) {
  $("steps").srcdoc = page;
  URL.revokeObjectURL($("keep").href);
  $("keep").href = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  $("keep").hidden = false;
}

function run() {
  if ($("run").disabled) return;
  $("printed").textContent = "";
  $("printed").classList.remove("wrong");
  say("Running …", true);
  worker.postMessage($("code").value);
}

function stop() {
  worker.terminate();
  say("Stopped. Loading Python again …", true);
  $("stop").disabled = true;
  start();
}

async function choose(name) {
  $("code").value = await (await fetch(`programs/${name}`)).text();
}

for (const [name, title] of programs) $("programs").add(new Option(title, name));
$("programs").addEventListener("change", (event) => choose(event.target.value));
$("run").addEventListener("click", run);
$("stop").addEventListener("click", stop);
$("code").addEventListener("keydown", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  if (event.key === "Enter") run();
  else if (event.key === "]") event.target.setRangeText("    ", event.target.selectionStart, event.target.selectionEnd, "end");
  else return;
  event.preventDefault();
});
await choose(programs[0][0]);
start();
