// The screen Rows: all rows that match are ticked at once, and SQL runs by Ctrl+Enter.
import { post, say } from "./explorer.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-tick]");
  if (!button) return;
  const ticked = button.dataset.tick === "all";
  try {
    const response = await post("/rows/tick", { query: button.dataset.query, ticked });
    const { rows, count } = await response.json();
    document.querySelector("#review-count").textContent = count || "";
    for (const box of document.querySelectorAll("#found input.tick")) box.checked = ticked;
    say(`${rows.toLocaleString("en")} rows ${ticked ? "on" : "off"} the review list.`);
  } catch (error) {
    say(error.message, { seconds: 15 });
  }
});

// Listened for at the top: htmx makes the whole page anew when somebody goes back.
document.addEventListener("keydown", (event) => {
  if (event.target.id !== "where" || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});

// What is wrong with a search stands where its rows would.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "found" || event.detail.xhr.status !== 400) return;
  event.detail.shouldSwap = true;
  event.detail.isError = false;
  document.querySelector("#matches").textContent = "";
});
