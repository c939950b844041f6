// The screen Answer: ask, shade, select words, and see the rows behind them.
import { get, place, post, say } from "./explorer.js";
import { showTokens } from "./tokens.js";

const find = (name) => document.querySelector(`#${name}`);
const answered = find("answered");
const answer = find("answer");
const state = { asked: "", text: "", words: [], from: null, to: null, at: 0, against: "", round: 0 };

// Python counts characters, JavaScript units of UTF-16.
const characters = (text) => Array.from(text).length;

function wordsOf(text) {
  return Array.from(text.matchAll(/\S+/gu), (found) => {
    const begin = characters(text.slice(0, found.index));
    return { text: found[0], begin, end: begin + characters(found[0]), unit: found.index };
  });
}

function draw(text) {
  state.text = text;
  state.words = wordsOf(text);
  answer.replaceChildren();
  let done = 0;
  state.words.forEach((word, index) => {
    answer.append(text.slice(done, word.unit));
    const span = document.createElement("span");
    span.textContent = word.text;
    span.id = `word-${index}`;
    span.setAttribute("role", "option");
    span.setAttribute("aria-selected", "false");
    span.dataset.word = index;
    answer.append(span);
    done = word.unit + word.text.length;
  });
  answer.append(text.slice(done));
}

function select(from, to) {
  state.from = from === null ? null : Math.min(from, to);
  state.to = from === null ? null : Math.max(from, to);
  for (const span of answer.querySelectorAll("[data-word]")) {
    const index = Number(span.dataset.word);
    span.setAttribute("aria-selected", String(state.from !== null && state.from <= index && index <= state.to));
  }
  find("whole").hidden = state.from === null;
}

function part() {
  if (state.from === null) return {};
  return { begin: state.words[state.from].begin, end: state.words[state.to].end };
}

async function rank() {
  const round = ++state.round;
  const begun = performance.now();
  find("hits").setAttribute("aria-busy", "true");
  find("tokens-of").replaceChildren();
  const wanted = {
    asked: state.asked,
    ...part(),
    scorer: find("scorer").value,
    place: find("place")?.value ?? "",
    against: find("scorer").value === "influence" ? state.against : "",
  };
  try {
    const html = await (await post("/answer/hits", wanted)).text();
    if (round !== state.round) return;
    place(find("hits"), html);
    // What a benchmark reads: from selecting words to the ranked list.
    find("hits").dataset.milliseconds = Math.round(performance.now() - begun);
  } catch (error) {
    if (round === state.round) say(error.message, { seconds: 15 });
  } finally {
    if (round === state.round) find("hits").removeAttribute("aria-busy");
  }
}

async function shade() {
  const asked = state.asked;
  try {
    const shares = await get(`/answer/shades?asked=${encodeURIComponent(asked)}`);
    if (asked !== state.asked || !shares.length) return;
    // The least concentrated part is white: what all rows give a little.
    const least = Math.min(...shares.map(([, , share]) => share));
    for (const [begin, end, share] of shares) {
      state.words.forEach((word, index) => {
        if (word.begin < begin || word.end > end) return;
        const tone = Math.round((9 * (share - least)) / Math.max(1e-9, 1 - least));
        const span = find(`word-${index}`);
        if (tone > 0) span.classList.add(`p${Math.min(9, tone)}`);
        span.title = `ten rows carry ${Math.round(100 * share)} % of the influence on these words`;
      });
    }
    find("shaded").hidden = false;
  } catch (error) {
    say(error.message, { seconds: 15 });
  }
}

async function open(asked, text) {
  state.asked = asked;
  state.against = "";
  draw(text);
  select(null);
  answered.hidden = false;
  find("link").href = `/?answer=${asked}`;
  find("against").value = text;
  find("shaded").hidden = true;
  await rank();
  await shade();
}

find("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button.main");
  button.disabled = true;
  say("The model answers ...", { seconds: 0 });
  answered.hidden = false;
  find("hits").replaceChildren();
  answer.textContent = "";
  try {
    const response = await post("/answer/ask", {
      prompt: find("prompt").value,
      completion: find("completion").value,
      system: find("system").value,
      max_new_tokens: Number(find("tokens").value),
    });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const message = JSON.parse(line);
        if (message.error) throw new Error(message.error);
        if (message.piece) answer.append(message.piece);
        if (message.asked) {
          say("");
          history.replaceState(null, "", `/?answer=${message.asked}`);
          await open(message.asked, message.completion);
        }
      }
    }
  } catch (error) {
    say(error.message, { seconds: 15 });
  } finally {
    button.disabled = false;
  }
});

// With the mouse: whatever is marked grows to whole words.
answer.addEventListener("mouseup", () => {
  const marked = window.getSelection();
  if (!marked.rangeCount) return;
  const range = marked.getRangeAt(0);
  const touched = [...answer.querySelectorAll("[data-word]")].filter((span) => range.intersectsNode(span)).map((span) => Number(span.dataset.word));
  if (!touched.length) return;
  if (marked.isCollapsed && state.from !== null) return clear();
  state.at = touched.at(-1);
  select(touched[0], touched.at(-1));
  marked.removeAllRanges();
  rank();
});

// With the keyboard: a list box of words.
answer.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    const before = state.at;
    state.at = Math.min(state.words.length - 1, Math.max(0, state.at + (answer.hasAttribute("aria-activedescendant") ? step : 0)));
    answer.setAttribute("aria-activedescendant", `word-${state.at}`);
    for (const span of answer.querySelectorAll(".current")) span.classList.remove("current");
    find(`word-${state.at}`)?.classList.add("current");
    if (event.shiftKey) {
      state.anchor ??= before;
      select(state.anchor, state.at);
    } else {
      state.anchor = state.at;
      select(state.at, state.at);
    }
  } else if (event.key === "Enter") {
    event.preventDefault();
    rank();
  } else if (event.key === "Escape") {
    clear();
  }
});

function clear() {
  select(null);
  state.anchor = undefined;
  rank();
}

find("whole").addEventListener("click", clear);
find("scorer").addEventListener("change", rank);
find("place")?.addEventListener("change", rank);
find("beside").addEventListener("click", async () => {
  try {
    place(find("tokens-of"), await (await post("/answer/beside", { asked: state.asked, ...part() })).text());
    find("tokens-of").scrollIntoView({ block: "nearest" });
  } catch (error) {
    say(error.message, { seconds: 15 });
  }
});
find("compare").addEventListener("click", () => {
  const other = find("other");
  other.hidden = !other.hidden;
  find("compare").setAttribute("aria-expanded", String(!other.hidden));
  if (!other.hidden) find("against").focus();
});
find("other").addEventListener("submit", (event) => {
  event.preventDefault();
  state.against = find("against").value;
  find("scorer").value = "influence";
  rank();
});
find("no-other").addEventListener("click", () => {
  state.against = "";
  rank();
});

find("hits").addEventListener("click", async (event) => {
  const button = event.target.closest("button.open-tokens");
  if (!button) return;
  const hit = button.closest(".hit");
  for (const other of document.querySelectorAll(".hit.chosen")) other.classList.remove("chosen");
  hit.classList.add("chosen");
  const marker = document.querySelector("#marker");
  marker?.setAttribute("visibility", "visible");
  for (const end of ["x1", "x2"]) marker?.setAttribute(end, hit.dataset.at);
  button.disabled = true;
  try {
    const wanted = { asked: state.asked, row: hit.dataset.row, ...part(), against: state.against };
    const detail = await (await post("/answer/tokens", wanted)).json();
    let home = hit.querySelector(".tokens-home");
    if (!home) {
      home = document.createElement("div");
      home.className = "tokens-home";
      hit.append(home);
    }
    showTokens(home, detail);
  } catch (error) {
    say(error.message, { seconds: 15 });
  } finally {
    button.disabled = false;
  }
});

if (answered.dataset.asked) open(answered.dataset.asked, answered.dataset.answer);
