// Two lists of tokens, the answer's and a row's, that light each other up: what each token of one contributes through each of the other.

function tone(value, strongest) {
  const step = Math.min(9, Math.ceil((9 * Math.abs(value)) / strongest));
  return step > 0 && strongest > 0 ? (value > 0 ? `p${step}` : `n${step}`) : "";
}

function list(title, tokens, shares, light) {
  const box = document.createElement("div");
  const head = document.createElement("p");
  head.className = "note";
  head.textContent = title;
  const line = document.createElement("div");
  line.className = "tokens";
  const spans = tokens.map((text, index) => {
    const span = document.createElement("button");
    span.type = "button";
    span.className = "token";
    span.textContent = text;
    span.tabIndex = index ? -1 : 0;
    for (const kind of ["mouseenter", "focus"]) span.addEventListener(kind, () => light(index));
    line.append(span);
    return span;
  });
  // One stop of the Tab key; arrow keys go on from token to token.
  line.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = spans.indexOf(document.activeElement);
    spans[Math.min(spans.length - 1, Math.max(0, at + step))].focus();
  });
  box.append(head, line);
  return { box, spans, shares };
}

function paint(own, values) {
  const strongest = Math.max(...values.map(Math.abs), 0);
  own.spans.forEach((span, index) => {
    span.className = `token ${tone(values[index], strongest)}`;
    span.title = values[index].toPrecision(3);
  });
}

/** Show how the tokens of a row meet those of the answer. */
export function showTokens(home, detail) {
  const { matrix, query_answer: first } = detail;
  const asked = list("Answer: position by position", detail.query_tokens, detail.query_positions, (index) => {
    paint(row, matrix[index]);
    asked.spans.forEach((span, place) => span.classList.toggle("current", place === index));
  });
  const row = list("Row: position by position", detail.row_tokens, detail.row_positions, (index) => {
    paint(asked, matrix.map((line) => line[index]));
    row.spans.forEach((span, place) => span.classList.toggle("current", place === index));
  });
  const rest = () => {
    paint(asked, asked.shares);
    paint(row, row.shares);
  };
  const words = document.createElement("p");
  words.className = "note";
  words.textContent = "Point at a token, or go through them with the arrow keys: the other side shows what it contributes through it (blue for, red against).";
  home.replaceChildren(words, asked.box, row.box);
  home.addEventListener("mouseleave", rest);
  asked.spans.forEach((span, index) => index < first && span.classList.add("before"));
  rest();
}
