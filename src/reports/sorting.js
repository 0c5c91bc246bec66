// Sorts a table by the column whose heading is pressed.
for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.querySelectorAll("th").forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "descending";
      table.tHead.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "ascending" : "descending");
      const value = (row) => row.cells[column].textContent;
      const compare = (a, b) => {
        const x = value(a), y = value(b), p = parseFloat(x), q = parseFloat(y);
        const order = isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q;
        return down ? order : -order;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}
