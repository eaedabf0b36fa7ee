import { BASE_CONFIG, cssColour, FIGURE_BUTTONS, themeLayout } from './embedded.js';
import { element, layerNow, pictures, state } from './state.js';
import { isDifference } from './difference.js';
import { centres, countPairs, createGrid } from './pairs.js';

// ---- B against A, value by value: of the open channel, or of all channels --------------------------------------------

const MOST_PAIRS = 2 ** 20; // of all channels together; of larger layers every second, third… value is counted
const WIDEST = 560; // CSS pixels
const BOUND = { dash: 'dot', width: 1 };

let drawn = ''; // what the figure shows

/** Count the values of a channel, or of all channels. */
async function countLayer(layer, channel) {
  const [low, high] = layer.range('a', channel ?? 0, { scale: channel === null ? 'shared' : 'own', colours: 'grey' });
  const grid = createGrid([low, high], channel === null ? NaN : layer.errors.scale?.[channel]);
  if (channel !== null) {
    countPairs(grid, await layer.values('a', channel), await layer.values('b', channel));
    return { grid, every: 1 };
  }
  const size = layer.rows * layer.columns;
  const every = Math.ceil((layer.channels * size) / MOST_PAIRS);
  const [first, second] = [new Float32Array(size), new Float32Array(size)];
  for (let index = 0; index < layer.channels; index += 1) {
    await layer.values('a', index, first);
    await layer.values('b', index, second);
    countPairs(grid, first, second, every, index % every);
  }
  return { grid, every };
}

/** The counts as a heatmap of their logarithms; what has none stays clear. */
function heatmapOf({ columns, rows, counts }) {
  const lines = Array.from({ length: rows.count }, (_, row) => [...counts.subarray(row * columns.count, (row + 1) * columns.count)]);
  const most = Math.log10(counts.reduce((one, other) => Math.max(one, other), 1)) || 1;
  const powers = Array.from({ length: Math.floor(most) + 1 }, (_, power) => power);
  return {
    type: 'heatmap', ...centres('x', columns), ...centres('y', rows), zmin: 0, zmax: most,
    z: lines.map((line) => line.map((count) => (count ? Math.log10(count) : null))),
    text: lines, hovertemplate: 'A %{x:.4g}, B %{y:.4g}: %{text} values<extra></extra>', hoverongaps: false,
    colorscale: [[0, cssColour('--few')], [1, cssColour('--many')]],
    colorbar: { thickness: 11, outlinewidth: 0, tickvals: powers, ticktext: powers.map((power) => String(10 ** power)), title: { text: 'values' } },
  };
}

/**
 * Where B's codes end, within what is shown.
 * @param {any} layer
 * @param {number | null} channel
 * @param {number[]} range
 */
function boundsOfCodes(layer, channel, [low, high]) {
  if (channel === null || !layer.errors.lowest) return [];
  return [['lowest', layer.errors.lowest[channel]], ['highest', layer.errors.highest[channel]]]
    .filter(([, value]) => value >= low && value <= high && value !== 0)
    .map(([name, value]) => ({ type: 'line', layer: 'below', xref: 'paper', x0: 0, x1: 1, y0: value, y1: value, line: { ...BOUND, color: cssColour('--ink') },
      label: { text: `B\u2019s ${name} code`, textposition: 'start', yanchor: name === 'lowest' ? 'top' : 'bottom', font: { size: 11 } } }));
}

function layoutOf(layer, channel, { columns }, width) {
  const [low, high] = [columns.start, columns.start + columns.step * columns.count];
  const range = [low - 0.03 * (high - low), high + 0.03 * (high - low)];
  const axis = { range, zeroline: false, gridcolor: cssColour('--line'), nticks: 7 };
  return {
    width, height: Math.min(width - 60, 500), margin: { l: 58, r: 8, t: 34, b: 46 }, dragmode: false, showlegend: false,
    xaxis: { ...axis, title: { text: 'A' } }, yaxis: { ...axis, title: { text: 'B' } },
    shapes: [
      { type: 'line', x0: low, x1: high, y0: low, y1: high, layer: 'above', line: { color: cssColour('--accent'), width: 1 } },
      ...boundsOfCodes(layer, channel, range),
    ],
  };
}

function pairsInWords(layer, channel, { pairs }, every) {
  const what = channel === null ? 'all channels' : `channel ${layer.number(channel)}`;
  const which = every === 1 ? '' : `, one value of ${every}`;
  return `${layer.name}, ${what}${which}: ${pairs.toLocaleString('en')} pairs of values. On the line B equals A; above it B is larger. Where B is cut off, it stays level while A goes on.`;
}

/** Let an open figure show the open channel, or the layer. */
export async function showScatter() {
  if (!isDifference || !element('scatter').open) return;
  const [layer, channel, plot] = [layerNow(), state.channel, element('pairs')];
  const width = Math.min(WIDEST, element('scatter').clientWidth);
  const wanted = JSON.stringify([state.layer, channel, width, cssColour('--card')]);
  if (wanted === drawn) return;
  drawn = wanted;
  const { grid, every } = await countLayer(layer, channel);
  if (wanted !== drawn) return; // something else was chosen meanwhile
  element('pairs-caption').textContent = pairsInWords(layer, channel, grid, every);
  const name = `${pictures[layer.picture].image} ${layer.name} ${channel === null ? '' : layer.number(channel)} B against A`;
  await Plotly.react(plot, [heatmapOf(grid)], { ...layoutOf(layer, channel, grid, width), ...themeLayout(plot) }, {
    ...BASE_CONFIG, responsive: false, displayModeBar: true, modeBarButtons: FIGURE_BUTTONS,
    toImageButtonOptions: { filename: name.replace(/[^\w.+-]+/g, '_').slice(0, 120), scale: 2 },
  });
}

export function connectScatter() {
  element('scatter').hidden = !isDifference;
  if (isDifference) element('scatter').addEventListener('toggle', showScatter);
}
