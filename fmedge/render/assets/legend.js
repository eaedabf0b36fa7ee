import { SCALES } from './colours.js';
import { element, formatValue, layerNow, make, state } from './state.js';

// ---- What the mosaic's colours stand for, and where zero is ---------------------------------------------------------------------

/**
 * Where zero lies on a scale of colours, as a share of it; null where it lies outside.
 * @param {number[]} range
 */
function zeroShare([low, high]) {
  return low <= 0 && high >= 0 && high > low ? -low / (high - low) : null;
}

/**
 * Show the legend: of the channel that is pointed at, or where all have one scale, of all.
 * @param {number | null} channel
 */
export function showLegend(channel = null) {
  const layer = layerNow();
  const shared = state.scale === 'shared';
  const range = shared || channel !== null ? layer.range(state.view, channel ?? 0, state) : null;
  element('gradient').style.backgroundImage = `linear-gradient(to right, ${SCALES[state.colours]})`;
  const around = state.colours === 'diverging' || state.view === 'error';
  const [low, high] = range ? range.map((value) => formatValue(value, 3)) : around ? ['\u2212largest', 'largest'] : ['smallest', 'largest'];
  element('lowest').textContent = low;
  element('highest').textContent = high;
  const share = range ? zeroShare(range) : around ? 0.5 : null;
  element('zero').hidden = share === null;
  if (share !== null) element('zero').style.left = `${100 * share}%`;
  const of = shared ? 'all channels' : channel === null ? 'each channel' : `channel ${layer.number(channel)}`;
  element('legend-of').replaceChildren(make('span', `value of ${of}${['a', 'b'].includes(state.view) ? ', in A and B' : ''}`));
}
