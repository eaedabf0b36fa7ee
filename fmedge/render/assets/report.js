import { loadPlotly } from './embedded.js';
import { COLOURS, element, MARKS, paper, report } from './chart_parts.js';
import { drawAll } from './charts.js';

// ---- Legend --------------------------------------------------------------------------------------------

const SHAPES = {
  circle: 'M7 1A6 6 0 1 1 7 13A6 6 0 1 1 7 1Z',
  square: 'M2 2H12V12H2Z',
  diamond: 'M7 0L14 7L7 14L0 7Z',
  'triangle-up': 'M7 1L14 13H0Z',
  cross: 'M5 1H9V5H13V9H9V13H5V9H1V5H5Z',
  star: 'M7 0L9 5H14L10 8.5L11.5 14L7 10.7L2.5 14L4 8.5L0 5H5Z',
};

function legendEntry(text, shape, fill) {
  const [entry, svg, path] = [
    document.createElement('li'),
    document.createElementNS('http://www.w3.org/2000/svg', 'svg'),
    document.createElementNS('http://www.w3.org/2000/svg', 'path'),
  ];
  svg.setAttribute('viewBox', '0 0 14 14');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', SHAPES[shape]);
  path.setAttribute('fill', fill);
  svg.append(path);
  entry.append(svg, text);
  return entry;
}

function showLegend() {
  const engines = report.engines.map((name, number) => legendEntry(name, 'square', `var(--c${number % COLOURS})`));
  const forms = report.forms.map((name, number) => legendEntry(name, MARKS[number % MARKS.length], 'var(--soft)'));
  element('legend').replaceChildren(...engines, ...forms);
  if (report.machines.length < 2) return;
  const legend = document.createElement('ul');
  legend.className = 'legend';
  legend.ariaLabel = 'Colours of the machines';
  legend.append(...report.machines.map((name, number) => legendEntry(name, 'square', `var(--c${number % COLOURS})`)));
  element('machines').before(legend);
}

// ---- Sorting -------------------------------------------------------------------------------------------

/** Sort a table's body by a column; rows without a figure stay below. */
function sortBy(table, column, kind, direction) {
  const key = (row) => {
    const cell = row.cells[column];
    if (kind === 'text') return cell.textContent;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => (kind === 'text' ? a.localeCompare(b, 'en', { numeric: true }) : a - b);
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return direction * compare(a, b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector('button').addEventListener('click', () => {
      const direction = head.ariaSort === 'ascending' ? 'descending' : 'ascending';
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', direction);
      sortBy(table, column, head.dataset.kind, direction === 'ascending' ? 1 : -1);
    });
  });
}

// ---- Columns -------------------------------------------------------------------------------------------

/** Show one of the sets of columns at a time; all of them would be twice as wide as a screen. */
function connectColumns() {
  const menu = /** @type {HTMLSelectElement} */ (element('columns'));
  if (!menu) return;
  const show = () => { element('figures').dataset.columns = menu.value; };
  menu.addEventListener('change', show);
  menu.parentElement.hidden = false;
  show();
}

// ---- Start ---------------------------------------------------------------------------------------------

/** Wait for the end of a row of events, then draw once. */
function later(action) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, 150);
  };
}

function connect() {
  for (const id of ['task', 'machine']) element(id).addEventListener('change', drawAll);
  paper.addEventListener('change', () => {
    if (paper.matches) document.querySelectorAll('details').forEach((folded) => { folded.open = true; });
  });
  for (const media of [matchMedia('(prefers-color-scheme: dark)'), paper]) media.addEventListener('change', drawAll);
  let width = innerWidth;
  window.addEventListener('resize', later(() => {
    if (innerWidth !== width) drawAll();
    width = innerWidth;
  }));
}

async function start() {
  document.querySelectorAll('table').forEach(makeSortable);
  connectColumns();
  element('choosers').addEventListener('submit', (event) => event.preventDefault());
  element('compared').hidden = report.machines.length < 2;
  if (report.rows.length) {
    showLegend();
    await loadPlotly();
    await drawAll();
    connect();
  } else {
    element('charts').hidden = true;
  }
  element('status').textContent = '';
  document.body.dataset.state = 'ready';
}

start().catch((error) => {
  element('status').textContent = `The charts could not be drawn: ${error.message}. The tables contain all figures.`;
  document.body.dataset.state = 'failed';
  throw error;
});
