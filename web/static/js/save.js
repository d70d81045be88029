/* What is shown as a file: CSV, a column for each field of the rows. The file has what the page holds; the API has all of it. */

import { el } from "./dom.js";

const FORMULA = /^[=+\-@\t\r]/; // a spreadsheet would run it

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Rows, which need not have the same fields, as CSV. */
export function csvOf(rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => name !== "time");
  return [columns.join(","), ...rows.map((row) => columns.map((name) => cell(row[name])).join(","))].join("\n").concat("\n");
}

/** A button that saves; `rows()` and `name()` are asked when it is pressed. */
export function saves(button, rows, name) {
  button.addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([csvOf(rows())], { type: "text/csv" }));
    const link = el("a", { href: url, download: `${name()}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
}

/** Links to everything that is stored of what is in view: `data-all` names the export, `queries` has the query of each. */
export function pointExports(queries) {
  for (const link of document.querySelectorAll("[data-all]")) {
    const query = queries[link.dataset.all];
    link.hidden = query === null;
    link.href = `/api/export/${link.dataset.all}/?${new URLSearchParams({ ...query, format: "csv" })}`;
  }
}
