import { sameSize } from './ranges.js';
import { element, formatValue, header, layerNow, layers, make, photoOf, pictures, state } from './state.js';
import { markedValue } from './shown.js';
import { showLegend } from './legend.js';
import { isDifference, sidesInWords } from './difference.js';
import { overview } from './mosaic.js';
import { detail } from './detail.js';
import { show } from './viewer.js';

// ---- The value under the pointer -------------------------------------------------------------------------------

let asked = 0; // numbers the questions, so that a late answer to an old one is dropped
let pointed = null; // the value under the pointer
let pointer = null; // the latest event of the pointer, while it is over a figure

const figure = () => (state.channel === null ? overview : detail);

/** What is shown has changed under a pointer at rest. */
export function showValueAgain() {
  if (isReading()) tellMarked();
  else if (!element('tooltip').hidden) ask(pointer);
}

function ask(event) {
  pointer = event;
  return showValue(event && figure().plot && isInside(event) ? figure().locate(event) : null, event);
}

const isInside = ({ clientX, clientY }) => {
  const box = figure().plot.getBoundingClientRect();
  return clientX >= box.left && clientX < box.right && clientY >= box.top && clientY < box.bottom;
};

async function showValue(found, event) {
  const question = (asked += 1);
  if (!found) return hideValue();
  const told = await (isDifference ? sidesInWords(found) : valueInWords(found));
  if (question !== asked) return undefined;
  const tooltip = element('tooltip');
  tooltip.textContent = words(found, told).join('\n');
  tooltip.hidden = false;
  pointed = found;
  showMarks();
  showLegend(found.channel);
  return placeTooltip(tooltip, event);
}

/** Where in the original photo lies what a value sees, if the model was given another size of it. */
function placeInOriginal({ layer, row, column }) {
  const { original } = pictures[layer.picture];
  const [[tall, wide], [high, broad]] = [header.photo, original];
  if (sameSize(header.photo, original)) return [];
  const [left, top, right, bottom] = layer.seen(row, column);
  const pixels = (from, to, seen, whole) => {
    const [first, last] = [from, to].map((edge) => (Math.min(Math.max(edge, 0), seen) * whole) / seen);
    return `${Math.floor(first)} to ${Math.max(Math.floor(first), Math.ceil(last) - 1)}`;
  };
  return [`original: rows ${pixels(top, bottom, tall, high)},`, `columns ${pixels(left, right, wide, broad)}`];
}

/** @returns {Promise<string[]>} */
async function valueInWords({ layer, view, channel, row, column }) {
  const value = await layer.value(view, channel, row, column);
  const before = view === 'relu' && layer.clips ? await layer.value('raw', channel, row, column) : 0;
  return [`value ${formatValue(value)}`, ...(before < 0 ? [`before ReLU ${formatValue(before)}`] : [])];
}

function words({ layer, view, channel, row, column }, told) {
  const tolerance = isDifference ? '' : `: \u00b1${formatValue(layer.tolerance(view, channel), 2)}`;
  const precision = header.values === '12bit' ? `12 bits${tolerance}` : header.values;
  const where = [`channel ${layer.number(channel)}`, `row ${row}, column ${column}`];
  const whose = [...(pictures.length > 1 ? [pictures[layer.picture].image] : []), ...(layer.name === layerNow().name ? [] : [layer.name])];
  return [...whose, ...where, ...told, ...placeInOriginal({ layer, row, column }), precision];
}

// ---- Values one by one, with the keyboard --------------------------------------------------------------------------

let reading = false;

/** Begin or end to read values with the arrow keys; only a channel has values to step through. */
export function readValues(wanted) {
  reading = wanted && state.channel !== null;
  if (reading) return step(0, 0);
  element('spoken').textContent = '';
  return ask(null);
}

/** Go so many columns and rows on from the marked value, which is the middle one at first, and tell the value there. */
export function step(right, down) {
  const layer = layerNow();
  const from = markedValue() ?? { row: layer.rows >> 1, column: layer.columns >> 1 };
  const row = Math.min(Math.max(from.row + down, 0), layer.rows - 1);
  const column = Math.min(Math.max(from.column + right, 0), layer.columns - 1);
  const [left, top, end, bottom] = layer.cell(row, column);
  return show({ at: { x: (left + end) / 2, y: (top + bottom) / 2 } });
}

async function tellMarked() {
  const found = { view: state.view, channel: state.channel, ...markedValue() };
  pointer = null;
  if (!found.layer) return hideValue();
  await showValue(found, detail.onScreen(found));
  element('spoken').textContent = element('tooltip').textContent;
  return undefined;
}

/** The value under the pointer; null where there is none. The photo beside tells a place of the open channel. */
export function pointedValue() {
  const channel = pointed?.channel ?? state.channel;
  return pointed && channel !== null ? { view: state.view, channel, ...pointed } : null;
}

export const isReading = () => reading && state.channel !== null;

export function hideValue() {
  asked += 1;
  element('tooltip').hidden = true;
  if (pointed) {
    pointed = null;
    showMarks();
    showLegend();
  }
}

/** Beside the pointer, inside the stage. */
function placeTooltip(tooltip, { clientX, clientY }) {
  const stage = element('stage').getBoundingClientRect();
  const [x, y] = [clientX - stage.left, clientY - stage.top];
  const left = x + 16 + tooltip.offsetWidth < stage.width ? x + 16 : x - 16 - tooltip.offsetWidth;
  const top = y + 16 + tooltip.offsetHeight < stage.height ? y + 16 : y - 16 - tooltip.offsetHeight;
  tooltip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
}

// ---- What is marked: on the photo what the value sees, on the maps the value's place ----------------------------

export function showMarks() {
  const marked = [[markedValue(), 'marked'], [pointed, 'pointed']].filter(([found]) => found);
  showOnPhoto(marked);
  if (state.channel === null) element('marks').replaceChildren();
  else showOnPanels(marked);
}

/** A rectangle of the photo's pixels as shares of a box that shows some of them. */
export function outline(kind, [left, top, right, bottom], place) {
  const made = make('div', '', { class: kind });
  made.style.left = place(left, 0);
  made.style.top = place(top, 1);
  made.style.width = `calc(${place(right, 0)} - ${place(left, 0)})`;
  made.style.height = `calc(${place(bottom, 1)} - ${place(top, 1)})`;
  return made;
}

function showOnPhoto(marked) {
  const [tall, wide] = header.photo;
  const place = (value, axis) => `${(100 * value) / (axis ? tall : wide)}%`;
  element('photo-marks').replaceChildren(
    ...marked.map(([{ layer, row, column }, kind]) => outline(kind, layer.seen(row, column), place)),
  );
}

function showOnPanels(marked) {
  const stage = element('stage').getBoundingClientRect();
  const windows = detail.panels.map((panel, number) => {
    const { box, left, top, scaleX, scaleY } = detail.frame(number);
    const pane = make('div', '', { class: 'pane' });
    pane.style.cssText = `left:${box.left - stage.left}px;top:${box.top - stage.top}px;width:${box.width}px;height:${box.height}px`;
    const place = (value, axis) => `${axis ? (value - top) * scaleY : (value - left) * scaleX}px`;
    pane.append(...marked.map(([found, kind]) => outline(kind, ownRectangle(panel, found), place)));
    return pane;
  });
  element('marks').replaceChildren(...windows);
}

/** On the photo what the value sees; on a map its cell, in the map's own layer the one at its middle. */
function ownRectangle(panel, { layer, row, column }) {
  if (panel.photo) return layer.seen(row, column);
  const [left, top, right, bottom] = layer.cell(row, column);
  const place = layers[panel.layer].at((left + right) / 2, (top + bottom) / 2);
  return place && layers[panel.layer] !== layer ? layers[panel.layer].cell(place.row, place.column) : [left, top, right, bottom];
}

// ---- The pointer: moving tells, a click opens a channel or marks a place -------------------------------------

const STILL = 5; // CSS pixels that a click may move

export function connectPointer() {
  const stage = element('stage');
  let pressed = null;
  // A finger scrolls the page, two enlarge it: Plotly would move the picture.
  const keep = (event) => event.target.closest('.nsewdrag') && event.stopPropagation();
  stage.addEventListener('touchstart', keep, { capture: true, passive: true });
  stage.addEventListener('pointermove', ask);
  stage.addEventListener('pointerdown', (event) => {
    window.focus(); // Plotly keeps a click from giving a frame the keys
    pressed = event.target.closest('.nsewdrag') && event.button === 0 ? event : null;
    ask(event);
  });
  stage.addEventListener('pointerleave', (event) => event.pointerType !== 'touch' && ask(null)); // a finger that is lifted leaves
  window.addEventListener('pointerup', (event) => {
    const still = pressed && Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY) < STILL;
    pressed = null;
    if (still) clicked(event);
  });
  connectPhoto();
}

const TWICE = 500; // milliseconds within which a second click belongs to the first: the systems' usual longest

let last = { time: -Infinity }; // the latest click, and what was marked before it

/** A click in the mosaic opens a channel; in a channel it marks a place, or removes the mark from it. A double click only zooms. */
function clicked(event) {
  const twice = event.timeStamp - last.time < TWICE;
  const before = twice ? last.before : state.at;
  last = { time: event.timeStamp, before };
  if (twice) return state.channel === null ? undefined : show({ at: before });
  const found = figure().locate(event);
  if (!found) return undefined;
  const [left, top, right, bottom] = found.layer.cell(found.row, found.column);
  const at = { x: (left + right) / 2, y: (top + bottom) / 2 };
  if (state.channel === null) {
    last.before = at;
    return show({ channel: found.channel, at }, true);
  }
  const marked = markedValue();
  return show({ at: marked?.row === found.row && marked.column === found.column ? null : at });
}

/** The photo beside: pointing shows what the value there sees, a click marks the place. */
function connectPhoto() {
  const photo = element('photo-frame');
  const placeOf = ({ clientX, clientY }) => {
    const box = photoOf(layerNow()).getBoundingClientRect();
    const [tall, wide] = header.photo;
    return { x: ((clientX - box.left) / box.width) * wide, y: ((clientY - box.top) / box.height) * tall };
  };
  photo.addEventListener('pointermove', (event) => {
    const { x, y } = placeOf(event);
    const place = layerNow().at(x, y);
    pointed = place && { layer: layerNow(), ...place };
    showMarks();
  });
  photo.addEventListener('pointerleave', hideValue);
  photo.addEventListener('click', (event) => show({ at: placeOf(event) }));
}
