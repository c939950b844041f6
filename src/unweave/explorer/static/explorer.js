// What every screen shares: requests, errors, and a line of status.

/** Show a line at the foot of the page, and read it out. */
export function say(text, { seconds = 6 } = {}) {
  const status = document.querySelector("#status");
  status.textContent = text;
  clearTimeout(say.timer);
  if (text && seconds) say.timer = setTimeout(() => (status.textContent = ""), seconds * 1000);
}

/** Post a JSON object; the answer's text, or an Error with the message of the server. */
export async function post(place, value, { signal } = {}) {
  const response = await fetch(place, {
    method: "POST",
    headers: { "content-type": "application/json", "x-part": "1" },
    body: JSON.stringify(value),
    signal,
  });
  if (!response.ok) throw new Error(sentence(await response.text()));
  return response;
}

/** Get something as JSON. */
export async function get(place, { signal } = {}) {
  const response = await fetch(place, { headers: { "x-part": "1" }, signal });
  if (!response.ok) throw new Error(sentence(await response.text()));
  return response.json();
}

/** Put a part of a page that the server has rendered, and escaped, in the place of an element's content. */
export function place(element, html) {
  element.innerHTML = html;
  if (window.htmx) window.htmx.process(element);
}

/** What an answer of the server says is wrong: the error in its page, or all of it. */
function sentence(text) {
  const found = new DOMParser().parseFromString(text, "text/html").querySelector(".error");
  return (found ?? { textContent: text }).textContent.replace(/\s+/g, " ").trim();
}

document.addEventListener("htmx:responseError", (event) => say(sentence(event.detail.xhr.responseText), { seconds: 15 }));
document.addEventListener("htmx:sendError", () => say("The server does not answer. What was started goes on without it."));

// A checkbox of class `tick` puts its row on the review list, wherever it stands.
document.addEventListener("change", async (event) => {
  const box = event.target;
  if (!box.matches?.("input.tick")) return;
  try {
    const response = await post("/review/tick", { rows: [box.value], ticked: box.checked, why: box.dataset.why ?? "ticked" });
    document.querySelector("#review-count").textContent = (await response.json()).count || "";
    say(box.checked ? "On the review list." : "Off the review list.");
  } catch (error) {
    box.checked = !box.checked;
    say(error.message, { seconds: 15 });
  }
});
