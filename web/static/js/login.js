/* Where the API asks for a key: a form over the page. The key goes to the server once; a cookie that no script can read stands for
 * it from then on, and the page loads again. */

const FORM = `
  <form method="dialog">
    <h2 id="login-title">A key is needed</h2>
    <p><label>Key <input type="password" name="key" required autocomplete="current-password" spellcheck="false"></label></p>
    <p role="alert" class="fault"></p>
    <p><button type="submit">Open</button></p>
    <p><small>./gems keys add NAME --scope read makes one.</small></p>
  </form>`;

let dialog = null;

/** Show the form, once; anything that got 401 may ask for it. */
export function askForKey() {
  if (dialog) return;
  dialog = document.createElement("dialog");
  dialog.id = "login";
  dialog.setAttribute("aria-labelledby", "login-title");
  dialog.innerHTML = FORM;
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    open(new FormData(event.target).get("key"), dialog.querySelector(".fault"));
  });
  document.body.append(dialog);
  dialog.showModal();
}

async function open(key, fault) {
  fault.textContent = "";
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch("/api/session/", { method: "POST", headers, body: JSON.stringify({ key }) });
    if (response.ok) return location.reload();
    fault.textContent = (await response.json()).error;
  } catch {
    fault.textContent = "The web server does not answer.";
  }
}
