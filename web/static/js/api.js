/* The public API. A failure is an Error whose message is a sentence to show, with `status` (0: nobody answered) and `field`. */

import { askForKey } from "./login.js";

export class ApiError extends Error {
  constructor(message, status, field) {
    super(message);
    this.status = status;
    this.field = field;
  }

  /** True where the same request may work in a moment. */
  get passes() { return this.status === 0 || this.status >= 500; }
}

export const UNREACHABLE = "The web server does not answer.";

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new ApiError(UNREACHABLE, 0);
  }
  if (response.status === 401) askForKey();
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(body?.error ?? `${path} answered ${response.status}`, response.status, body?.field);
  if (body === null) throw new ApiError(`${path} was cut short`, 0);
  return body;
}

export const get = (path, query = {}, signal) => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  return ask(given.length ? `${path}?${new URLSearchParams(given)}` : path, { signal, cache: "no-store" });
};

export const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const remove = (path) => ask(path, { method: "DELETE" });
