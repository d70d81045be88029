/* Notices in the corner, with a sound or on the desktop where that was asked for. */

import { $, el, remember, remembered } from "./dom.js";

const AT_MOST = 4;
const STAY_MS = 12000;
let audio;

export function notice(text, detail = "", kind = "") {
  const item = el("li", { className: `notice ${kind}` }, el("p", {}, text, el("time", {}, detail)));
  item.append(el("button", { type: "button", className: "quiet", onclick: () => item.remove(), "aria-label": "Close this notice" }, "×"));
  $("notices").append(item);
  while ($("notices").children.length > AT_MOST) $("notices").firstChild.remove();
  setTimeout(() => item.remove(), STAY_MS);
}

/** An alert was triggered or has cleared. */
export function announce(text, detail, kind) {
  notice(text, detail, kind);
  if (kind !== "triggered") return;
  if ($("alert-sound").checked) beep();
  if ($("alert-desktop").checked && window.Notification?.permission === "granted") new Notification(`GEMS: ${text}`, { body: detail });
}

function beep() {
  audio ??= new AudioContext();
  const [tone, gain, now] = [audio.createOscillator(), audio.createGain(), audio.currentTime];
  tone.frequency.value = 880;
  gain.gain.setValueAtTime(0.12, now);
  gain.gain.exponentialRampToValueAtTime(0.001, now + 0.35);
  tone.connect(gain).connect(audio.destination);
  tone.start(now);
  tone.stop(now + 0.35);
}

/** The two switches; the desktop asks for its permission when it is switched on. */
export function setUpNotices() {
  const [sound, desktop] = [$("alert-sound"), $("alert-desktop")];
  sound.checked = remembered("sound", "") === "on";
  desktop.checked = remembered("desktop", "") === "on" && window.Notification?.permission === "granted";
  sound.addEventListener("change", () => { remember("sound", sound.checked ? "on" : ""); if (sound.checked) beep(); });
  desktop.addEventListener("change", async () => {
    if (desktop.checked && (await window.Notification?.requestPermission()) !== "granted") {
      desktop.checked = false;
      notice("The browser does not allow desktop notices of this page.");
    }
    remember("desktop", desktop.checked ? "on" : "");
  });
}
