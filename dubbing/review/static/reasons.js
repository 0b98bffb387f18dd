// Why a take is rejected: asked with one key a reason, before the rejection is sent.

import { $, $$, elementOf, h } from "./dom.js";
import { openDialog } from "./frame.js";
import { REASONS } from "./words.js";

// Ask; resolves to the reasons, none or several, or to null where the reviewer turned back.
/** @param {string} of what is rejected @returns {Promise<Reason[] | null>} */
export async function askReasons(of) {
  $("#reject-of").textContent = of;
  $("#reject-reasons").replaceChildren(...Object.entries(REASONS).map(([value, word], n) =>
    h("label", {}, h("input", { type: "checkbox", value }), h("kbd", {}, String(n + 1)), word)));
  const boxes = $$("input", $("#reject-reasons"));
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const box = boxes[Number(event.key) - 1];
    if (event.key === "Enter" && elementOf(event)?.matches("input")) $("#reject form").requestSubmit($("#reject button.primary"));
    else if (box) box.checked = !box.checked;
    else return;
    event.preventDefault();
  };
  const dialog = $("#reject");
  dialog.addEventListener("keydown", press);
  const sent = await openDialog("#reject");
  dialog.removeEventListener("keydown", press);
  return sent ? boxes.filter((b) => b.checked).map((b) => /** @type {Reason} */ (b.value)) : null;
}
