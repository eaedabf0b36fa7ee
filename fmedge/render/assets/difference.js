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
