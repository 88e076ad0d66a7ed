// The page: asks this node for the cluster every two seconds and shows the answer. What changes on
// the page changes nothing in the cluster.
import { bar, cellsOf, heatMap, matrix } from "./charts.js";
import { bytes, clock, duration, element, fill, percent, plural, rate } from "./format.js";

const PERIOD_MS = 2000;
const FEW_EVENTS = 15;
const LEVELS = ["info", "warning", "error"];
const THEMES = [["", "as the system"], ["light", "light"], ["dark", "dark"]];

const state = {
  cluster: null,
  before: null,        // the cluster's answer before this one, for rates
  failure: "",
  paused: false,
  chosen: null,        // {app, shuffle}
  sizes: null,
  range: null,         // {first, count}: what is zoomed in on
  cell: 0,
  allEvents: false,
  token: sessionStorage.getItem("token") ?? "",
};
const place = (id) => document.getElementById(id);

async function ask(path) {
  const headers = state.token ? { Authorization: `Bearer ${state.token}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(15000) });
  place("token-form").hidden = answer.status !== 401;
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let message = text;
  try {
    message = JSON.parse(text).error.message;
  } catch { /* it is no JSON: shown as it is */ }
  throw new Error(message.slice(0, 300));
}

// ---- what is derived from two answers -----------------------------------------------------------

const reportOf = (cluster, name) => cluster?.nodes.find((node) => node.name === name)?.report ?? null;

// By how much a number of a node's report grows in a second; 0 after a restart.
function growth(name, number) {
  const now = reportOf(state.cluster, name);
  const before = reportOf(state.before, name);
  const seconds = (state.cluster.time_ms - (state.before?.time_ms ?? 0)) / 1000;
  if (!now || !before || !(seconds > 0)) return 0;
  return Math.max(0, (number(now) - number(before)) / seconds);
}

// Every transfer is counted by who asked for it: pushes go there, reads come from there.
function flows() {
  const sums = new Map();
  const add = (from, to, total, perSecond) => {
    const flow = sums.get(`${from}\u0000${to}`) ?? { total: 0, perSecond: 0 };
    sums.set(`${from}\u0000${to}`, { total: flow.total + total, perSecond: flow.perSecond + perSecond });
  };
  for (const node of state.cluster.nodes) {
    for (const { peer, pushed_bytes, fetched_bytes } of node.report?.traffic ?? []) {
      const of = (field) => (report) => report.traffic.find((entry) => entry.peer === peer)?.[field] ?? 0;
      add(node.name, peer, pushed_bytes, growth(node.name, of("pushed_bytes")));
      add(peer, node.name, fetched_bytes, growth(node.name, of("fetched_bytes")));
    }
  }
  return sums;
}

function problems() {
  const found = [];
  for (const node of state.cluster.nodes) {
    const name = node.name || node.address;
    if (!node.up && !node.self) found.push(["bad", `${name} is down: ${node.reason || "it does not answer"}`]);
    else if (!node.report) found.push(["warn", `${name} does not report: ${node.report_reason}`]);
    if (!node.report) continue;
    if (!node.report.ready) found.push(["bad", `${name}: the mount does not answer: ${node.report.ready_reason}`]);
    for (const disk of node.report.disks) {
      if (disk.reason) found.push(["bad", `${name}: ${disk.name} (${disk.path}): ${disk.reason}`]);
      else if (disk.free_bytes < 0.05 * disk.total_bytes) {
        found.push(["warn", `${name}: ${disk.name} is nearly full: ${bytes(disk.free_bytes)} free of ${bytes(disk.total_bytes)}`]);
      }
    }
    for (const peer of node.report.peers) {
      const known = state.cluster.nodes.find((other) => other.name === peer.name);
      if (!peer.up && !peer.self && known?.up) found.push(["warn", `${name} cannot reach ${peer.name}: ${peer.reason}`]);
    }
  }
  return found;
}

// ---- the parts of the page ----------------------------------------------------------------------

function meter(title, used, whole, text, limit = 0.9) {
  const kind = whole > 0 && used / whole > limit ? "bad" : "used";
  return element("div", { class: "meter" }, element("span", {}, title), bar([[kind, used]], whole, `${title}: ${text}`),
    element("span", { class: "number" }, text));
}

function nodeCard(node) {
  const report = node.report;
  const down = !node.up && !node.self;
  const kind = down || (report && !report.ready) ? "bad" : report ? "good" : "warn";
  const word = down ? "down" : report ? (report.ready ? "up" : "mount does not answer") : "up, no report";
  const facts = [];
  if (report) {
    const counts = report.counts;
    const opens = counts.passthrough_opens + counts.ordinary_opens;
    facts.push(`up for ${duration(report.uptime_s)}`);
    if (!node.self) facts.push(`${node.round_trip_ms.toFixed(1)} ms away`);
    if (report.workers_started > 1) facts.push(`${plural(report.workers_started - 1, "restart or takeover", "restarts and takeovers")}`);
    facts.push(report.local_mode === "bind" ? "local/ bound" : `passthrough ${percent(counts.passthrough_opens, opens)}`);
    if (report.spark) facts.push(`${plural(report.spark.executors, "executor")}`);
    facts.push(`version ${report.version}`);
  }
  return element("article", { class: `card ${kind}`, "data-key": node.name || node.address, "aria-label": node.name || node.address },
    element("h3", {}, element("span", { class: "dot", "aria-hidden": "true" }), node.name || node.address,
      element("span", { class: "state" }, node.self ? `${word}, asked here` : word)),
    down || !report ? element("p", { class: "reason" }, (down ? node.reason : node.report_reason) || "it does not answer") : null,
    report && !report.ready ? element("p", { class: "reason" }, report.ready_reason) : null,
    report ? element("p", { class: "quiet" }, facts.join(" · ")) : null,
    report ? meter("memory", report.memory.used_bytes, report.memory.budget_bytes,
      `${bytes(report.memory.used_bytes)} of ${bytes(report.memory.budget_bytes)}`) : null,
    report ? report.disks.map((disk) => meter(disk.name, disk.total_bytes - disk.free_bytes, disk.total_bytes,
      disk.reason || `${bytes(disk.free_bytes)} free`, 0.95)) : null,
    report ? element("p", { class: "rates" },
      `commits ${report.counts.commits.toLocaleString("en")} · pushing ${rate(growth(node.name, (r) => r.counts.pushed_bytes))}` +
      ` · merging ${rate(growth(node.name, (r) => r.counts.merged_bytes))}`) : null);
}

function remarks(shuffle) {
  const list = [];
  for (const entry of shuffle.given_up.slice(0, 5)) {
    list.push(`${entry.node} gave up ${plural(entry.blocks, "block")} (${bytes(entry.bytes)}): ${entry.reason}`);
  }
  if (shuffle.given_up.length > 5) list.push(`and ${shuffle.given_up.length - 5} reasons more`);
  for (const text of shuffle.refused_commits.slice(0, 3)) list.push(`refused: ${text}`);
  if (shuffle.maps_unpushed > 0) list.push(`${plural(shuffle.maps_unpushed, "map output")} not pushed: pushing is switched off`);
  if (shuffle.maps_lost > 0) list.push(`${plural(shuffle.maps_lost, "map output")} lost at the origin: only merged copies can be read`);
  if (shuffle.blocks_left_home > 0) list.push(`${plural(shuffle.blocks_left_home, "large block")} (${bytes(shuffle.bytes_left_home)}) left where they are`);
  return list;
}

function shuffleRow(shuffle) {
  const name = `${shuffle.app}/${shuffle.shuffle}`;
  const chosen = state.chosen?.app === shuffle.app && state.chosen?.shuffle === shuffle.shuffle;
  const pushed = `${shuffle.maps_settled} of ${shuffle.maps} settled` +
    (shuffle.maps_given_up > 0 ? `, ${shuffle.maps_given_up} with blocks given up` : "");
  // Of a node that is down the merged blocks of others are known, its map outputs are not.
  const merged = shuffle.merged_bytes > shuffle.bytes
    ? `${bytes(shuffle.merged_bytes)}, more than the map outputs that are reported`
    : `${percent(shuffle.merged_bytes, shuffle.bytes)} of ${bytes(shuffle.bytes)}`;
  const notes = remarks(shuffle);
  return element("tr", { "data-key": name, class: chosen ? "chosen" : null },
    element("th", { scope: "row" }, element("button", {
      type: "button", class: "link", "data-action": "choose", "data-app": shuffle.app, "data-shuffle": shuffle.shuffle,
      "aria-pressed": String(chosen), title: "Show how large its partitions are",
    }, name), shuffle.pushing ? element("span", { class: "tag" }, "running") : null,
      notes.length > 0 ? element("ul", { class: "notes" }, notes.map((note) => element("li", {}, note))) : null),
    element("td", { "data-label": "Map outputs" }, element("span", { class: "number" }, shuffle.maps.toLocaleString("en")),
      element("small", {}, `${plural(shuffle.partitions, "partition")}`)),
    element("td", { "data-label": "Pushed" }, bar([["good", shuffle.maps_settled], ["bad", shuffle.maps_given_up],
      ["idle", shuffle.maps_unpushed]], shuffle.maps, pushed), element("small", {}, pushed)),
    element("td", { "data-label": "Merged" }, bar([["good", Math.min(shuffle.merged_bytes, shuffle.bytes)]], shuffle.bytes, merged),
      element("small", {}, merged)));
}

function shuffleTable() {
  const { shuffles, shuffles_left_out: leftOut } = state.cluster;
  if (shuffles.length === 0) return [element("p", { class: "quiet" }, "No node has a shuffle.")];
  return [element("table", { class: "shuffles" },
    element("thead", {}, element("tr", {}, ["Shuffle", "Map outputs", "Pushed", "Merged"].map((title) =>
      element("th", { scope: "col" }, title)))),
    element("tbody", {}, shuffles.map(shuffleRow))),
  leftOut > 0 ? element("p", { class: "quiet" }, `${plural(leftOut, "shuffle")} more: shufflefs ls lists all.`) : null,
  ].filter((part) => part !== null);
}

function eventList() {
  const least = LEVELS.indexOf(place("event-level").value);
  const events = state.cluster.events.filter((event) => LEVELS.indexOf(event.level) >= least);
  if (events.length === 0) return [element("p", { class: "quiet" }, "Nothing.")];
  const shown = state.allEvents ? events : events.slice(0, FEW_EVENTS);
  return [element("ol", { class: "events" }, shown.map((event) =>
    element("li", { class: event.level, "data-key": `${event.node} ${event.number} ${event.time_ms}` },
      element("time", { datetime: new Date(event.time_ms).toISOString() }, clock(event.time_ms)),
      element("span", { class: "who" }, event.node),
      element("span", { class: "level" }, event.level),
      element("code", {}, event.code),
      element("span", { class: "fields" }, Object.entries(event.fields).map(([name, value]) =>
        element("span", {}, element("b", {}, name), ` ${value} `)))))),
  shown.length < events.length
    ? element("p", {}, element("button", { type: "button", "data-action": "all-events" }, `Show all ${events.length}`)) : null,
  ].filter((part) => part !== null);
}

function summary() {
  const up = state.cluster.nodes.filter((node) => node.up || node.self).length;
  const count = problems().length;
  const running = state.cluster.shuffles.filter((shuffle) => shuffle.pushing).length;
  return `${up} of ${plural(state.cluster.nodes.length, "node")} up` +
    `, ${plural(state.cluster.shuffles.length + state.cluster.shuffles_left_out, "shuffle")}` +
    (running > 0 ? `, ${running} running` : "") + (count > 0 ? `, ${plural(count, "problem")}` : ", all well");
}

function show() {
  const failure = state.failure
    ? [element("p", { class: "problem bad" }, `This node does not answer: ${state.failure}. What follows is old.`)] : [];
  if (!state.cluster) return fill(place("problems"), failure);
  const found = problems();
  fill(place("problems"), [...failure, ...found.map(([kind, text]) => element("p", { class: `problem ${kind}` }, text))]);
  fill(place("summary"), [document.createTextNode(summary())]);
  document.title = `${found.length > 0 ? `(${found.length}) ` : ""}shufflefs`;
  document.body.classList.toggle("old", state.failure !== "");
  fill(place("node-list"), state.cluster.nodes.map(nodeCard));
  fill(place("shuffle-list"), shuffleTable());
  showSizes();
  fill(place("traffic-chart"), matrix(state.cluster.nodes.map((node) => node.name || node.address), flows()));
  fill(place("event-list"), eventList());
  fill(place("source"), [document.createTextNode(
    `As ${state.cluster.node} sees it, at ${clock(state.cluster.time_ms)}${state.paused ? ", paused" : ""}.`)]);
}

function showSizes() {
  place("sizes").hidden = state.sizes === null;
  if (state.sizes !== null) fill(place("size-chart"), heatMap(state.sizes, state.cell));
}

// ---- asking -------------------------------------------------------------------------------------

async function refreshSizes() {
  const shuffles = state.cluster.shuffles;
  const there = (wanted) => wanted && shuffles.some((s) => s.app === wanted.app && s.shuffle === wanted.shuffle);
  if (!there(state.chosen)) {
    state.chosen = shuffles.length > 0 ? { app: shuffles[0].app, shuffle: shuffles[0].shuffle } : null;
    state.range = null;
  }
  if (!state.chosen) {
    state.sizes = null;
    return;
  }
  const query = state.range ? `?first=${state.range.first}&count=${state.range.count}` : "";
  const { app, shuffle } = state.chosen;
  try {
    state.sizes = await ask(`/api/v1/shuffles/${encodeURIComponent(app)}/${shuffle}/partitions${query}`);
  } catch {
    state.sizes = null; // dropped meanwhile, or its partitions are not known yet
  }
}

async function refresh() {
  try {
    const cluster = await ask("/api/v1/cluster");
    state.before = state.cluster;
    state.cluster = cluster;
    state.failure = "";
    await refreshSizes();
  } catch (error) {
    state.failure = error.message;
  }
  show();
}

async function watch() {
  for (;;) {
    if (!state.paused && !document.hidden) await refresh();
    await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
  }
}

// ---- what a person does -------------------------------------------------------------------------

function zoom() {
  const cell = cellsOf(state.sizes)[state.cell];
  if (!cell || state.sizes.width === 1) return;
  state.range = { first: cell.first, count: cell.last - cell.first + 1 };
  state.cell = 0;
  refreshSizes().then(showSizes);
}

const ACTIONS = {
  pause(button) {
    state.paused = !state.paused;
    button.setAttribute("aria-pressed", String(state.paused));
    button.textContent = state.paused ? "Go on" : "Pause";
    if (!state.paused) refresh();
  },
  theme() {
    const now = document.documentElement.dataset.theme ?? "";
    const next = THEMES[(THEMES.findIndex(([name]) => name === now) + 1) % THEMES.length];
    setTheme(next[0]);
  },
  choose(button) {
    state.chosen = { app: button.dataset.app, shuffle: Number(button.dataset.shuffle) };
    state.range = null;
    state.cell = 0;
    refreshSizes().then(show);
  },
  heat(map, event) {
    const cell = event.target.dataset.cell;
    if (cell === undefined) return;
    const again = state.cell === Number(cell);
    state.cell = Number(cell);
    showSizes();
    if (again || state.sizes.width > 1) zoom();
  },
  "all-events"() {
    state.allEvents = true;
    show();
  },
  "zoom-out"() {
    state.range = null;
    state.cell = 0;
    refreshSizes().then(showSizes);
  },
};

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("theme", theme);
  document.querySelector('[data-action="theme"]').setAttribute("aria-label",
    `Colours: ${THEMES.find(([name]) => name === theme)?.[1] ?? "as the system"}`);
}

document.addEventListener("click", (event) => {
  const source = event.target.closest("[data-action]");
  if (source) ACTIONS[source.dataset.action](source, event);
});

// The cells in a row of the heat map, as they are laid out now.
function cellsInARow(map) {
  const tops = [...map.children].map((cell) => cell.offsetTop);
  const row = tops.findIndex((top) => top !== tops[0]);
  return row < 0 ? tops.length : row;
}

document.addEventListener("keydown", (event) => {
  const map = event.target.closest?.(".heat");
  if (!map) return;
  const row = cellsInARow(map);
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, Home: -Infinity, End: Infinity };
  if (event.key === "Enter") zoom();
  else if (event.key in steps) {
    state.cell = Math.max(0, Math.min(map.children.length - 1, state.cell + steps[event.key]));
    showSizes();
  } else return;
  event.preventDefault();
});

place("event-level").addEventListener("change", show);
place("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = place("token").value.trim();
  sessionStorage.setItem("token", state.token);
  refresh();
});

setTheme(localStorage.getItem("theme") ?? "");
watch();
