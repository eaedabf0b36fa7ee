import {
  element, forgetAddress, header, layerNow, make, photoOf, pictures, readAddress, state, writeAddress,
} from './state.js';
import { askLikeness } from './likeness.js';
import { askAnswers } from './shown.js';
import { showLegend } from './legend.js';
import { overview } from './mosaic.js';
import { detail } from './detail.js';
import { showCard } from './channel.js';
import { showStrongest } from './strongest.js';
import { showConvolution } from './convolution.js';
import { showMarks, showValueAgain } from './pointing.js';
import { showMarkedValue } from './copying.js';
import { showSaving } from './saving.js';
import { syncControls } from './controls.js';
import { showChannelTable } from './channel_table.js';
import { showScatter } from './scatter.js';

// ---- Captions: names from outside, so always as text -----------------------------------------------------------

export function showCaptions({ subtitle, note, facts }) {
  element('subtitle').textContent = subtitle;
  element('note').textContent = note;
  element('note').hidden = !note;
  pictures.forEach(({ image }, picture) => { photoOf({ picture }).alt = `The image as the model saw it: ${image}`; });
  element('facts').append(...facts.flatMap(([label, text]) => [make('dt', label), make('dd', text)]));
}

const picture = { filename: '', scale: 2 }; // what Plotly's camera saves: pixels for screens of twice the density

/** How a file of what is shown is called, without its ending. */
export function fileName(index = state.channel) {
  const layer = layerNow();
  const channel = index === null ? '' : ` channel ${layer.number(index)}`;
  return `${pictures[layer.picture].image} ${layer.name}${channel} ${layer.words[state.view]}`.replace(/[^\w.+-]+/g, '_').slice(0, 120);
}

function showTitle() {
  const layer = layerNow();
  const channel = state.channel === null ? '' : ` - channel ${layer.number(state.channel)}`;
  const title = `${layer.name}${channel}, ${layer.words[state.view]}`;
  element('title').textContent = title;
  picture.filename = fileName();
  document.title = `${title}, ${header.captions.subtitle}`;
  const count = `${layer.channels} feature maps, ${layer.rows} rows by ${layer.columns} columns each`;
  element('overview').setAttribute('aria-label', `${title}: ${count}, in a grid. Arrow keys choose a channel, Enter opens it.`);
  element('panels').setAttribute('aria-label', `${title}: ${layer.rows} rows by ${layer.columns} columns.`);
  element('spoken').textContent = title;
}

// ---- Drawing: one at a time, the latest state ------------------------------------------------------------------

let drawing = null;
let again = false;

export async function draw() {
  again = true;
  drawing ??= drawAll().finally(() => { drawing = null; });
  return drawing;
}

async function drawAll() {
  document.body.dataset.state = 'busy';
  try {
    while (again) {
      again = false;
      await drawOnce();
    }
    document.body.dataset.state = 'ready';
    element('status').textContent = '';
  } catch (error) {
    element('status').textContent = `This page could not be drawn: ${error.message}`;
    document.body.dataset.state = 'failed';
    throw error;
  }
}

async function drawOnce() {
  await askAnswers();
  await askLikeness();
  const one = state.channel !== null;
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  document.body.dataset.view = one ? 'channel' : 'overview';
  element('overview').hidden = one;
  element('labels').hidden = one;
  element('legend').hidden = one;
  element('nothing').hidden = true;
  element('panels').hidden = !one;
  syncControls();
  pictures.forEach((_, picture) => { photoOf({ picture }).hidden = picture !== layerNow().picture; });
  showTitle();
  showStrongest();
  showSaving();
  showLegend();
  showChannelTable();
  await Promise.all([showCard(), showMarkedValue(), showConvolution(), showScatter(), one ? detail.draw() : overview.draw()]);
  if (focused.closest('[hidden]')) element(one ? 'panels' : 'overview').focus({ preventScroll: true }); // or the keys would be lost
  if (!one) overview.follow();
  (one ? detail : overview).plot._context.toImageButtonOptions = picture;
  showMarks();
  showValueAgain();
}

/** Show something else; with push the browser's way back leads here. */
export function show(changes, push = false) {
  Object.assign(state, changes);
  writeAddress(push);
  return draw();
}

export function follow() {
  forgetAddress();
  Object.assign(state, readAddress());
  return draw();
}

/** A picture of another size, other colours. */
export function redraw() {
  if (state.channel === null && overview.plot) Plotly.Plots.resize(overview.plot);
  draw();
}
