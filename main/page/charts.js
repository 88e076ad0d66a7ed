// The pictures: bars, the heat map of partition sizes, the matrix of traffic. Each is made of
// ordinary elements with its numbers as text, so that it can be read without seeing colours.
import { bytes, element, percent, plural, rate } from "./format.js";

// A bar of parts: [[kind, amount], ...] of a whole. `label` says it in words.
export function bar(parts, whole, label) {
  return element("div", { class: "bar", role: "img", "aria-label": label, title: label },
    parts.filter(([, amount]) => amount > 0).map(([kind, amount]) =>
      element("span", { class: kind, "--share": `${(100 * Math.min(1, whole > 0 ? amount / whole : 0)).toFixed(2)}%` })));
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted.length === 0 ? 0 : sorted[Math.floor((sorted.length - 1) / 2)];
}

// What there is of each cell: the blocks that were committed, or what was merged of a node that is
// down now.
export function cellsOf(sizes) {
  return sizes.committed_bytes.map((committed, i) => ({
    first: sizes.first + i * sizes.width,
    last: Math.min(sizes.first + (i + 1) * sizes.width, sizes.first + sizes.count) - 1,
    bytes: Math.max(committed, sizes.merged_bytes[i]),
    merged: sizes.merged_bytes[i],
  }));
}

export function cellName(cell) {
  return cell.first === cell.last ? `partition ${cell.first}` : `partitions ${cell.first}–${cell.last}`;
}

export function cellText(cell, middle) {
  const ratio = middle > 0 ? `, ${(cell.bytes / middle).toFixed(1)} × the median` : "";
  return `${cellName(cell)}: ${bytes(cell.bytes)}${ratio}, ${percent(cell.merged, cell.bytes)} merged`;
}

// `chosen` is the number of the cell that the keyboard is at.
export function heatMap(sizes, chosen) {
  const cells = cellsOf(sizes);
  const largest = Math.max(1, ...cells.map((cell) => cell.bytes));
  const middle = median(cells.map((cell) => cell.bytes));
  const top = [...cells].sort((a, b) => b.bytes - a.bytes).slice(0, 5).filter((cell) => cell.bytes > 0);
  const at = cells[Math.min(chosen, cells.length - 1)];
  const skew = middle > 0 ? Math.max(...cells.map((cell) => cell.bytes)) / middle : 0;
  return [
    element("p", {}, `${sizes.app}/${sizes.shuffle}: ${plural(sizes.partitions, "partition")}` +
      (sizes.count < sizes.partitions ? `, of which ${sizes.first} to ${sizes.first + sizes.count - 1} are shown` : "") +
      (sizes.width > 1 ? `, ${sizes.width} to a cell (Enter or a click shows each)` : "") + ". ",
      element("strong", {}, middle > 0 ? `The largest is ${skew.toFixed(1)} × the median of ${bytes(middle)}.`
        : cells.some((cell) => cell.bytes > 0) ? "Most are empty." : "All are empty."),
      sizes.maps_counted < sizes.maps ? ` ${sizes.maps_counted} of ${sizes.maps} map outputs are counted so far.` : "",
      sizes.unreachable.length > 0 ? ` Without ${sizes.unreachable.map((node) => node.node).join(", ")}.` : ""),
    sizes.count < sizes.partitions
      ? element("p", {}, element("button", { type: "button", "data-action": "zoom-out" }, "Show all partitions")) : null,
    element("div", {
      class: "heat", tabindex: "0", role: "application", "aria-roledescription": "heat map",
      "aria-label": "Sizes of the partitions; the arrow keys go from one to the next",
      "aria-describedby": "heat-cell", "data-action": "heat",
    }, cells.map((cell, i) => element("span", {
      class: `cell${cell.bytes === 0 ? " empty" : ""}${i === Math.min(chosen, cells.length - 1) ? " chosen" : ""}`, "data-cell": i,
      title: cellText(cell, middle), "--heat": `${((100 * cell.bytes) / largest).toFixed(1)}%`,
    }))),
    element("div", { class: "legend" }, element("span", {}, "0"), element("span", { class: "scale" }),
      element("span", {}, bytes(largest)),
      cells.some((cell) => cell.bytes === 0) ? [element("span", { class: "cell empty" }), element("span", {}, "empty")] : null),
    element("p", { id: "heat-cell", role: "status", "aria-live": "polite" }, at ? cellText(at, middle) : ""),
    top.length > 0 ? element("p", { class: "quiet" },
      `Largest: ${top.map((cell) => `${cellName(cell).replace(/^partitions? /, "")} (${bytes(cell.bytes)})`).join(", ")}`) : null,
  ].filter((part) => part !== null);
}

const MOST_NODES = 24;

// flows: Map of "from\u0000to" to {total, perSecond}.
export function matrix(names, flows) {
  const sum = (name) => [...flows].reduce((all, [key, flow]) => key.split("\u0000").includes(name) ? all + flow.total : all, 0);
  const shown = names.length <= MOST_NODES ? names
    : [...names].sort((a, b) => sum(b) - sum(a)).slice(0, MOST_NODES);
  const largest = Math.max(1, ...[...flows.values()].map((flow) => flow.total));
  const cell = (from, to) => {
    if (from === to) return element("td", { class: "self" }, "–");
    const flow = flows.get(`${from}\u0000${to}`) ?? { total: 0, perSecond: 0 };
    const text = `${from} to ${to}: ${bytes(flow.total)} since the daemons started, ${rate(flow.perSecond)} now`;
    return element("td", { class: "flow", title: text, "--heat": `${((100 * flow.total) / largest).toFixed(1)}%` },
      flow.total > 0 ? bytes(flow.total) : "0",
      flow.perSecond >= 1 ? element("small", {}, rate(flow.perSecond)) : null);
  };
  if (names.length < 2) return [element("p", { class: "quiet" }, "One node has nobody to send to.")];
  return [
    element("p", { class: "quiet" }, "Bytes of blocks that were pushed and read, from the row to the column, since the daemons started; the second line is the rate now." +
      (shown.length < names.length ? ` The ${MOST_NODES} busiest of ${names.length} nodes are shown.` : "")),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "traffic-title" },
      element("table", { class: "matrix" },
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "from \\ to"),
          shown.map((name) => element("th", { scope: "col" }, name)))),
        element("tbody", {}, shown.map((from) => element("tr", {}, element("th", { scope: "row" }, from),
          shown.map((to) => cell(from, to))))))),
  ];
}
