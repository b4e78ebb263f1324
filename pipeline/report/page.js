// A click on a head sorts its table by that column: numbers by value, words by letter.
for (const head of document.querySelectorAll("table.sortable thead")) {
  head.classList.add("sortable");
  head.addEventListener("click", (event) => {
    const cell = event.target.closest("th");
    const body = head.parentElement.tBodies[0];
    const at = [...cell.parentElement.children].indexOf(cell);
    const value = (row) => row.children[at].dataset.value ?? row.children[at].textContent;
    const down = cell.dataset.down !== "1";
    cell.dataset.down = down ? "1" : "0";
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const [p, q] = [parseFloat(x.replace(/[,~ ]/g, "")), parseFloat(y.replace(/[,~ ]/g, ""))];
      const order = Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q;
      return down ? -order : order;
    });
    body.append(...rows);
  });
}
