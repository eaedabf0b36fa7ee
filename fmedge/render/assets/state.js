import { Layer, ORDERS } from './layers.js';
import { rangesFromWords, rangesInWords } from './ranges.js';
import { readFilter } from './filters.js';

/**
 * An element of the page; of which kind, its id tells.
 * @type {(id: string) => any}
 */
export const element = (id) => document.getElementById(id);
/**
 * What the page holds beside values: fmedge/render/page.py writes it.
 * @type {any}
 */
export const header = JSON.parse(element('header').textContent);
/** @type {Layer[]} */
export const layers = header.layers.map((facts) => new Layer(facts, header));

/** An element with text in it; names from outside reach the page so and in no other way. */
export function make(tag, text = '', attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Seven digits: what a float32 can tell apart. */
export function formatValue(value, digits = 7) {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '\u221e' : '\u2212\u221e';
  return String(Number(value.toPrecision(digits))).replaceAll('-', '\u2212');
}

// ---- What is shown -----------------------------------------------------------------------------------------

export const MOST_PINS = 8;
const difference = header.kind === 'difference';
const points = layers.every(({ rows, columns }) => rows * columns === 1); // maps of one value: a scale of their own says nothing

/**
 * What is shown.
 * @typedef {object} State
 * @property {number} layer number of the layer in the page
 * @property {number | null} channel its index in the page; null shows all
 * @property {string} view
 * @property {string} order
 * @property {number | null} like the channel that the order 'like' compares with
 * @property {string} filter which channels the mosaic shows; empty: all
 * @property {string} scale
 * @property {string} colours
 * @property {number} opacity of the map over the photo, in percent
 * @property {boolean} smooth whether the map lies over the photo smooth, and as opaque as its values are high
 * @property {{x: number, y: number} | null} at the marked place of the photo, in its pixels
 * @property {{layer: number, channel: number}[]} pins
 * @property {{x: number[], y: number[]} | null} zoom ranges of an open channel's axes, in the photo's pixels; null shows all
 * @property {{x: number[], y: number[]} | null} mosaic the same of the mosaic, in its picture's pixels
 */

/** @type {State} */
const DEFAULTS = {
  layer: 0,
  channel: header.single ? 0 : null,
  view: header.views[0],
  order: difference ? 'worst' : 'index',
  like: null,
  filter: '',
  scale: points ? 'shared' : 'own',
  colours: difference ? 'diverging' : 'grey',
  opacity: 100,
  smooth: false,
  at: null,
  pins: [],
  zoom: null,
  mosaic: null,
};

/** @type {State} */
export const state = { ...DEFAULTS };

export const layerNow = () => layers[state.layer];

// ---- Photos: a layer is there once for each --------------------------------------------------------------------------

export const pictures = header.pictures;
for (const layer of layers) layer.companions = layers.filter(({ name }) => name === layer.name);

/** The photo of a layer, as an element. */
export const photoOf = ({ picture }) => element(picture ? `photo-${picture}` : 'photo');

/** The layers of the photo that is shown, as numbers in the page. */
export const layersOfPhoto = (picture) => [...layers.keys()].filter((number) => layers[number].picture === picture);

// ---- The address: what is not the default, after the # -----------------------------------------------------

const CHOICES = {
  view: (text) => header.views.includes(text),
  order: (text) => Object.hasOwn(ORDERS, text) && (text !== 'worst' || difference),
  filter: (text) => text.length <= LONGEST_FILTER && readFilter(text) !== null,
  scale: (text) => ['own', 'shared'].includes(text),
  colours: (text) => ['grey', 'viridis', 'diverging'].includes(text),
};

const LONGEST_FILTER = 200;

const isNumber = (text) => /^\d{1,9}$/.test(text ?? '');

function readPin(text) {
  const [, layer = 0, number] = (/^(?:(\d{1,9}):)?(\d{1,9})$/.exec(text) ?? []).map((word) => word && Number(word));
  const channel = number - layers[layer]?.firstChannel;
  return layers[layer]?.has(channel) ? [{ layer, channel }] : [];
}

/** The state that the address tells; what it tells wrongly is the default. */
export function readAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  const read = { ...DEFAULTS, pins: (found.get('pins') ?? '').split(',').flatMap(readPin).slice(0, MOST_PINS) };
  for (const [name, allowed] of Object.entries(CHOICES)) if (found.has(name) && allowed(found.get(name))) read[name] = found.get(name);
  const picture = isNumber(found.get('photo')) && pictures[Number(found.get('photo'))] ? Number(found.get('photo')) : 0;
  const own = layersOfPhoto(picture);
  read.layer = own.find((number) => layers[number].name === found.get('layer')) ?? own[0];
  const channel = Number(found.get('channel')) - layers[read.layer].firstChannel;
  if (isNumber(found.get('channel')) && layers[read.layer].has(channel)) read.channel = channel;
  if (isNumber(found.get('opacity'))) read.opacity = Math.min(100, Number(found.get('opacity')));
  read.smooth = found.get('smooth') === '1';
  const like = Number(found.get('like')) - layers[read.layer].firstChannel;
  if (isNumber(found.get('like')) && layers[read.layer].has(like)) read.like = like;
  const [y, x] = (found.get('at') ?? '').split(',');
  if (isNumber(x) && isNumber(y)) read.at = { x: Number(x) + 0.5, y: Number(y) + 0.5 };
  for (const name of ['zoom', 'mosaic']) read[name] = rangesFromWords(found.get(name));
  return read;
}

const PAUSE = 150; // milliseconds between two changes of one entry of the history; WebKit allows 100 in 10 s

let written = -Infinity; // when the address was changed last
let waiting = null; // the timer of a change that waits

/** Change the address where the browser lets the page: not inside a frame without an address of its own. */
function setAddress(push, address) {
  try {
    history[push ? 'pushState' : 'replaceState'](null, '', address);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/** Let the address tell the state; with push as a new entry of the history. */
export function writeAddress(push) {
  const address = addressNow();
  clearTimeout(waiting);
  if (push) return address === (location.hash || '#') ? undefined : setAddress(true, address);
  const change = () => {
    written = performance.now();
    if (address !== (location.hash || '#')) setAddress(false, address);
  };
  const wait = written + PAUSE - performance.now();
  if (wait > 0) waiting = setTimeout(change, wait);
  else change();
  return undefined;
}

/** The browser has gone to another entry: what waits would change that one. */
export function forgetAddress() {
  clearTimeout(waiting);
}

function addressNow() {
  const words = new URLSearchParams();
  if (layerNow().picture) words.set('photo', String(layerNow().picture));
  if (layerNow().name !== layers[layersOfPhoto(layerNow().picture)[0]].name) words.set('layer', layerNow().name);
  if (state.channel !== DEFAULTS.channel) words.set('channel', layerNow().number(state.channel));
  for (const name of ['view', 'order', 'filter', 'scale', 'colours', 'opacity']) if (state[name] !== DEFAULTS[name]) words.set(name, state[name]);
  if (state.order === 'like' && state.like !== null) words.set('like', layerNow().number(Math.min(state.like, layerNow().channels - 1)));
  if (state.smooth) words.set('smooth', '1');
  if (state.at) words.set('at', `${Math.floor(state.at.y)},${Math.floor(state.at.x)}`);
  for (const name of ['zoom', 'mosaic']) if (state[name]) words.set(name, rangesInWords(state[name]));
  const pins = state.pins.map(({ layer, channel }) => {
    const number = layers[layer].number(channel);
    return layer ? `${layer}:${number}` : number;
  });
  if (pins.length) words.set('pins', String(pins));
  return `#${words}`;
}
