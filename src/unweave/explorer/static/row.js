// The screen Row: the next and the previous one by keys, and losses by a button.
import { place, post, say } from "./explorer.js";

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.isComposing) return;
  const link = { j: "#next", k: "#previous" }[event.key];
  if (link) document.querySelector(link)?.click();
});

document.querySelector("#compute").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  say("Computing.", { seconds: 0 });
  try {
    const response = await post("/row/losses", { id: button.dataset.id });
    place(document.querySelector("#losses"), await response.text());
    say("");
  } catch (error) {
    button.disabled = false;
    say(error.message, { seconds: 15 });
  }
});
