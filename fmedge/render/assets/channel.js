import { colourAt, hexColour } from './colours.js';
import { likenessFacts } from './likeness.js';
import { element, formatValue, layerNow, make, state } from './state.js';
import { decibels, overPhotos } from './difference.js';

// ---- What is known of the channel: statistics, histogram, kernel --------------------------------------------------

const BINS = 56;

const percent = (share) => {
  const digits = share === 0 || share === 1 ? 0 : 1;
  return `${(100 * share).toFixed(digits)} %`;
};

/** What the share of values below zero is: of those before ReLU, what it removes. */
const belowZero = ({ activation }) => (activation === 'relu' ? 'Removed by ReLU' : 'Below zero');

function factsOf(layer, index) {
  const found = layer.statistics[state.view];
  const raw = layer.statistics.raw;
  const facts = [
    ['Minimum', formatValue(found.smallest[index], 6)],
    ['Maximum', formatValue(found.largest[index], 6)],
    ['Mean', formatValue(found.mean[index], 6)],
    ['Standard deviation', formatValue(found.spread[index], 6)],
    ['Zeros', percent(found.zeros[index])],
  ];
  if (raw) facts.push([belowZero(layer), percent(raw.negative[index])]);
  if (layer.snr) facts.push(['B against A', decibels(layer.snr[index]) + overPhotos]);
  if (found.broken[index]) facts.push(['NaN or infinite', `${found.broken[index]} values`]);
  if (layer.isDead(index)) facts.push(['Dead', 'no value is above zero: ReLU removes them all']);
  return facts;
}

/** Of all channels together. */
function layerFacts(layer) {
  const found = layer.statistics[state.view];
  const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const range = layer.extremes(state.view);
  const facts = [
    ['Shape', `${layer.shape.join(' \u00d7 ')} (channels \u00d7 rows \u00d7 columns)`],
    ['Values', `${formatValue(range[0], 6)} to ${formatValue(range[1], 6)}`],
    ['Zeros', percent(average(found.zeros))],
  ];
  if (layer.statistics.raw) facts.push([belowZero(layer), percent(average(layer.statistics.raw.negative))]);
  if (layer.field) facts.push(['Receptive field', `${layer.field[0]} \u00d7 ${layer.field.at(-1)} pixels`]);
  const dead = Array.from({ length: layer.channels }, (_, index) => index).filter((index) => layer.isDead(index));
  if (dead.length) facts.push(['Dead channels', `${dead.length}: ${listed(dead.map((index) => layer.number(index)))}`]);
  const broken = found.broken.reduce((sum, count) => sum + count, 0);
  if (broken) facts.push(['NaN or infinite', `${broken} values, shown in pink`]);
  return facts;
}

const listed = (numbers) => numbers.slice(0, 12).join(', ') + (numbers.length > 12 ? ', \u2026' : '');

export async function showCard() {
  const layer = layerNow();
  const one = state.channel !== null;
  element('card-title').textContent = one ? `Channel ${layer.number(state.channel)}` : 'All channels';
  const facts = [...(one ? factsOf(layer, state.channel) : layerFacts(layer)), ...likenessFacts(state.channel)];
  element('numbers').replaceChildren(...facts.flatMap(([term, text]) => [make('dt', term), make('dd', text)]));
  element('histogram').hidden = !one;
  element('kernel').hidden = !one || !layer.kernels;
  if (one) drawHistogram(await layer.values(state.view, state.channel));
  if (one && layer.kernels) drawKernel(layer);
}

const SVG = 'http://www.w3.org/2000/svg';

function svg(tag, attributes, text = '') {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

/** Bars whose height is the square root of the count, so that few large values are seen beside many zeros. */
function drawHistogram(values) {
  const layer = layerNow();
  const { smallest, largest } = layer.statistics[state.view];
  const [low, high] = [smallest[state.channel], largest[state.channel]];
  const span = high - low || 1;
  const counts = new Array(BINS).fill(0);
  for (const value of values) if (Number.isFinite(value)) counts[Math.min(BINS - 1, Math.max(0, Math.floor(((value - low) / span) * BINS)))] += 1;
  const most = Math.sqrt(Math.max(...counts)) || 1;
  const [width, height] = [252, 92];
  const bars = counts.map((count, bin) => {
    const high_ = (Math.sqrt(count) / most) * (height - 4);
    const below = low + ((bin + 0.5) / BINS) * span < 0;
    const bar = svg('rect', { x: (bin * width) / BINS, y: height - high_, width: width / BINS - 0.7, height: high_, class: below ? 'below' : 'above' });
    bar.append(svg('title', {}, `${formatValue(low + (bin / BINS) * span, 3)} to ${formatValue(low + ((bin + 1) / BINS) * span, 3)}: ${count}`));
    return bar;
  });
  const zero = ((0 - low) / span) * width;
  const line = low <= 0 && high >= 0 ? [svg('line', { x1: zero, x2: zero, y1: 0, y2: height, class: 'zero' })] : [];
  const base = svg('line', { x1: 0, x2: width, y1: height, y2: height, class: 'base' });
  const text = (x, anchor, value) => svg('text', { x, y: height + 13, 'text-anchor': anchor }, formatValue(value, 3));
  const labels = [text(0, 'start', low), text(width, 'end', high)];
  if (line.length && zero > 60 && zero < width - 60) labels.push(svg('text', { x: zero, y: height + 13, 'text-anchor': 'middle' }, '0'));
  const picture = element('bars');
  picture.setAttribute('viewBox', `-1 0 ${width + 2} ${height + 17}`);
  picture.setAttribute('aria-label', `Histogram of the values from ${formatValue(low, 3)} to ${formatValue(high, 3)}; the line is zero`);
  picture.replaceChildren(...bars, base, ...line, ...labels);
}

/** The weights of a channel that sees the photo: for each colour a table; numbers where there is room for them. */
function drawKernel(layer) {
  const [rows, columns] = layer.kernelSize;
  const count = 3 * rows * columns;
  const weights = layer.kernels.subarray(count * state.channel, count * (state.channel + 1)); // row, column, colour
  const most = weights.reduce((one, other) => Math.max(one, Math.abs(other)), 0) || 1;
  const tables = ['red', 'green', 'blue'].map((name, colour) => {
    const table = make('table');
    table.classList.toggle('dense', columns > 3);
    table.append(make('caption', name));
    for (let row = 0; row < rows; row += 1) {
      const line = table.insertRow();
      for (let column = 0; column < columns; column += 1) {
        const weight = weights[3 * (columns * row + column) + colour];
        const cell = line.insertCell();
        const share = (weight / most + 1) / 2;
        const number = weight.toFixed(2).replace('-', '\u2212').replace('0.', '.');
        if (columns > 3) cell.title = number;
        else cell.textContent = number;
        cell.style.background = hexColour(colourAt('diverging', share));
        cell.style.color = Math.abs(share - 0.5) > 0.27 ? '#fff' : '#111';
      }
    }
    return table;
  });
  element('weights').replaceChildren(...tables);
}
