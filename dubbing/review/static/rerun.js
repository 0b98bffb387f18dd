// The dialog that asks for new takes: a generator, its settings with their limits, and which shots.

import { $, h, setText } from "./dom.js";
import { askReviewer, openDialog, say } from "./frame.js";
import { rerun } from "./decisions.js";
import { plural } from "./words.js";

/** @param {Setting} about */
function limits({ minimum, maximum }) {
  if (minimum !== undefined && minimum !== null && maximum !== undefined && maximum !== null) return `${minimum} to ${maximum}`;
  if (minimum !== undefined && minimum !== null) return `${minimum} or more`;
  return maximum !== undefined && maximum !== null ? `${maximum} or less` : "";
}

// A JSON Schema's property, without the choice between a value and none.
/** @param {Setting} about @returns {Setting} */
function plainly(about) {
  const some = about.anyOf?.find((a) => a.type !== "null") ?? {};
  return { ...about, ...some, minimum: some.minimum ?? about.minimum ?? about.exclusiveMinimum, maximum: some.maximum ?? about.maximum ?? about.exclusiveMaximum };
}

/** @param {string} name @param {Setting} about @param {unknown} value */
function control(name, about, value) {
  const id = `setting-${name}`;
  const text = value ?? about.default ?? "";
  if (about.type === "boolean") return h("input", { type: "checkbox", id, data: { name, type: about.type }, checked: Boolean(text) });
  if (about.enum) {
    return h("select", { id, data: { name, type: about.type ?? "string" } },
      about.enum.map((v) => h("option", { value: String(v), selected: v === text }, String(v))));
  }
  const numeric = about.type === "number" || about.type === "integer";
  return h("input", {
    id, type: numeric ? "number" : "text", step: about.type === "integer" ? "1" : "any", value: String(text ?? ""),
    min: about.minimum === undefined || about.minimum === null ? null : String(about.minimum),
    max: about.maximum === undefined || about.maximum === null ? null : String(about.maximum),
    data: { name, type: about.type ?? "string" },
  });
}

/** @param {GeneratorInfo} generator @param {GeneratorChoice | null} now */
function fields(generator, now) {
  return Object.entries(generator.settings ?? {}).map(([name, schema]) => {
    const about = plainly(schema);
    return h("label.field", { for: `setting-${name}` },
      h("span.field-name.mono", {}, name),
      control(name, about, now?.name === generator.name ? now[name] : undefined),
      h("small", {}, [about.description, limits(about)].filter(Boolean).join("; ")),
    );
  });
}

// What was changed from the defaults: a manifest's generator, as short as it can be said.
/** @param {GeneratorInfo} generator */
function chosen(generator) {
  /** @type {GeneratorChoice} */
  const plain = { name: generator.name };
  const inputs = /** @type {NodeListOf<HTMLInputElement>} */ ($("#rerun-settings").querySelectorAll("[data-name]"));
  for (const input of inputs) {
    const { name, type } = input.dataset;
    const raw = input.type === "checkbox" ? input.checked : input.value;
    if (raw === "") continue;
    const value = type === "integer" || type === "number" ? Number(raw) : raw;
    if (value !== generator.settings[name].default) plain[name] = value;
  }
  return plain;
}

// Ask, and send. keys: of the shots; now: the generator of the take that is looked at. Resolves to the job, or null.
/** @param {ShotKey[]} keys @param {GeneratorInfo[]} generators @param {GeneratorChoice | null} [now] @returns {Promise<Job | null>} */
export async function askRerun(keys, generators, now = null) {
  const reviewer = await askReviewer();
  if (!reviewer || !keys.length) return null;
  const select = $("#rerun-generator");
  const dialog = $("#rerun");
  const form = $("form", dialog);
  setText($("#rerun-about"), `New takes of ${keys.length === 1 ? keys[0].join(" / ") : plural(keys.length, "shot")}, beside the old ones; nothing is chosen by it.`);
  select.replaceChildren(...generators.map((g) => h("option", { value: g.name }, g.ready ? g.name : `${g.name} (not ready)`)));
  select.value = generators.some((g) => g.name === now?.name) ? now.name : generators[0]?.name;
  const current = () => generators.find((g) => g.name === select.value);
  const show = () => {
    const g = current();
    $("#rerun-settings").replaceChildren(...fields(g, now));
    setText($("#rerun-error"), "");
    $("#rerun-why").hidden = g.ready;
    setText($("#rerun-why"), g.ready ? "" : g.why);
    $("#rerun-send").disabled = !g.ready;
  };
  select.onchange = show;
  show();
  /** @type {Job | null} */
  let job = null;
  form.onsubmit = async (event) => {
    event.preventDefault(); // stays open until the server has taken it
    setText($("#rerun-error"), "");
    try {
      job = await rerun(keys, chosen(current()), reviewer);
      dialog.close("ok");
    } catch (error) {
      setText($("#rerun-error"), error.message);
    }
  };
  if (!(await openDialog("#rerun"))) return null;
  say(`Rendering ${plural(keys.length, "shot")} again; the new takes appear by themselves.`, "good");
  return job;
}
