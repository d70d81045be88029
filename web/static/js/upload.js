/* Uploading a file of ticks: the bytes with a progress bar, then the task until it ends. */

import { $, el } from "./dom.js";
import { get } from "./api.js";
import { bytes, whole } from "./format.js";

const AT_MOST = 5;
const ASK_MS = 700;
const PATIENCE = 30; // looks in a row that may fail while a store is away

export function setUpUpload({ done }) {
  const [input, drop] = [$("upload-file"), $("drop")];
  input.addEventListener("change", () => { for (const file of input.files) send(file, done); input.value = ""; });
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, () => drop.classList.add("over"));
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  $("upload-form").addEventListener("submit", (event) => event.preventDefault());
}

function send(file, done) {
  const line = lineOf(file);
  const form = new FormData();
  const symbol = $("upload-symbol").value.trim();
  if (symbol) form.set("symbol", symbol);
  form.set("file", file);
  const request = new XMLHttpRequest(); // fetch does not tell how much was sent
  request.open("POST", "/api/ingestion/upload/");
  request.responseType = "json";
  request.upload.onprogress = ({ loaded, total }) => line.show(loaded / total, `sending, ${Math.round((100 * loaded) / total)} %`);
  request.onerror = () => line.fail("The file did not arrive: the web server does not answer. Send it again; rows are never counted twice.");
  request.onload = () => (request.status === 202 ? follow(request.response.task_id, line, done) : line.fail(request.response?.error ?? `The server answered ${request.status}.`));
  request.send(form);
}

function lineOf(file) {
  const [state, bar, detail] = [el("span"), el("progress", { max: 1, value: 0, "aria-label": `Progress of ${file.name}` }), el("small")];
  const item = el("li", {}, el("p", {}, el("b", {}, file.name), state), bar, detail);
  $("uploads").prepend(item);
  while ($("uploads").children.length > AT_MOST) $("uploads").lastChild.remove();
  detail.textContent = bytes(file.size);
  return {
    show(part, text, more) {
      bar.value = part;
      state.textContent = text;
      if (more) detail.textContent = `${bytes(file.size)}; ${more}`;
    },
    fail(sentence) {
      state.textContent = "failed";
      bar.hidden = true;
      detail.className = "bad";
      detail.textContent = sentence;
    },
  };
}

/** Ask for the task until it has ended; a store that is away for a while is waited for. */
async function follow(taskId, line, done) {
  let failures = 0;
  for (;;) {
    await new Promise((resume) => { setTimeout(resume, ASK_MS); });
    let task;
    try {
      task = await get(`/api/tasks/${taskId}/`);
      failures = 0;
    } catch (fault) {
      failures += 1;
      if (fault.passes && failures < PATIENCE) continue;
      line.fail(`${fault.message}; the file is stored, its task is ${taskId}`);
      return;
    }
    if (task.state === "failed") { line.fail(task.error ?? "The importer gave no reason."); return; }
    line.show(task.state === "done" ? 1 : task.progress, task.state, countsOf(task.counts));
    if (task.state === "done") { done(task); return; }
  }
}

const countsOf = (counts) => Object.entries(counts).map(([name, count]) => `${name.replaceAll("_", " ")} ${typeof count === "number" ? whole(count) : [count].flat().join(", ")}`).join(", ");
