import { loadPlotly } from './embedded.js';
import { element, header, layers, readAddress, state } from './state.js';
import { detail } from './detail.js';
import { connectConvolution } from './convolution.js';
import { connectPointer, hideValue, showMarks } from './pointing.js';
import { connectPaper } from './print.js';
import { connectControls } from './controls.js';
import { connectChannelTable } from './channel_table.js';
import { connectScatter } from './scatter.js';
import { draw, follow, redraw, showCaptions } from './viewer.js';

async function start() {
  showCaptions(header.captions);
  Object.assign(state, readAddress());
  connectControls();
  connectChannelTable();
  connectScatter();
  const { channels, rows, columns } = layers[0];
  if (!(channels && rows && columns)) throw new Error('there are no values');
  await loadPlotly();
  await draw();
  detail.moved = () => showMarks();
  showMarks();
  connectPointer();
  connectPaper();
  connectConvolution();
  window.addEventListener('popstate', follow);
  window.addEventListener('hashchange', follow);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  let width = window.innerWidth;
  window.addEventListener('resize', () => {
    hideValue();
    if (window.innerWidth === width && state.channel === null) return;
    width = window.innerWidth;
    redraw();
  });
}

start().catch((error) => {
  element('status').textContent = `This page could not be drawn: ${error.message}`;
  document.body.dataset.state = 'failed';
  throw error;
});
