import { formatValue, header } from './state.js';

// ---- A difference in words: what B is against A, at a value and in a channel -----------------------------------

export const isDifference = header.kind === 'difference';

const SIDES = ['a', 'b', 'error'];

/** The 8-bit code of a value of B, where it is known and the page holds the value exactly enough. */
export function codeOf({ errors }, channel, value, tolerance) {
  const [scale, zero] = [errors?.scale?.[channel], errors?.zero?.[channel]];
  return tolerance < scale / 4 && Number.isFinite(value) ? Math.round(value / scale + zero) : null;
}

/** A value of A, of B and their difference, a line each, with how far each may be off; of B also its code. */
export async function sidesInWords({ layer, channel, row, column }) {
  const values = await Promise.all(SIDES.map((view) => layer.value(view, channel, row, column)));
  return SIDES.map((view, place) => {
    const tolerance = layer.tolerance(view, channel);
    const code = view === 'b' ? codeOf(layer, channel, values[place], tolerance) : null;
    const told = `${layer.words[view]} ${formatValue(values[place])}${tolerance ? ` \u00b1${formatValue(tolerance, 2)}` : ''}`;
    return code === null ? told : `${told}, code ${formatValue(code)}`;
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
