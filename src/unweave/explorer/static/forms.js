// Forms that are sent as JSON, and dialogs that are opened by a button.
import { post } from "/static/explorer.js";

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-json]")) return;
  event.preventDefault();
  const value = {};
  for (const field of form.elements) {
    if (!field.name || field.value === "") continue;
    value[field.name] = field.type === "number" || "number" in field.dataset ? Number(field.value) : field.value;
  }
  const error = form.querySelector("[role=alert]");
  const button = form.querySelector("button:not([type=button])");
  button.disabled = true;
  error.hidden = true;
  try {
    const response = await post(form.getAttribute("action"), value);
    location.assign((await response.json()).location);
  } catch (problem) {
    error.textContent = problem.message.replaceAll("`", "");
    error.hidden = false;
    button.disabled = false;
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-open], button[data-close]");
  if (!button) return;
  if (button.dataset.open) document.getElementById(button.dataset.open).showModal();
  else button.closest("dialog").close();
});
