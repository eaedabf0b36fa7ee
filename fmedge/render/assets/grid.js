import { BASE_CONFIG, cssColour, FIGURE_BUTTONS, inflate, loadPlotly, themeLayout } from './embedded.js';

// ---- The figure, laid out anew for the width that there is --------------------------------------------------------------

const GAP = 8; // between maps, in CSS pixels
const LABEL = 16; // above each map: its number
const LEAST_LABELLED = 28; // width of a map that has room for its number
const MARGIN = { l: 1, r: 1, t: 34, b: 1 }; // above: Plotly's buttons
const SINGLE = { l: 46, r: 8, t: 34, b: 46 }; // of one map alone, which has axes
const LARGEST = 620; // width of one map alone
const PAPER = 670; // on A4 or Letter with margins of 12 mm

const paper = matchMedia('print');
const header = JSON.parse(document.getElementById('header').textContent);
const plot = document.getElementById('plot');
const coarse = matchMedia('(pointer: coarse)'); // a finger scrolls the page

const layoutName = (letter, number) => `${letter}axis${number ? number + 1 : ''}`;

/** Sizes in CSS pixels of a grid that is so many maps wide. */
function sizes(count, [rows, columns]) {
  const across = Math.ceil(Math.sqrt(count));
  const down = Math.ceil(count / across);
  const margin = count === 1 ? SINGLE : MARGIN;
  const whole = paper.matches ? PAPER : plot.clientWidth;
  const width = Math.max(1, count === 1 ? Math.min(LARGEST, whole - margin.l - margin.r) : (whole - margin.l - margin.r - (across - 1) * GAP) / across);
  const label = count > 1 && width >= LEAST_LABELLED ? LABEL : 0;
  const height = (width * rows) / columns;
  return { across, down, margin, width, height, label, pitchX: width + GAP, pitchY: height + label + GAP, total: [across * (width + GAP) - GAP, down * (height + label + GAP) - GAP] };
}

/** The place of every map, as shares of the plotting area; numbers above them; colours of the theme. */
function layoutOf({ data, layout }) {
  const { across, margin, width, height, label, pitchX, pitchY, total } = sizes(data.length, header.shape);
  const made = {
    ...themeLayout(plot), width: total[0] + margin.l + margin.r, height: total[1] + margin.t + margin.b, margin, dragmode: coarse.matches ? false : 'zoom', annotations: [],
  };
  const single = data.length === 1;
  data.forEach((_, number) => {
    const [left, top] = [(number % across) * pitchX, Math.floor(number / across) * pitchY + label];
    const domain = { x: [left / total[0], (left + width) / total[0]], y: [1 - (top + height) / total[1], 1 - top / total[1]] };
    for (const letter of ['x', 'y']) {
      const name = layoutName(letter, number);
      const title = single ? { title: { text: letter === 'x' ? 'column' : 'row', standoff: 6 } } : {};
      made[name] = { ...layout[name], ...title, domain: domain[letter], showticklabels: single, ticks: single ? 'outside' : '', showgrid: false, zeroline: false };
    }
    if (label) {
      made.annotations.push({
        text: String(header.first + number), x: domain.x[0], y: domain.y[1], xref: 'paper', yref: 'paper', xanchor: 'left', yanchor: 'bottom',
        showarrow: false, borderpad: 0, font: { size: 11, color: cssColour('--soft') },
      });
    }
  });
  return made;
}

async function start() {
  const figure = await (await inflate('figure')).json();
  await loadPlotly();
  figure.data.forEach((trace, number) => {
    trace.hovertemplate = `channel ${header.first + number}<br>row %{y}, column %{x}<br>value %{z}<extra></extra>`;
  });
  const file = document.title.replace(/[^\w.+-]+/g, '_').slice(0, 120);
  const config = { ...BASE_CONFIG, responsive: false, displayModeBar: true, modeBarButtons: FIGURE_BUTTONS, toImageButtonOptions: { filename: file, scale: 2 } };
  await Plotly.newPlot(plot, figure.data, layoutOf(figure), config);
  const again = () => Plotly.relayout(plot, layoutOf(figure));
  for (const media of [paper, coarse, matchMedia('(prefers-color-scheme: dark)')]) media.addEventListener('change', again);
  let width = window.innerWidth;
  window.addEventListener('resize', () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    again();
  });
  document.getElementById('status').textContent = '';
  document.body.dataset.state = 'ready';
}

start().catch((error) => {
  document.getElementById('status').textContent = `This page could not be drawn: ${error.message}`;
  document.body.dataset.state = 'failed';
  throw error;
});
