// The cast: drawn by the server; a name is sent as its field is left.

import { post } from "./api.js";
import { $, $$, setText } from "./dom.js";
import { askReviewer, say, startFrame } from "./frame.js";
import { Keys } from "./keys.js";

const keys = new Keys();
startFrame(keys);
keys.bind("Go", ["q", "back to the queue", () => $("#home").click()]);

/** @param {HTMLElement} person */
function watch(person) {
  const input = /** @type {HTMLInputElement} */ (person.querySelector("input"));
  let kept = input.value;
  async function send() {
    const name = input.value.trim();
    if (name === kept) return;
    const reviewer = await askReviewer();
    if (!reviewer) {
      input.value = kept;
      return;
    }
    try {
      const { title, number, track } = person.dataset;
      const said = await post("/api/name", { title, number: Number(number), track, name, reviewer });
      kept = input.value = name;
      setText(person.querySelector(".how"), name ? "named" : "not named");
      say(said.note ?? (name ? `Person ${number} is ${name}.` : `Person ${number} has no name.`), said.note ? "note" : "good");
    } catch (error) {
      input.value = kept;
      say(error.message, "bad");
    }
  }
  input.addEventListener("change", send);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") input.value = kept;
    if (event.key === "Escape" || event.key === "Enter") input.blur();
  });
}

for (const person of $$("li.person")) watch(person);
document.documentElement.dataset.ready = "0";
