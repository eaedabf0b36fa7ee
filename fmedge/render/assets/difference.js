import { formatValue, header } from './state.js';

// ---- A difference in words: what B is against A, at a value and in a channel -----------------------------------

export const isDifference = header.kind === 'difference';

const SIDES = ['a', 'b', 'error'];

/** A value of A, of B and their difference, a line each, with how far each may be off. */
export async function sidesInWords({ layer, channel, row, column }) {
  const values = await Promise.all(SIDES.map((view) => layer.value(view, channel, row, column)));
  return SIDES.map((view, place) => {
    const tolerance = layer.tolerance(view, channel);
    return `${layer.words[view]} ${formatValue(values[place])}${tolerance ? ` \u00b1${formatValue(tolerance, 2)}` : ''}`;
  });
}

/** What the figures of channels are over, where the page shows the first of several photos. */
export const overPhotos = header.photos > 1 ? `, over ${header.photos} photos` : '';

/** The signal-to-noise ratio of B against A in words. */
export function decibels(ratio, digits = 1) {
  if (ratio === Infinity) return 'equal';
  return `${Number.isFinite(ratio) ? ratio.toFixed(digits).replace('-', '\u2212') : formatValue(ratio)} dB`;
}

const [LETTER, PADDING] = [6.6, 8]; // CSS pixels: the widest figure of a label's 11px type, and both its sides with a gap

/** A tile's label in a difference: the channel's number and its dB, as exactly as there is room for. */
export function tileInWords(layer, channel, room) {
  const number = String(layer.number(channel));
  if (!layer.snr) return number;
  const choices = [1, 0].map((digits) => `${number} \u00b7 ${decibels(layer.snr[channel], digits)}`);
  return choices.find(({ length }) => length * LETTER + PADDING <= room) ?? number;
}
