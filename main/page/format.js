// Numbers and texts as people read them, and building and updating of elements. Nothing here knows
// what is shown. Text from the cluster only ever becomes text nodes and attribute values.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(count) {
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) {
    count /= 1024;
    ++unit;
  }
  const digits = unit === 0 || count >= 100 ? 0 : 1;
  return `${count.toFixed(digits)} ${UNITS[unit]}`;
}

export function rate(perSecond) {
  return `${bytes(Math.max(0, Math.round(perSecond)))}/s`;
}

export function percent(part, whole) {
  if (!(whole > 0)) return "–";
  const value = (100 * part) / whole;
  // Never "100 %" of what is not all of it.
  if (value > 99.9 && part < whole) return "99.9 %";
  return value > 0 && value < 10 ? `${value.toFixed(1)} %` : `${Math.floor(value)} %`;
}

export function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

export function clock(milliseconds) {
  const time = new Date(milliseconds);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

// An element. Attributes that are null, undefined or false are left out; "--name" sets a custom
// property, which a content security policy without inline styles allows.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("--")) made.style.setProperty(name, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

// Makes `shown` what `wanted` is with as few changes as it takes, so that the focus, the selection
// and a screen reader's place survive an update.
export function update(shown, wanted) {
  for (const { name } of [...shown.attributes]) {
    if (!wanted.hasAttribute(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (name === "style") continue;
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  for (const name of wanted.style ?? []) {
    const value = wanted.style.getPropertyValue(name);
    if (shown.style.getPropertyValue(name) !== value) shown.style.setProperty(name, value);
  }
  fill(shown, [...wanted.childNodes]);
}

export function fill(shown, children) {
  const old = [...shown.childNodes];
  children.forEach((child, place) => {
    const there = old[place];
    if (there === undefined) {
      shown.append(child);
    } else if (there.nodeType === Node.TEXT_NODE && child.nodeType === Node.TEXT_NODE) {
      if (there.data !== child.data) there.data = child.data;
    } else if (there.nodeName === child.nodeName && there.nodeType === Node.ELEMENT_NODE &&
               there.getAttribute("data-key") === child.getAttribute("data-key")) {
      update(there, child);
    } else {
      there.replaceWith(child);
    }
  });
  old.slice(children.length).forEach((node) => node.remove());
}
