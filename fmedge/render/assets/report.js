'use strict';
/* global Plotly, BASE_CONFIG, cssColour, loadPlotly, themeLayout */

const element = (id) => document.getElementById(id);
const report = JSON.parse(element('data').textContent);

// ---- What is shown ------------------------------------------------------------------------------------

const COLOURS = 8;
const MARKS = ['circle', 'square', 'diamond', 'triangle-up', 'cross', 'star'];
const PATTERNS = ['', '/', 'x', '.', '+', '-'];
const NARROW = 590; // a chart below this width, in CSS pixels, has its labels above the bars
const PAPER = 670; // width of a chart on A4 or Letter with margins of 12 mm, in CSS pixels
const DECADE = 10; // times that span this much are drawn on a logarithmic axis
const BEST = -1; // colour of what is not one engine's

const colour = (number) => cssColour(number === BEST ? '--ink' : `--c${number % COLOURS}`);
const mark = (row) => MARKS[row.form % MARKS.length];
const pattern = (row) => PATTERNS[row.form % PATTERNS.length];
const chosen = (id) => Number(element(id).value);
const paper = matchMedia('print');
const chartWidth = () => (paper.matches ? PAPER : element('charts').clientWidth - 30);
const narrow = () => chartWidth() < NARROW;

/** Names come from outside, and Plotly reads some HTML, and mathematics between dollars. */
function plain(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('$', '&#36;');
}

const hover = (row) => row.hover.map(plain).map((line, number) => (number ? line : `<b>${line}</b>`)).join('<br>');

function shownRows() {
  return report.rows.filter((row) => row.task === chosen('task') && row.machine === chosen('machine'));
}

function formatTime(value) {
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value.toFixed(value >= 10 ? 1 : value >= 1 ? 2 : 3);
}

// ---- Axes ----------------------------------------------------------------------------------------------

function timeAxis(values, { log = Math.max(...values) > DECADE * Math.min(...values), zero = false } = {}) {
  const axis = { gridcolor: cssColour('--line'), zeroline: false, fixedrange: true, automargin: true };
  const scale = log ? { type: 'log', ...logTicks(values) } : { rangemode: zero ? 'tozero' : 'normal' };
  return { ...axis, ...scale, title: { text: log ? 'ms (equal steps are equal ratios)' : 'ms', standoff: 8 } };
}

/** Ticks at 1, 2 and 5 of every decade; at 1 alone where that would be many. Plotly leaves out the decades of 2 and 5. */
function logTicks(values) {
  const [first, last] = [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))];
  const steps = last - first > (narrow() ? 2 : 4) ? [1] : [1, 2, 5];
  const decades = Array.from({ length: last - first + 1 }, (_, place) => first + place);
  const tickvals = decades.flatMap((decade) => steps.map((step) => Number(`${step}e${decade}`)));
  return { tickvals, ticktext: tickvals.map((value) => value.toLocaleString('en', { maximumSignificantDigits: 3 })) };
}

/** Rows from the top down; where it is narrow, their names stand above what belongs to them. */
function nameAxis(names) {
  const axis = { range: [names.length - 0.5, -0.75], fixedrange: true, showgrid: false, zeroline: false };
  if (narrow()) return { ...axis, showticklabels: false };
  const ticks = { tickvals: names.map((_, place) => place), ticktext: names.map((name) => plain(shortened(name))) };
  return { ...axis, ...ticks, automargin: true, ticks: '' };
}

const LONGEST = 44;

function shortened(name) {
  return name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}\u2026` : name;
}

function namesAbove(names) {
  if (!narrow()) return [];
  return names.map((name, place) => ({
    text: plain(shortened(name)), x: 0, xref: 'paper', xanchor: 'left', y: place - 0.5, yref: 'y', yanchor: 'middle', showarrow: false,
  }));
}

/** Height of a chart of bars; its margins included. */
function barsHeight(count, each = 1) {
  return 70 + count * ((narrow() ? 46 : 26) + 15 * (each - 1));
}

// ---- Drawing -------------------------------------------------------------------------------------------

const CONFIG = { ...BASE_CONFIG, displayModeBar: 'hover', modeBarButtons: [['toImage']] };

function draw(id, data, layout, description) {
  const plot = element(id);
  const margin = { l: 12, r: 14, t: 26, b: 46 };
  const hoverlabel = { align: 'left', bgcolor: cssColour('--card'), bordercolor: cssColour('--line'), font: { color: cssColour('--ink') } };
  if (layout.height) plot.style.height = `${layout.height}px`;
  plot.setAttribute('aria-label', `${description} The table of all figures holds the same numbers.`);
  const common = { margin, hoverlabel, showlegend: false, dragmode: false, hovermode: 'closest', ...themeLayout(plot) };
  return Plotly.react(plot, data, { ...common, ...layout, ...(paper.matches ? { width: PAPER } : { autosize: true }) }, CONFIG);
}

const taskName = () => report.tasks[chosen('task')];

function drawTrade(rows) {
  const placed = rows.filter((row) => row.snr !== null);
  const best = placed.filter((row) => row.front);
  const line = {
    type: 'scatter', mode: 'lines', x: best.map((row) => row.p50), y: best.map((row) => row.snr), hoverinfo: 'skip',
    line: { shape: 'hv', color: colour(BEST), width: 1.5, dash: 'dot' },
  };
  const others = rows.filter((row) => row.snr === null).map((row) => row.choice);
  element('unplaced').hidden = !others.length;
  element('unplaced').textContent = `Not shown, since their accuracy was not measured: ${others.join('; ')}.`;
  const times = placed.map((row) => row.p50);
  const levels = placed.map((row) => row.snr);
  const layout = {
    xaxis: { ...timeAxis(times), ...roomAround(times) },
    yaxis: {
      title: { text: 'SNR in dB', standoff: 6 }, gridcolor: cssColour('--line'), zeroline: false, fixedrange: true, automargin: true,
      range: [Math.min(...levels, 40) - 12, Math.max(...levels, 60) + 14],
    },
  };
  const named = best.map((row) => row.choice).join('; ');
  const description = `Median time against accuracy for ${taskName()}: ${placed.length} choices; the best: ${named}.`;
  return draw('trade', [line, marks(placed, freeSides(placed, best, layout))], layout, description);
}

const LETTER = [6.8, 17]; // of a name in the plot, in CSS pixels, rather too large than too small
const FRAME = [80, 100]; // what a chart's axes and margins take of its width and height

/**
 * For every row of the front the side of its mark where its name meets no edge, mark or other name, and better no line
 * either; none if there is none.
 */
function freeSides(placed, best, { xaxis, yaxis }) {
  const size = [chartWidth() - FRAME[0], element('trade').clientHeight - FRAME[1]];
  const share = (value, [from, to]) => (value - from) / (to - from);
  const scale = xaxis.type === 'log' ? Math.log10 : Number;
  const point = (row) => [size[0] * share(scale(row.p50), xaxis.range), size[1] * (1 - share(row.snr, yaxis.range))];
  const taken = placed.map(point).map(([x, y]) => [x - 7, x + 7, y - 7, y + 7]);
  const lines = best.slice(1).flatMap((row, place) => {
    const [[fromX, fromY], [x, y]] = [point(best[place]), point(row)];
    return [[fromX, x, fromY, fromY], [x, x, y, fromY]];
  });
  const meets = (a, b) => a[0] <= b[1] && b[0] <= a[1] && a[2] <= b[3] && b[2] <= a[3];
  const sides = new Map();
  for (const row of best) {
    const names = nameBoxes(point(row), LETTER[0] * shortened(row.choice).length);
    const inside = names.filter(([, [left, right]]) => left >= 0 && right <= size[0]);
    const free = (others) => inside.find(([, name]) => !others.some((other) => meets(name, other)));
    const found = free([...taken, ...lines]) ?? free(taken);
    if (found) {
      sides.set(row, found[0]);
      taken.push(found[1]);
    }
  }
  return sides;
}

/** Where a name of this width may stand beside a mark: side, and left, right, top, bottom. */
function nameBoxes([x, y], width) {
  const across = { right: [x + 8, x + 8 + width], left: [x - 8 - width, x - 8] };
  const down = { top: [y - 8 - LETTER[1], y - 8], bottom: [y + 8, y + 8 + LETTER[1]] };
  return ['top right', 'top left', 'bottom right', 'bottom left'].map((side) => {
    const [first, second] = side.split(' ');
    return [side, [...across[second], ...down[first]]];
  });
}

/** The marks; those of the front are larger, ringed and, where there is room, named. */
function marks(rows, sides) {
  return {
    type: 'scatter', mode: 'markers+text', x: rows.map((row) => row.p50), y: rows.map((row) => row.snr), cliponaxis: false,
    text: rows.map((row) => (sides.has(row) ? plain(shortened(row.choice)) : '')),
    textposition: rows.map((row) => sides.get(row) ?? 'top right'),
    textfont: { color: cssColour('--ink') }, hovertext: rows.map(hover), hoverinfo: 'text',
    marker: {
      color: rows.map((row) => colour(row.engine)), symbol: rows.map(mark), opacity: 0.95,
      size: rows.map((row) => (row.front ? 15 : 10)),
      line: { color: colour(BEST), width: rows.map((row) => (row.front ? 2 : 0)) },
    },
  };
}

/** Range of an axis with room for marks at both ends. */
function roomAround(times) {
  const [low, high] = [Math.min(...times), Math.max(...times)];
  if (!times.length) return {};
  if (high > DECADE * low) return { range: [Math.log10(low) - 0.12, Math.log10(high) + 0.12] };
  const room = 0.08 * (high - low) || 0.2 * low;
  return { range: [Math.max(0, low - room), high + room] };
}

const LONG_WHISKER = 2; // times the longest bar: whiskers beyond would leave no room for the bars, and are told in words

/** Which whiskers are drawn: few late runs in a row of short ones may last a hundred times as long. */
function endOf(row, rows) {
  return row.p90 <= LONG_WHISKER * Math.max(...rows.map(({ p50 }) => p50)) ? Math.max(row.p50, row.p90) : row.p50;
}

/** Bars of medians with whiskers to the 90th percentile; own are drawn of all that share the axis. */
function bars(own, all, places, look) {
  const whiskers = own.map((row) => endOf(row, all) - row.p50);
  return {
    type: 'bar', orientation: 'h', x: own.map((row) => row.p50), y: places, hovertext: own.map(hover), hoverinfo: 'text',
    error_x: { type: 'data', symmetric: false, array: whiskers, arrayminus: whiskers.map(() => 0), color: colour(BEST), thickness: 1, width: 3 },
    ...look,
  };
}

function endText(row, rows, share = '') {
  const late = row.p90 > endOf(row, rows) ? `, p90 ${formatTime(row.p90)}` : '';
  return `${formatTime(row.p50)} ms${share}${late}${row.shaky ? ' !' : ''}`;
}

/** Texts that begin where the whiskers end: Plotly would put them across. */
function endTexts(own, all, places, text) {
  return {
    type: 'scatter', mode: 'text', x: own.map((row) => endOf(row, all)), y: places, hoverinfo: 'skip', cliponaxis: false,
    text: own.map((row) => `\u2002${text(row)}`), textposition: 'middle right', textfont: { color: cssColour('--ink') },
  };
}

/** An axis of times from zero, with room for the texts behind the bars and the names before them. */
function barAxis(rows, text) {
  const beside = narrow() ? 0 : Math.max(0, ...rows.map((row) => shortened(row.choice).length));
  const width = chartWidth() - 40 - LETTER[0] * beside;
  const needed = rows.map((row) => endOf(row, rows) * width / Math.max(width - LETTER[0] * (text(row).length + 2), width / 4));
  return { ...timeAxis([], { log: false }), range: [0, Math.max(0, ...needed) || 1] };
}

function drawTimes(rows) {
  const names = rows.map((row) => row.choice);
  const share = ({ share: part }) => (part === null ? '' : `, ${Math.round(100 * part)} %`);
  const text = (row) => endText(row, rows, share(row));
  const data = report.engines.flatMap((_, engine) => {
    const own = rows.filter((row) => row.engine === engine);
    const marker = { color: colour(engine), pattern: { shape: own.map(pattern), fgcolor: cssColour('--card'), fgopacity: 0.6, size: 7, fillmode: 'overlay' } };
    const ownPlaces = own.map((row) => rows.indexOf(row));
    return [bars(own, rows, ownPlaces, { width: narrow() ? 0.4 : 0.7, marker }), endTexts(own, rows, ownPlaces, text)];
  });
  const layout = {
    height: barsHeight(rows.length), xaxis: barAxis(rows, text), yaxis: nameAxis(names), annotations: namesAbove(names), barmode: 'overlay',
  };
  return draw('times', data, layout, `Median times for ${taskName()}: ${rows.map((row) => `${row.choice} ${text(row)}`).join('; ')}.`);
}

function drawMachines() {
  const rows = report.rows.filter((row) => row.task === chosen('task'));
  const names = [...new Set(rows.map((row) => row.choice))];
  const count = report.machines.length;
  const text = (row) => endText(row, rows);
  const thick = (narrow() ? 0.6 : 0.8) / count;
  const data = report.machines.flatMap((_, machine) => {
    const own = rows.filter((row) => row.machine === machine);
    const places = own.map((row) => names.indexOf(row.choice) + (machine - (count - 1) / 2) * thick);
    const look = { width: thick * 0.92, marker: { color: colour(machine) } };
    return [bars(own, rows, places, look), endTexts(own, rows, places, text)];
  });
  const layout = {
    height: barsHeight(names.length, count + 0.5), xaxis: barAxis(rows, text), yaxis: nameAxis(names), annotations: namesAbove(names), barmode: 'overlay',
  };
  const words = rows.map((row) => `${report.machines[row.machine]}, ${row.choice} ${text(row)}`);
  return draw('machines', data, layout, `Median times for ${taskName()} on ${count} machines: ${words.join('; ')}.`);
}

function drawStages(rows) {
  const staged = rows.filter((row) => row.stages.length);
  element('staged').hidden = !staged.length;
  if (!staged.length) return null;
  const names = staged.map((row) => row.choice);
  const data = report.stages.map((stage, number) => ({
    type: 'bar', orientation: 'h', name: plain(stage), x: staged.map((row) => row.stages[number]), y: staged.map((_, place) => place),
    marker: { color: colour(number) }, width: narrow() ? 0.4 : 0.7, hoverinfo: 'text',
    hovertext: staged.map((row) => `<b>${plain(row.choice)}</b><br>${plain(stage)} ${formatTime(row.stages[number])} ms`),
  }));
  const layout = {
    height: barsHeight(staged.length) + 40, xaxis: timeAxis([], { log: false, zero: true }), yaxis: nameAxis(names), annotations: namesAbove(names),
    barmode: 'stack', showlegend: true, margin: { l: 12, r: 14, t: 10, b: 46 },
    legend: { orientation: 'h', traceorder: 'normal', y: 1, yanchor: 'bottom', x: 0, itemclick: false, itemdoubleclick: false },
  };
  return draw('stages', data, layout, `Time per stage for ${taskName()}: ${report.stages.join(', ')}.`);
}

function drawRuns(rows) {
  const names = rows.map((row) => row.choice);
  const data = rows.map((row, place) => ({
    type: 'box', orientation: 'h', x: row.samples, y: row.samples.map(() => place), width: narrow() ? 0.4 : 0.6,
    boxpoints: 'all', jitter: 0.8, pointpos: 0, marker: { size: 3, opacity: 0.45 }, line: { color: colour(row.engine), width: 1.5 },
    fillcolor: 'rgba(128,128,128,0.15)', hoveron: 'boxes+points', hovertemplate: '%{x} ms<extra></extra>',
  }));
  const layout = {
    height: barsHeight(rows.length), xaxis: timeAxis(rows.flatMap((row) => row.samples)), yaxis: nameAxis(names), annotations: namesAbove(names),
  };
  return draw('runs', data, layout, `Single runs for ${taskName()}, of ${rows.length} choices.`);
}

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
    document.createElement('span'),
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
  const legend = document.createElement('p');
  legend.className = 'legend';
  legend.append(...report.machines.map((name, number) => legendEntry(name, 'square', `var(--c${number % COLOURS})`)));
  element('machines').before(legend);
}

// ---- Sorting -------------------------------------------------------------------------------------------

/** Sort a table's body by a column; rows without a figure stay below. */
function sortBy(table, column, kind, direction) {
  const key = (row) => {
    const cell = row.cells[column];
    if (!cell || row.classList.contains('missing')) return null;
    if (kind === 'text') return cell.textContent;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => (kind === 'text' ? a.localeCompare(b, 'en', { numeric: true }) : a - b);
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
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

// ---- Start ---------------------------------------------------------------------------------------------

function drawAll() {
  const rows = shownRows();
  return Promise.all([
    drawTrade(rows), drawTimes(rows), report.machines.length > 1 && drawMachines(), drawStages(rows), drawRuns(rows),
  ]);
}

/** Wait for the end of a row of events, then draw once. */
function later(action) {
  let timer = 0;
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
  element('status').textContent = `The charts could not be drawn: ${error.message}. The tables hold all figures.`;
  document.body.dataset.state = 'failed';
  throw error;
});
