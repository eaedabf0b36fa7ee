import { BASE_CONFIG, cssColour, loadPlotly, themeLayout } from '../../fmedge/render/assets/embedded.js';

const charts = JSON.parse(document.getElementById('data').textContent).charts;
const COLOURS = 8;
const ROW = 30; // height of a bar with its gap, in CSS pixels
const AXES = 20;
const LINES = 300; // height of a chart of lines
const NARROW = 480;
const DASHES = ['solid', 'dash', 'dot', 'dashdot'];

function drawBars(chart, plot) {
  const places = chart.rows.map((_, place) => place);
  const colours = chart.rows.map((row) => cssColour(row.own ? '--accent' : '--soft'));
  const longest = Math.max(...chart.rows.map((row) => row.value));
  const data = [{
    type: 'bar', orientation: 'h', x: chart.rows.map((row) => row.value), y: places, marker: { color: colours },
    text: chart.rows.map((row) => row.text), textposition: 'outside', cliponaxis: false, width: 0.66,
    textfont: { color: cssColour('--ink') }, hovertext: chart.rows.map((row) => row.hover), hoverinfo: 'text',
  }];
  const layout = {
    height: AXES + ROW * places.length, bargap: 0, margin: { l: 8, r: 8, t: 4, b: 8 },
    xaxis: { range: [0, longest * (plot.clientWidth < NARROW ? 1.5 : 1.28)], visible: false, fixedrange: true },
    yaxis: {
      range: [places.length - 0.5, -0.5], tickvals: places, ticktext: chart.rows.map((row) => row.name), automargin: true,
      ticks: '', showgrid: false, zeroline: false, fixedrange: true,
    },
  };
  return Plotly.react(plot, data, { ...themeLayout(plot), ...layout }, { ...BASE_CONFIG, displayModeBar: false });
}

function drawLines(chart, plot) {
  const data = chart.lines.map((line, number) => ({
    type: 'scatter', mode: 'lines+markers', name: line.name, x: line.x, y: line.y, hovertemplate: `%{x}: %{y:.4~g}<extra>${line.name}</extra>`,
    line: { color: cssColour(`--c${number % COLOURS}`), width: 2, dash: DASHES[number % DASHES.length] }, marker: { size: 7 },
  }));
  const numeric = chart.xtitle.startsWith('million');
  const axis = { gridcolor: cssColour('--line'), zeroline: false, fixedrange: true, automargin: true };
  const layout = {
    height: LINES, margin: { l: 8, r: 12, t: 8, b: 8 }, showlegend: true,
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0, itemclick: false, itemdoubleclick: false },
    xaxis: { ...axis, type: numeric ? 'linear' : 'category', title: { text: chart.xtitle, standoff: 8 } },
    yaxis: { ...axis, title: { text: chart.ytitle, standoff: 8 }, rangemode: 'tozero' },
  };
  return Plotly.react(plot, data, { ...themeLayout(plot), ...layout }, { ...BASE_CONFIG, displayModeBar: false });
}

const drawAll = () => Promise.all(charts.map((chart) => {
  const plot = document.getElementById(chart.id);
  return chart.lines ? drawLines(chart, plot) : drawBars(chart, plot);
}));

async function start() {
  await loadPlotly();
  await drawAll();
  for (const query of ['(prefers-color-scheme: dark)', 'print']) matchMedia(query).addEventListener('change', drawAll);
  document.body.dataset.state = 'ready';
}

start().catch((error) => {
  document.body.dataset.state = 'failed';
  throw error;
});
