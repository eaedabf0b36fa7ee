export const BROKEN = '#ff2fd0'; // of NaN and infinity; in none of the scales

/** Colours at equal distances, lowest value first. Viridis: ten colours of matplotlib's map (CC0). */
export const SCALES = {
  grey: ['#000000', '#ffffff'],
  viridis: [
    '#440154', '#482878', '#3e4989', '#31688e', '#26828e', '#1f9e89', '#35b779', '#6ece58', '#b5de2b', '#fde725',
  ],
  diverging: ['#0a2a5e', '#2b6cb0', '#8fbbe0', '#f7f7f7', '#f0a582', '#c0392b', '#5e0a15'],
};

export const channelsOf = (colour) => [1, 3, 5].map((start) => Number.parseInt(colour.slice(start, start + 2), 16));

export function hexColour(channels) {
  return `#${channels.map((value) => Math.round(value).toString(16).padStart(2, '0')).join('')}`;
}

/** Red, green and blue, 0 to 255, at a share (0 to 1) of the scale. */
export function colourAt(name, share) {
  const stops = SCALES[name];
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const first = Math.min(Math.floor(place), stops.length - 2);
  const [from, to] = [channelsOf(stops[first]), channelsOf(stops[first + 1])];
  return from.map((value, index) => value + (to[index] - value) * (place - first));
}

/** The same for Plotly. */
export function colourscale(name) {
  return SCALES[name].map((colour, index, { length }) => [index / (length - 1), colour]);
}
