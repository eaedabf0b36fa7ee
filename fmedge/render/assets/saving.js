import { BROKEN, channelsOf, colourAt } from './colours.js';
import { csvOfChannel, csvOfMap, LONG_HEADER } from './csv.js';
import { npyHeader } from './npy.js';
import { GIF_END, gifFrame, gifHeader } from './gif.js';
import { element, layerNow, make, state } from './state.js';
import { channelsNow } from './shown.js';
import { tileInWords } from './difference.js';
import { BMP_HEADER, BMP_PALETTE, levelAt, levelsOf, paletteOf, setPalette } from './bitmap.js';
import { LABEL_FROM, MOST_PIXELS, overview } from './mosaic.js';
import { canvasOf } from './print.js';
import { fileName } from './viewer.js';

// ---- Save the open channel, or in the overview the channels shown, in their order -------------------------------------------

/** What is saved: it stays the same while the reader goes on. */
function subject() {
  const { view, channel } = state;
  return { layer: layerNow(), view, look: { ...state }, one: channel, shown: channelsNow(), name: fileName() };
}

/** Every channel's values in turn; the array is used again for the next one. */
async function* valuesOf({ layer, view }, channels) {
  const scratch = new Float32Array(layer.rows * layer.columns);
  for (const channel of channels) {
    await layer.values(view, channel, scratch);
    yield { channel, values: scratch };
  }
}

const wanted = ({ one, shown }) => (one === null ? shown : [one]);

async function npyParts(saved) {
  const { layer, one, shown } = saved;
  const shape = one === null ? [shown.length, layer.rows, layer.columns] : [layer.rows, layer.columns];
  /** @type {BlobPart[]} */
  const parts = [npyHeader(shape)];
  for await (const { values } of valuesOf(saved, wanted(saved))) parts.push(new Blob([values])); // a copy
  return parts;
}

/** An open channel as it lies there; several in the long form, which tells their numbers. */
async function csvParts(saved) {
  const { layer, one } = saved;
  const parts = one === null ? [LONG_HEADER] : [];
  for await (const { channel, values } of valuesOf(saved, wanted(saved))) {
    parts.push(one === null ? csvOfChannel(layer.number(channel), values, layer) : csvOfMap(values, layer));
    await breath();
  }
  return parts;
}

/** Let the page draw and answer. */
const breath = () => new Promise((resolve) => { setTimeout(resolve); });

// ---- Pictures ------------------------------------------------------------------------------------------------------------

const LEAST_PICTURE = 512; // pixels of the longer side: smaller maps are enlarged by a whole factor, so that their values stay sharp
const TONES = 4096; // colours of a table: no two neighbours differ by more than 1 of 255 in any of the scales

/** A channel in the colours that it has when it is open. */
async function channelPicture({ layer, view, one, look }) {
  const values = await layer.values(view, one);
  const [low, high] = layer.range(view, one, look);
  const table = Array.from({ length: TONES }, (_, tone) => colourAt(look.colours, tone / (TONES - 1)).map(Math.round));
  const factor = high > low ? (TONES - 1) / (high - low) : 0;
  const broken = channelsOf(BROKEN);
  const tone = (value) => Math.min(Math.max(Math.round((value - low) * factor), 0), TONES - 1);
  return canvasOf(layer.rows, layer.columns, (place) => (Number.isFinite(values[place]) ? table[tone(values[place])] : broken), '');
}

const enlargement = (width, height, least) => Math.max(1, Math.ceil(least / Math.max(width, height)));

function enlarge(picture, factor) {
  const canvas = make('canvas', '', { width: picture.width * factor, height: picture.height * factor });
  const context = canvas.getContext('2d');
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}

const LABEL = { height: 15, edge: 3, font: '11px sans-serif' }; // as the page's own

/** The mosaic as it is shown, whole; its numbers, where the tiles have room for them. */
async function mosaicPicture(layer) {
  await overview.sharpen();
  const { bitmap, grid, order } = overview;
  const palette = paletteOf(bitmap);
  const { width, height } = grid;
  const colour = (place) => palette[levelAt(bitmap, place % width, Math.floor(place / width))];
  const factor = enlargement(width, height, LEAST_PICTURE);
  const canvas = enlarge(canvasOf(height, width, colour, ''), factor);
  if (grid.pitchX * factor < LABEL_FROM) return canvas;
  const context = canvas.getContext('2d');
  Object.assign(context, { font: LABEL.font, textBaseline: 'middle' });
  for (const [place, channel] of order.entries()) {
    const [x, y] = grid.corner(place).map((edge) => edge * factor);
    const text = `${tileInWords(layer, channel, grid.pitchX * factor)}${layer.isDead(channel) ? ' dead' : ''}`;
    context.fillStyle = 'rgb(0 0 0 / 60%)';
    context.fillRect(x, y, context.measureText(text).width + 2 * LABEL.edge, LABEL.height);
    context.fillStyle = '#fff';
    context.fillText(text, x + LABEL.edge, y + LABEL.height / 2 + 1);
  }
  return canvas;
}

async function pngParts(saved) {
  const canvas = saved.one === null ? await mosaicPicture(saved.layer) : await channelPicture(saved);
  const picture = enlarge(canvas, enlargement(canvas.width, canvas.height, LEAST_PICTURE));
  const blob = await new Promise((resolve) => { picture.toBlob(resolve, 'image/png'); });
  if (!blob) throw new Error(`the browser cannot make a picture of ${picture.width} \u00d7 ${picture.height} pixels`);
  return [blob];
}

// ---- The channels shown, one after another -------------------------------------------------------------------------------

const LEAST_FRAME = 160; // pixels of the longer side, where this leaves an animation within MOST_PIXELS
const FRAME_TIME = 25; // hundredths of a second: four channels in one

/** Palette colours of a channel, each value as a square; of large maps every second, third… value. */
function framePixels(values, { rows, columns }, { every, factor, width, height }, range) {
  const [levels, pixels] = [levelsOf(values, range), new Uint8Array(width * height)];
  for (let row = 0, top = 0; row < rows; row += every, top += factor * width) {
    for (let column = 0, left = top; column < columns; column += every, left += factor) pixels.fill(levels[row * columns + column], left, left + factor);
    for (let copy = 1; copy < factor; copy += 1) pixels.copyWithin(top + copy * width, top, top + width);
  }
  return pixels;
}

function frameSize({ rows, columns }, count) {
  const every = Math.max(1, Math.ceil(Math.sqrt((count * rows * columns) / MOST_PIXELS)));
  const [high, wide] = [Math.ceil(rows / every), Math.ceil(columns / every)];
  const affordable = Math.floor(Math.sqrt(MOST_PIXELS / (count * high * wide)));
  const factor = Math.max(1, Math.min(affordable, enlargement(wide, high, LEAST_FRAME)));
  return { every, factor, width: factor * wide, height: factor * high };
}

async function gifParts(saved) {
  const { layer, view, shown, look } = saved;
  const size = frameSize(layer, shown.length);
  const file = new Uint8Array(BMP_HEADER + BMP_PALETTE);
  setPalette({ file }, look.colours);
  const palette = paletteOf({ file });
  const parts = [gifHeader(size.width, size.height, palette)];
  for await (const { channel, values } of valuesOf(saved, shown)) {
    const pixels = framePixels(values, layer, size, layer.range(view, channel, look));
    parts.push(gifFrame(pixels, size.width, size.height, FRAME_TIME));
    await breath();
  }
  return [...parts, GIF_END];
}

// ---- The menu --------------------------------------------------------------------------------------------------------------

const FORMS = {
  npy: { text: 'array for NumPy (.npy)', type: 'application/octet-stream', parts: npyParts },
  csv: { text: 'table (.csv)', type: 'text/csv', parts: csvParts },
  png: { text: 'picture (.png)', type: 'image/png', parts: pngParts },
  gif: { text: 'animation (.gif)', type: 'image/gif', parts: gifParts },
};

const KEPT_FOR = 40e3; // milliseconds that a file is held for the browser to write it, as FileSaver.js has it

/** Let the browser save a file. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = make('a', '', { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_FOR);
}

let saving = false;

async function save(form) {
  const saved = subject();
  saving = true;
  showSaving();
  await breath();
  try {
    const { type, parts } = FORMS[form];
    const name = `${form === 'gif' ? fileName(null) : saved.name}.${form}`;
    download(new Blob(await parts(saved), { type }), name);
    element('spoken').textContent = `Saved: ${name}`;
    element('save').open = false;
  } catch (error) {
    element('save-what').textContent = `This could not be saved: ${error.message}`;
    return;
  } finally {
    saving = false;
  }
  showSaving();
}

/** Say in the menu what would be saved; a closed one costs nothing. */
export function showSaving() {
  if (!element('save').open) return;
  const [layer, shown] = [layerNow(), channelsNow()];
  const several = shown.length === 1 ? 'The channel shown' : `The ${shown.length} channels shown`;
  const what = state.channel === null ? `${several}, in this order:` : `Channel ${layer.number(state.channel)}:`;
  element('save-what').textContent = saving ? 'Saving\u2026' : what;
  for (const button of element('save-forms').children) button.disabled = saving || !(shown.length || (state.channel !== null && button.dataset.form !== 'gif'));
  const gif = element('save-forms').querySelector('[data-form=gif]');
  gif.hidden = shown.length < 2;
  gif.textContent = state.channel === null ? FORMS.gif.text : `${FORMS.gif.text} of the ${shown.length} channels shown`;
}

/** Keep the menu inside the controls' width. */
function placeMenu() {
  const menu = element('save-menu');
  menu.style.left = '0';
  const [box, room] = [menu.getBoundingClientRect(), element('controls').getBoundingClientRect()];
  menu.style.left = `${Math.min(0, room.right - box.right)}px`;
}

export function connectSaving() {
  const menu = element('save');
  element('save-forms').append(...Object.entries(FORMS).map(([form, { text }]) => {
    const button = make('button', text, { type: 'button', 'data-form': form });
    button.addEventListener('click', () => save(form));
    return button;
  }));
  menu.addEventListener('toggle', () => {
    if (!menu.open) return;
    showSaving();
    placeMenu();
  });
  menu.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector('summary').focus();
  });
  document.addEventListener('pointerdown', (event) => {
    if (!menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
  });
}
