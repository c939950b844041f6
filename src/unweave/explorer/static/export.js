// The rows of a copy to read: search and pages, without a server.
const EACH = 50;
const { rows } = JSON.parse(document.querySelector("#data").textContent);
const lower = rows.map((row) => `${row[2]}\n${row[3]}`.toLowerCase());
const [table, search, found] = ["#table", "#search", "#found"].map((name) => document.querySelector(name));
let shown = rows.map((_, index) => index);
let first = 0;

function draw() {
  table.replaceChildren(
    ...shown.slice(first, first + EACH).map((index) => {
      const line = document.createElement("tr");
      rows[index].forEach((value, column) => {
        const cell = document.createElement("td");
        cell.className = column === 4 ? "n" : "t";
        cell.textContent = value;
        line.append(cell);
      });
      return line;
    }),
  );
  found.textContent = shown.length ? `${first + 1} to ${Math.min(first + EACH, shown.length)} of ${shown.length}` : "no row";
}

search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  shown = rows.flatMap((_, index) => (words.every((word) => lower[index].includes(word)) ? [index] : []));
  first = 0;
  draw();
});
document.querySelector("#next").addEventListener("click", () => {
  if (first + EACH < shown.length) first += EACH;
  draw();
});
document.querySelector("#back").addEventListener("click", () => {
  first = Math.max(0, first - EACH);
  draw();
});
draw();
