import { BASE_CONFIG, inflate, loadPlotly } from './embedded.js';

async function start() {
  const figure = await inflate('figure').json();
  await loadPlotly();
  await Plotly.newPlot('plot', figure.data, figure.layout, { ...BASE_CONFIG, responsive: false });
  document.getElementById('status').textContent = '';
  document.body.dataset.state = 'ready';
}

start().catch((error) => {
  document.getElementById('status').textContent = `This page could not be drawn: ${error.message}`;
  document.body.dataset.state = 'failed';
  throw error;
});
