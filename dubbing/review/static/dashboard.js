// The dashboard: drawn by the server; another score or grouping is another address.

import { $ } from "./dom.js";
import { startFrame } from "./frame.js";
import { Keys } from "./keys.js";

const keys = new Keys();
startFrame(keys);
for (const select of [$("#score"), $("#by")]) select.addEventListener("change", () => $("#choice").submit());
keys.bind("Go", ["q", "back to the queue", () => $("#home").click()]);
document.documentElement.dataset.ready = "0";
