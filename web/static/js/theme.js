/* Before the first paint: the theme that was chosen here, else what the system prefers. Not a module, for a module would run too late. */
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("gems.theme"); } catch { return null; } };
  const apply = () => { document.documentElement.dataset.theme = stored() ?? (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", () => { apply(); dispatchEvent(new Event("gems:theme")); });
  apply();
})();
