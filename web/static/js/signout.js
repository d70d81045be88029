/* The button that ends a browser's session. It is there only where a key opened one. */

import { $ } from "./dom.js";
import { get, remove } from "./api.js";
import { notice } from "./notices.js";

export async function offerSignOut() {
  const button = $("sign-out");
  button.addEventListener("click", () => signOut(button));
  try {
    const { keys, name, scope } = await get("/api/session/");
    button.hidden = keys !== "on" || name === null;
    button.title = `End the session of the key ${name} (${scope}) in this browser`;
  } catch { /* the strip says why; a session ends by itself, too */ }
}

async function signOut(button) {
  button.disabled = true;
  try {
    await remove("/api/session/");
    location.reload(); // and the page asks for a key
  } catch (fault) {
    button.disabled = false;
    notice(`The session was not ended: ${fault.message}`);
  }
}
