/* Pair series on request: compute one over all that is stored, keep one up to date from now on, stop that. */

import { get, post, remove } from "./api.js";

const ASK_MS = 500;

/** What names a series in a body or a query. */
export const named = (view, legs) => ({ symbols: legs.join(","), timeframe: view.timeframe, window: view.window, method: view.method });

/** A task to its end; `tell(sentence)` on the way. Throws what it failed with. */
export async function taskEnds(taskId, tell) {
  for (;;) {
    const task = await get(`/api/tasks/${taskId}/`);
    if (task.state === "failed") throw new Error(task.error ?? "The task gave no reason.");
    tell(`${task.state}, ${Math.round(100 * task.progress)} %`);
    if (task.state === "done") return task;
    await new Promise((resume) => { setTimeout(resume, ASK_MS); });
  }
}

/** Compute the rows of a series once. */
export async function compute(view, legs, tell) {
  const { task_id: taskId } = await post("/api/analytics/compute-spread/", named(view, legs));
  await taskEnds(taskId, tell);
}

/** Keep a series up to date from now on; `made()` once it is, and the end when its past is filled. */
export async function keepLive(view, legs, tell, made = () => {}) {
  const { task_id: taskId } = await post("/api/analytics/pairs/", named(view, legs));
  await made();
  if (taskId) await taskEnds(taskId, tell);
}

export async function stopLive(view) {
  const query = new URLSearchParams({ timeframe: view.timeframe, window: view.window, method: view.method });
  await remove(`/api/analytics/pairs/${encodeURIComponent(view.pair)}/?${query}`);
}
