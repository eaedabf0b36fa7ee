import { cssColour } from './embedded.js';

/**
 * An element of the page; of which kind, its id tells.
 * @type {(id: string) => any}
 */
export const element = (id) => document.getElementById(id);
export const report = JSON.parse(element('data').textContent);

// ---- What is shown ------------------------------------------------------------------------------------

export const COLOURS = 8;
export const MARKS = ['circle', 'square', 'diamond', 'triangle-up', 'cross', 'star'];
const PATTERNS = ['', '/', 'x', '.', '+', '-'];
const NARROW = 590; // a chart below this width, in CSS pixels, has its labels above the bars
export const PAPER = 670; // width of a chart on A4 or Letter with margins of 12 mm, in CSS pixels
const DECADE = 10; // times that span this much are drawn on a logarithmic axis
export const BEST = -1; // colour of what is not one engine's

export const colour = (number) => cssColour(number === BEST ? '--ink' : `--c${number % COLOURS}`);
export const mark = (row) => MARKS[row.form % MARKS.length];
export const pattern = (row) => PATTERNS[row.form % PATTERNS.length];
export const chosen = (id) => Number(element(id).value);
export const paper = matchMedia('print');
const chartWidth = () => (paper.matches ? PAPER : element('charts').clientWidth - 30);
export const narrow = () => chartWidth() < NARROW;

/** Names come from outside, and Plotly reads some HTML, and mathematics between dollars. */
export function plain(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('$', '&#36;');
}

export const hover = (row) => row.hover.map(plain).map((line, number) => (number ? line : `<b>${line}</b>`)).join('<br>');

export function shownRows() {
  return report.rows.filter((row) => row.task === chosen('task') && row.machine === chosen('machine'));
}

export function formatTime(value) {
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value.toFixed(value >= 10 ? 1 : value >= 1 ? 2 : 3);
}

// ---- Axes ----------------------------------------------------------------------------------------------

export function timeAxis(values, { log = Math.max(...values) > DECADE * Math.min(...values), zero = false } = {}) {
  const axis = { gridcolor: cssColour('--line'), zeroline: false, fixedrange: true, automargin: true };
  const scale = log ? { type: 'log', ...logTicks(values) } : { rangemode: zero ? 'tozero' : 'normal' };
  return { ...axis, ...scale, title: { text: log ? 'ms (logarithmic scale)' : 'ms', standoff: 8 } };
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
export function nameAxis(names) {
  const axis = { range: [names.length - 0.5, -0.75], fixedrange: true, showgrid: false, zeroline: false };
  if (narrow()) return { ...axis, showticklabels: false };
  const ticks = { tickvals: names.map((_, place) => place), ticktext: names.map((name) => plain(shortened(name))) };
  return { ...axis, ...ticks, automargin: true, ticks: '' };
}

const LONGEST = 44;

export function shortened(name) {
  return name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}\u2026` : name;
}

export function namesAbove(names) {
  if (!narrow()) return [];
  return names.map((name, place) => ({
    text: plain(shortened(name)), x: 0, xref: 'paper', xanchor: 'left', y: place - 0.5, yref: 'y', yanchor: 'middle', showarrow: false,
  }));
}

/** Height of a chart of bars; its margins included. */
export function barsHeight(count, each = 1) {
  return 70 + count * ((narrow() ? 46 : 26) + 15 * (each - 1));
}

/** Range of an axis with room for marks at both ends. */
export function roomAround(times) {
  const [low, high] = [Math.min(...times), Math.max(...times)];
  if (!times.length) return {};
  if (high > DECADE * low) return { range: [Math.log10(low) - 0.12, Math.log10(high) + 0.12] };
  const room = 0.08 * (high - low) || 0.2 * low;
  return { range: [Math.max(0, low - room), high + room] };
}

const LEVELS = 20; // fewest decibels of an axis, a factor of ten: less would make much of what is next to nothing

/** Range of the axis of accuracy: the values, with room for marks and their names at both ends. */
export function roomAboutLevels(levels) {
  const [low, high] = levels.length ? [Math.min(...levels), Math.max(...levels)] : [0, 0];
  const room = Math.max(0.15 * (high - low), (LEVELS - (high - low)) / 2);
  return [low - room, high + room];
}

// ---- Names beside marks ----------------------------------------------------------------------------

const LETTER = [6.8, 17]; // of a name in the plot, in CSS pixels, rather too large than too small
const FRAME = [80, 100]; // what a chart's axes and margins take of its width and height

/**
 * For every row of the front the side of its mark where its name meets no edge, mark or other name, and better no line
 * either; none if there is none.
 */
export function freeSides(placed, best, { xaxis, yaxis }) {
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

/**
 * Where a name of this width may stand beside a mark: side, and left, right, top, bottom.
 * @param {number[]} mark
 * @param {number} width
 */
function nameBoxes([x, y], width) {
  const across = { right: [x + 8, x + 8 + width], left: [x - 8 - width, x - 8] };
  const down = { top: [y - 8 - LETTER[1], y - 8], bottom: [y + 8, y + 8 + LETTER[1]] };
  return ['top right', 'top left', 'bottom right', 'bottom left'].map((side) => {
    const [first, second] = side.split(' ');
    return [side, [...across[second], ...down[first]]];
  });
}

// ---- Bars ------------------------------------------------------------------------------------------

const LONG_WHISKER = 2; // times the longest bar: whiskers beyond would leave no room for the bars, and are told in words

/** Which whiskers are drawn: few late runs in a row of short ones may last a hundred times as long. */
function endOf(row, rows) {
  return row.p90 <= LONG_WHISKER * Math.max(...rows.map(({ p50 }) => p50)) ? Math.max(row.p50, row.p90) : row.p50;
}

/** Bars of medians with whiskers to the 90th percentile; own are drawn of all that share the axis. */
export function bars(own, all, places, look) {
  const whiskers = own.map((row) => endOf(row, all) - row.p50);
  return {
    type: 'bar', orientation: 'h', x: own.map((row) => row.p50), y: places, hovertext: own.map(hover), hoverinfo: 'text',
    error_x: { type: 'data', symmetric: false, array: whiskers, arrayminus: whiskers.map(() => 0), color: colour(BEST), thickness: 1, width: 3 },
    ...look,
  };
}

export function endText(row, rows, share = '') {
  const late = row.p90 > endOf(row, rows) ? `, p90 ${formatTime(row.p90)}` : '';
  return `${formatTime(row.p50)} ms${share}${late}${row.shaky ? ' !' : ''}`;
}

/** Texts that begin where the whiskers end: Plotly would put them across. */
export function endTexts(own, all, places, text) {
  return {
    type: 'scatter', mode: 'text', x: own.map((row) => endOf(row, all)), y: places, hoverinfo: 'skip', cliponaxis: false,
    text: own.map((row) => `\u2002${text(row)}`), textposition: 'middle right', textfont: { color: cssColour('--ink') },
  };
}

/** An axis of times from zero, with room for the texts behind the bars and the names before them. */
export function barAxis(rows, text) {
  const beside = narrow() ? 0 : Math.max(0, ...rows.map((row) => shortened(row.choice).length));
  const width = chartWidth() - 40 - LETTER[0] * beside;
  const needed = rows.map((row) => endOf(row, rows) * width / Math.max(width - LETTER[0] * (text(row).length + 2), width / 4));
  return { ...timeAxis([], { log: false }), range: [0, Math.max(0, ...needed) || 1] };
}
