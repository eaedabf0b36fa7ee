import { FILTER_HELP, readFilter } from './filters.js';
import { element, header, layerNow, layers, layersOfPhoto, make, MOST_PINS, pictures, state } from './state.js';
import { channelsNow } from './shown.js';
import { overview } from './mosaic.js';
import { detail } from './detail.js';
import { isReading, readValues, step } from './pointing.js';
import { chooseOrder, syncLikeness } from './likeness.js';
import { connectCopying, copyValue } from './copying.js';
import { connectSaving } from './saving.js';
import { stopPlaying, togglePlaying } from './player.js';
import { show } from './viewer.js';

// ---- Choosers ----------------------------------------------------------------------------------------------------

const difference_ = header.kind === 'difference';

const CHOOSERS = {
  order: {
    index: 'by number', mean: 'by mean', max: 'by maximum', spread: 'by spread', sparsity: 'by zeros',
    place: 'by the marked place', like: '', clustered: 'clustered', ...(difference_ ? { worst: 'worst first' } : {}),
  },
  scale: { own: 'a scale per channel', shared: 'one scale for all' },
  colours: { grey: 'grey', viridis: 'viridis', diverging: 'around zero' },
};

function fillChoosers() {
  for (const [name, choices] of Object.entries(CHOOSERS)) {
    const chooser = element(name);
    chooser.append(...Object.entries(choices).map(([value, text]) => make('option', text, { value })));
    chooser.addEventListener('change', () => show(name === 'order' ? chooseOrder(chooser.value) : { [name]: chooser.value }));
    // Chosen with the pointer, the keys are the figure's again; with the keyboard, they stay the chooser's.
    chooser.addEventListener('pointerdown', () => { chooser.dataset.pointer = ''; });
    chooser.addEventListener('keydown', () => delete chooser.dataset.pointer);
    chooser.addEventListener('change', () => 'pointer' in chooser.dataset && chooser.blur());
  }
}

function button(text, pressed, act) {
  const made = make('button', text, { type: 'button' });
  made.addEventListener('click', act);
  made.setAttribute('aria-pressed', pressed);
  return made;
}

function fillViews() {
  const names = [...header.views].sort((one, other) => ORDER_OF_VIEWS.indexOf(one) - ORDER_OF_VIEWS.indexOf(other));
  const buttons = names.map((view) => button(header.viewWords[view], view === state.view, () => show({ view })));
  names.forEach((view, index) => { buttons[index].dataset.view = view; });
  element('views').replaceChildren(...buttons);
}

const ORDER_OF_VIEWS = ['raw', 'relu', 'error', 'a', 'b'];

function fillStrip() {
  const own = layersOfPhoto(0);
  element('strip').hidden = own.length < 2;
  element('strip').replaceChildren(...own.map((layer, place) => button(layers[layer].name, false, () => goToLayer(layersNow()[place]))));
  element('pictures').hidden = pictures.length < 2;
  element('pictures').replaceChildren(...pictures.map(({ image }, picture) => button(image, false, () => goToPhoto(picture))));
}

const layersNow = () => layersOfPhoto(layerNow().picture);

/** The next layer of the photo, or the one before. */
function stepLayer(steps) {
  const own = layersNow();
  goToLayer(own[own.indexOf(state.layer) + steps]);
}

/** The same layer of another photo. */
function goToPhoto(picture) {
  const companion = layerNow().companions.find((layer) => layer.picture === picture);
  if (companion && companion !== layerNow()) show({ layer: layers.indexOf(companion) }, true);
}

let wished = 0; // the channel that the reader chose, which layers passed on the way may lack

/** Another layer; a channel that it lacks becomes its last. */
export function goToLayer(layer) {
  if (!layers[layer]) return;
  if (state.channel !== null && state.channel !== Math.min(wished, layerNow().channels - 1)) wished = state.channel;
  const channel = state.channel === null ? null : Math.min(wished, layers[layer].channels - 1);
  show({ layer, channel, mosaic: null }, true);
}

// ---- Channels ------------------------------------------------------------------------------------------------------

/** The channel so many places on in the order that is shown. */
export function walk(steps) {
  const order = channelsNow();
  if (!order.length) return;
  const place = (order.indexOf(state.channel) + steps + order.length) % order.length;
  show({ channel: order[place] });
}

function jump(text) {
  const index = Number(text) - layerNow().firstChannel;
  const found = text !== '' && layerNow().has(index);
  element('jump').setCustomValidity(found ? '' : `0 to ${layerNow().channels - 1}`);
  if (found) show({ channel: index }, state.channel === null);
  else element('jump').reportValidity();
}

/** Show only channels of which all holds that the text says; a text that cannot be read changes nothing. */
function setFilter(text) {
  const found = readFilter(text) !== null;
  element('filter').setCustomValidity(found ? '' : `Allowed: ${FILTER_HELP}`);
  if (found && text.trim() !== state.filter) show({ filter: text.trim(), mosaic: null });
  else if (!found) element('filter').reportValidity();
}

const isPinned = ({ layer, channel }) => layer === state.layer && channel === state.channel;

function togglePin() {
  if (state.channel === null) return;
  const pinned = state.pins.some(isPinned);
  const others = state.pins.filter((pin) => !isPinned(pin));
  if (!pinned && others.length >= MOST_PINS) return;
  show({ pins: pinned ? others : [...others, { layer: state.layer, channel: state.channel }] });
}

const backToAll = () => !header.single && state.channel !== null && show({ channel: null }, true);

/** Back to all with the keyboard: at the tile that was open. */
function backToTile() {
  const { channel } = state;
  backToAll();
  const place = channelsNow().indexOf(channel);
  if (place >= 0) overview.cursor = place;
}

function switchView() {
  const next = (header.views.indexOf(state.view) + 1) % header.views.length;
  if (header.views.length > 1) show({ view: header.views[next] });
}

// ---- Keys ------------------------------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PAN = 0.15; // share of what is seen

const KEYS = {
  '+': () => figureNow().move({ zoom: 1.5 }),
  '=': () => figureNow().move({ zoom: 1.5 }),
  '-': () => figureNow().move({ zoom: 1 / 1.5 }),
  0: () => figureNow().move(),
  r: switchView,
  o: () => goToPhoto((layerNow().picture + 1) % pictures.length),
  PageUp: () => stepLayer(-1),
  PageDown: () => stepLayer(1),
  v: () => readValues(!isReading()),
  p: togglePin,
  c: copyValue,
  Escape: () => (isReading() ? readValues(false) : backToTile()),
  Enter: () => state.channel === null && overview.cursor !== null && show({ channel: overview.order[overview.cursor] }, true),
};

const figureNow = () => (state.channel === null ? overview : detail);

function onArrow(event, [right, down]) {
  if (isReading()) step(right, down);
  else if (event.shiftKey) figureNow().move({ right: PAN * right, down: PAN * down });
  else if (state.channel === null) moveCursor(right + down * overview.grid.across);
  else if (right) walk(right);
  else stepLayer(down);
}

function moveCursor(steps) {
  const { channels } = overview.grid;
  if (!channels) return;
  overview.cursor = overview.cursor === null ? 0 : Math.min(channels - 1, Math.max(0, overview.cursor + steps));
  overview.reveal(overview.cursor);
  overview.follow();
  const channel = overview.order[overview.cursor];
  element('spoken').textContent = `channel ${layerNow().number(channel)}${layerNow().isDead(channel) ? ', dead' : ''}`;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select')) return;
  if (event.key === 'Enter' && event.target.closest('button, a, summary')) return;
  stopPlaying();
  const act = ARROWS[event.key] ? () => onArrow(event, ARROWS[event.key]) : KEYS[event.key];
  if (!act || !document.body.dataset.state || document.body.dataset.state === 'failed') return;
  event.preventDefault();
  act();
}

// ---- All of them -----------------------------------------------------------------------------------------------------

export function connectControls() {
  fillChoosers();
  fillViews();
  fillStrip();
  element('all').addEventListener('click', backToAll);
  element('before').addEventListener('click', () => walk(-1));
  element('next').addEventListener('click', () => walk(1));
  element('pin').addEventListener('click', togglePin);
  element('jump').addEventListener('change', (event) => jump(event.target.value));
  element('jump').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    jump(event.target.value);
  });
  element('filter').title = `Show only channels of which this holds: ${FILTER_HELP}`;
  element('filter').addEventListener('change', (event) => setFilter(event.target.value));
  element('play').addEventListener('click', togglePlaying);
  element('opacity').addEventListener('input', (event) => show({ opacity: Number(event.target.value) }));
  element('smooth').addEventListener('change', (event) => show({ smooth: event.target.checked }));
  connectCopying();
  connectSaving();
  element('controls').addEventListener('submit', (event) => event.preventDefault());
  document.addEventListener('keydown', onKey);
}

export function syncControls() {
  const [layer, one] = [layerNow(), state.channel !== null];
  syncLikeness();
  for (const name of Object.keys(CHOOSERS)) element(name).value = state[name];
  for (const each of element('views').children) each.setAttribute('aria-pressed', each.dataset.view === state.view);
  element('views').hidden = header.views.length < 2 || (header.kind === 'maps' && layerNow().activation !== 'relu');
  [...element('strip').children].forEach((each, place) => each.setAttribute('aria-pressed', layersNow()[place] === state.layer));
  [...element('pictures').children].forEach((each, picture) => each.setAttribute('aria-pressed', picture === layer.picture));
  for (const name of ['before', 'next', 'pin', 'overlay', 'smooth-label']) element(name).hidden = !one || (header.single && name !== 'overlay' && name !== 'smooth-label');
  element('all').hidden = !one || header.single;
  element('order').hidden = header.single;
  element('scale').hidden = header.single;
  element('jump-label').hidden = header.single;
  element('filter').hidden = header.single || one;
  if (document.activeElement !== element('filter')) element('filter').value = state.filter;
  element('play').hidden = header.single || (!one && layers.length < 2);
  element('order').querySelector('[value=place]').disabled = !state.at;
  const jumpTo = element('jump');
  jumpTo.max = layer.number(layer.channels - 1);
  jumpTo.setCustomValidity('');
  if (document.activeElement !== jumpTo || one) jumpTo.value = one ? layer.number(state.channel) : '';
  const pinned = state.pins.some(isPinned);
  element('pin').setAttribute('aria-pressed', pinned);
  element('pin').disabled = !pinned && state.pins.length >= MOST_PINS;
  element('opacity').value = state.opacity;
  element('smooth').checked = state.smooth;
}
