'use strict';
/* global Plotly, BASE_CONFIG, DECODERS, VIEWS, loadPlotly, themeLayout */

const element = (id) => document.getElementById(id);
const header = JSON.parse(element('header').textContent);
const plot = element('plot');

// ---- Captions: names from outside, so always as text -----------------------------------------------

function showCaptions({ title, subtitle, note, image, plot: description, facts }) {
  element('title').textContent = title;
  element('subtitle').textContent = subtitle;
  element('note').textContent = note;
  element('note').hidden = !note;
  element('photo').alt = `The image as the model saw it: ${image}`;
  plot.setAttribute('aria-label', description);
  for (const [label, text] of facts) {
    const [term, definition] = [document.createElement('dt'), document.createElement('dd')];
    term.textContent = label;
    definition.textContent = text;
    element('facts').append(term, definition);
  }
}

// ---- Plotly ------------------------------------------------------------------------------------------

const CONFIG = {
  ...BASE_CONFIG,
  scrollZoom: true,
  displayModeBar: true,
  doubleClick: 'reset',
  modeBarButtons: [['toImage'], ['zoom2d', 'pan2d'], ['zoomIn2d', 'zoomOut2d', 'resetScale2d']],
};

/**
 * Where the axes are on the screen, in CSS pixels of the window, and what they show, in axis units.
 * The vertical axis is reversed, so its range starts at the bottom.
 */
function axesFrame() {
  const { xaxis, yaxis } = plot._fullLayout;
  const box = plot.querySelector('.nsewdrag').getBoundingClientRect();
  const [[left, right], [bottom, top]] = [xaxis.range, yaxis.range];
  return { box, left, right, top, bottom, scale: box.width / (right - left) };
}

// ---- The value under the pointer -----------------------------------------------------------------------

let asked = 0; // numbers the questions, so that a late answer to an old one is dropped

function locate(view, event) {
  const { box, left, top, scale } = axesFrame();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  if (x < 0 || y < 0 || x >= box.width || y >= box.height) return null;
  return view.locate(left + x / scale, top + y / scale);
}

async function showValue(view, event) {
  const question = (asked += 1);
  const found = locate(view, event);
  if (!found) return hideValue();
  const { channel, row, column } = found;
  const value = await view.maps.value(channel, row, column);
  if (question !== asked) return undefined;
  const number = header.firstChannel + channel;
  const tooltip = element('tooltip');
  tooltip.textContent = `channel ${number}\nrow ${row}, column ${column}\nvalue ${formatValue(value)}`;
  tooltip.hidden = false;
  return placeTooltip(tooltip, event);
}

function hideValue() {
  asked += 1;
  element('tooltip').hidden = true;
}

/** Seven digits: what a float32 can tell apart. */
function formatValue(value) {
  return String(Number(value.toPrecision(7))).replace('-', '\u2212');
}

/** Beside the pointer, inside the stage. */
function placeTooltip(tooltip, { clientX, clientY }) {
  const stage = element('stage').getBoundingClientRect();
  const [x, y] = [clientX - stage.left, clientY - stage.top];
  const left = x + 16 + tooltip.offsetWidth < stage.width ? x + 16 : x - 16 - tooltip.offsetWidth;
  const top = y + 16 + tooltip.offsetHeight < stage.height ? y + 16 : y - 16 - tooltip.offsetHeight;
  tooltip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
}

// ---- What follows the zoom: channel numbers, sharp pixels --------------------------------------------

const LABEL_FROM = 40; // a tile this wide on the screen, in CSS pixels, has room for its number
const LABEL_WIDTH = 26; // of what is seen of a tile at the edge, no less, so that numbers never overlap
const LABEL_HEIGHT = 16;

function followZoom(view) {
  const frame = axesFrame();
  plot.classList.toggle('near', frame.scale >= 1);
  if (view.corner) showLabels(view, frame);
}

function showLabels(view, { box, left, top, scale }) {
  const labels = element('labels');
  const stage = element('stage').getBoundingClientRect();
  labels.style.left = `${box.left - stage.left}px`;
  labels.style.top = `${box.top - stage.top}px`;
  labels.style.width = `${box.width}px`;
  labels.style.height = `${box.height}px`;
  const spans = [];
  for (let channel = 0; channel < view.maps.channels && view.pitchX * scale >= LABEL_FROM; channel += 1) {
    const corner = view.corner(channel);
    const [x, y] = [(corner[0] - left) * scale, (corner[1] - top) * scale];
    const seenX = Math.min(box.width, x + view.pitchX * scale) - Math.max(0, x);
    const seenY = Math.min(box.height, y + view.pitchY * scale) - Math.max(0, y);
    if (seenX >= LABEL_WIDTH && seenY >= LABEL_HEIGHT) spans.push(label(channel, x, y));
  }
  labels.replaceChildren(...spans);
}

function label(channel, x, y) {
  const span = document.createElement('span');
  span.textContent = channel;
  span.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
  return span;
}

// ---- Keys --------------------------------------------------------------------------------------------------

const KEYS = {
  '+': { zoom: 1.5 },
  '=': { zoom: 1.5 },
  '-': { zoom: 1 / 1.5 },
  ArrowLeft: { right: -0.15 },
  ArrowRight: { right: 0.15 },
  ArrowUp: { down: -0.15 },
  ArrowDown: { down: 0.15 },
};

function moved([from, to], shift, zoom) {
  const middle = (from + to) / 2 + shift * (to - from);
  const half = (to - from) / 2 / zoom;
  return [middle - half, middle + half];
}

function onKey(event, home) {
  const step = KEYS[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey || !(step || event.key === '0')) return;
  event.preventDefault();
  const frame = axesFrame();
  const { right = 0, down = 0, zoom = 1 } = step ?? {};
  const x = moved([frame.left, frame.right], right, zoom);
  const y = moved([frame.bottom, frame.top], -down, zoom);
  Plotly.relayout(plot, { 'xaxis.range': step ? x : home.x, 'yaxis.range': step ? y : home.y });
}

// ---- Start -----------------------------------------------------------------------------------------------

function connect(view, { xaxis, yaxis }) {
  const stage = element('stage');
  const home = { x: [...xaxis.range], y: [...yaxis.range] };
  stage.addEventListener('pointermove', (event) => showValue(view, event));
  stage.addEventListener('pointerdown', (event) => showValue(view, event));
  stage.addEventListener('pointerleave', hideValue);
  plot.addEventListener('keydown', (event) => onKey(event, home));
  plot.on('plotly_relayouting', () => {
    hideValue(); // the maps have moved from under it
    followZoom(view);
  });
  plot.on('plotly_afterplot', () => followZoom(view));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    Plotly.relayout(plot, { ...themeLayout(plot), ...view.themeChanges() });
  });
  followZoom(view);
}

async function start() {
  showCaptions(header.captions);
  const maps = new DECODERS[header.encoding](header);
  const view = new VIEWS[header.view](maps);
  document.body.dataset.view = header.view;
  element('stage').style.setProperty('--ratio', view.width / view.height);
  const [, { data, layout }] = await Promise.all([loadPlotly(), view.draw()]);
  await Plotly.newPlot(plot, data, { ...layout, ...themeLayout(plot) }, CONFIG);
  connect(view, layout);
  element('status').textContent = '';
  document.body.dataset.state = 'ready';
}

start().catch((error) => {
  element('status').textContent = `This page could not be drawn: ${error.message}`;
  document.body.dataset.state = 'failed';
  throw error;
});
