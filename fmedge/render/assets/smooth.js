import { colourAt } from './colours.js';
import { header, layers, make, state } from './state.js';

// ---- A map over the photo, smooth, and the more opaque the higher its values, as class activation maps are shown -------------

const LONGEST = 1024; // pixels of the picture, which the browser then enlarges smoothly
const SMOOTH_TONES = 256; // colours and opacities of a picture have 8 bits
const APART = 1 + 1e-9; // Plotly takes pictures of one place and size for one: it would not draw the second over the photo

/**
 * For every pixel along a side, the two values that it lies between and the share of the second: bilinear, about the values' middles, and
 * beyond the outermost middles the outermost value.
 * @param {number} count values along the side
 * @param {number} pixels
 */
export function betweenValues(count, pixels) {
  return Array.from({ length: pixels }, (_, pixel) => {
    const place = Math.min(Math.max(((pixel + 0.5) * count) / pixels - 0.5, 0), count - 1);
    const first = Math.min(Math.floor(place), Math.max(0, count - 2));
    return { first, second: Math.min(first + 1, count - 1), share: place - first };
  });
}

/** Red, green, blue and opacity of every pixel, each 0 to 255, from those of the lowest value to the highest. NaN and infinity count as the
 * lowest: they have a colour of their own. */
export function smoothPixels(values, { rows, columns }, [low, high], { width, height }, tones) {
  const pixels = new Uint8ClampedArray(4 * width * height);
  const factor = high > low ? (tones.length - 1) / (high - low) : 0;
  const toneOf = (place) => (Number.isFinite(values[place]) ? (values[place] - low) * factor : 0);
  const across = betweenValues(columns, width);
  for (const [y, { first, second, share }] of betweenValues(rows, height).entries()) {
    const line = new Float64Array(columns);
    for (let column = 0; column < columns; column += 1) line[column] = toneOf(first * columns + column) * (1 - share) + toneOf(second * columns + column) * share;
    for (let x = 0; x < width; x += 1) {
      const tone = line[across[x].first] * (1 - across[x].share) + line[across[x].second] * across[x].share;
      pixels.set(tones[Math.min(Math.max(Math.round(tone), 0), tones.length - 1)], 4 * (y * width + x));
    }
  }
  return pixels;
}

/** Colours with opacities: none at the lowest value, or where the range is around zero, at zero; at the highest as much as is chosen. */
function tonesOf(colours, aroundZero, opacity) {
  return Array.from({ length: SMOOTH_TONES }, (_, tone) => {
    const share = tone / (SMOOTH_TONES - 1);
    const strength = aroundZero ? Math.abs(2 * share - 1) : share;
    return [...colourAt(colours, share), 255 * strength * opacity];
  });
}

/** The panel's map as a picture of Plotly's layout, over what lies there. */
export function smoothImage(panel, axes) {
  const [layer, [xref, yref]] = [layers[panel.layer], axes];
  const [[tall, wide], [high, broad]] = [header.photo, layer.step];
  const scale = Math.min(1, LONGEST / Math.max(tall, wide));
  const width = Math.max(layer.columns, Math.ceil(layer.columns * broad * scale));
  const height = Math.max(layer.rows, Math.ceil(layer.rows * high * scale));
  const tones = tonesOf(state.colours, state.colours === 'diverging' || panel.view === 'error', state.opacity / 100);
  const pixels = smoothPixels(panel.values, layer, panel.range, { width, height }, tones);
  const canvas = make('canvas', '', { width, height });
  canvas.getContext('2d').putImageData(new ImageData(pixels, width, height), 0, 0);
  const [left, top] = layer.cell(0, 0);
  return {
    source: canvas.toDataURL(), xref, yref, x: left, y: top, sizex: layer.columns * broad * APART, sizey: layer.rows * high,
    xanchor: 'left', yanchor: 'top', sizing: 'stretch', layer: 'below',
  };
}
