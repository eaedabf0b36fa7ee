import { formatValue } from './state.js';
import { decibels } from './difference.js';

// ---- What is known of every channel of a difference, in order and as a file ------------------------------------------

const packed = (name) => (layer, index) => layer.errors[name]?.[index] ?? NaN;

/** In percent, with two digits: a few values of many are not nothing. */
const inPercent = (share) => `${formatValue(100 * share, 2)} %`;

/** The figures of a channel: name in the file, text, what it is, value, value in words, and whether small or large ones come first. */
export const FIGURES = [
  { name: 'channel', text: 'channel', title: 'number of the channel, from 0', of: (layer, index) => layer.number(index), words: String, first: 'ascending' },
  { name: 'snr_db', text: 'dB', title: 'signal-to-noise ratio of B against A; higher is better', of: packed('snr'), words: (value) => decibels(value).replace(' dB', ''), first: 'ascending' },
  { name: 'bias', text: 'bias', title: 'mean of B \u2212 A; sorted by its size, whatever its sign', of: packed('bias'), words: (value) => formatValue(value, 3), key: Math.abs, first: 'descending' },
  { name: 'max_error', text: 'largest error', title: 'largest of |B \u2212 A|', of: packed('largest'), words: (value) => formatValue(value, 3), first: 'descending' },
  {
    name: 'saturated', text: 'saturated', of: packed('saturated'), words: inPercent, first: 'descending',
    title: 'share of B\u2019s values that are cut off: at the lowest or highest of its 8-bit codes, unless that code stands for 0. Where the codes are '
      + 'not known: at B\u2019s own smallest or largest value, if several are there, where A lies beyond',
  },
  { name: 'scale', text: 'scale', title: 'what one step of B\u2019s 8-bit codes stands for; \u2013 where there are none, or they are not known', of: packed('scale'), words: (value) => formatValue(value, 4), first: 'descending' },
  { name: 'zero_point', text: 'zero point', title: 'the 8-bit code of B that stands for 0', of: packed('zero'), words: (value) => formatValue(value), first: 'descending' },
];

export function inWords({ of, words }, layer, index) {
  const value = of(layer, index);
  return Number.isNaN(value) ? '\u2013' : words(value);
}

/** The channels in the order of a column's figures; those without one come last. */
export function sortChannels(layer, name, direction) {
  const { of, key = (value) => value } = FIGURES.find((figure) => figure.name === name);
  const keys = Array.from({ length: layer.channels }, (_, index) => key(of(layer, index)));
  const sign = direction === 'ascending' ? 1 : -1;
  const compare = (one, other) => {
    const [first, second] = [keys[one], keys[other]];
    if (Number.isNaN(first) || Number.isNaN(second)) return Number(Number.isNaN(first)) - Number(Number.isNaN(second)) || one - other;
    return sign * (Number(first > second) - Number(first < second)) || one - other;
  };
  return [...keys.keys()].sort(compare);
}

/** As Python and spreadsheets read them: 9 digits give back a float32; nothing where there is no figure. */
function plainNumber(value) {
  if (Number.isNaN(value)) return '';
  return Number.isFinite(value) ? String(Number(value.toPrecision(9))) : `${value < 0 ? '-' : ''}inf`;
}

/** The table as a file; its names are those of `fmedge diff --json`. */
export function channelsAsCsv(layer, order) {
  const lines = order.map((index) => FIGURES.map(({ of }) => plainNumber(of(layer, index))).join(','));
  return [FIGURES.map(({ name }) => name).join(','), ...lines, ''].join('\r\n');
}
