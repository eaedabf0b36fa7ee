import { BASE_CONFIG, cssColour, themeLayout } from './embedded.js';
import {
  barAxis, bars, barsHeight, BEST, chosen, colour, element, endText, endTexts, formatTime, freeSides, hover, mark,
  nameAxis, namesAbove, narrow, PAPER, paper, pattern, plain, report, roomAboutLevels, roomAround, shortened,
  shownRows, timeAxis,
} from './chart_parts.js';

// ---- Drawing -------------------------------------------------------------------------------------------

const CONFIG = { ...BASE_CONFIG, displayModeBar: 'hover', modeBarButtons: [['toImage']] };

async function draw(id, data, layout, description) {
  const plot = element(id);
  const margin = { l: 12, r: 14, t: 26, b: 46 };
  const hoverlabel = { align: 'left', bgcolor: cssColour('--card'), bordercolor: cssColour('--line'), font: { color: cssColour('--ink') } };
  if (layout.height) plot.style.height = `${layout.height}px`;
  const common = { margin, hoverlabel, showlegend: false, dragmode: false, hovermode: 'closest', ...themeLayout(plot) };
  await Plotly.react(plot, data, { ...common, ...layout, ...(paper.matches ? { width: PAPER } : { autosize: true }) }, CONFIG);
  describe(plot, `${description} The table of all figures contains the same numbers.`);
}

/** The picture has a description instead of its loose words; the button beside it is none of it. */
function describe(plot, description) {
  const [picture, ...layers] = plot.querySelectorAll('.main-svg');
  picture.setAttribute('role', 'img');
  picture.setAttribute('aria-label', description);
  layers.forEach((layer) => layer.setAttribute('aria-hidden', 'true'));
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
  element('unplaced').textContent = `Not shown, because their accuracy was not measured: ${others.join('; ')}.`;
  const times = placed.map((row) => row.p50);
  const levels = placed.map((row) => row.snr);
  const layout = {
    xaxis: { ...timeAxis(times), ...roomAround(times) },
    yaxis: {
      title: { text: 'SNR in dB', standoff: 6 }, gridcolor: cssColour('--line'), zeroline: false, fixedrange: true, automargin: true,
      range: roomAboutLevels(levels),
    },
  };
  const named = best.map((row) => row.choice).join('; ');
  const description = `Median time against accuracy for ${taskName()}: ${placed.length} choices; the best: ${named}.`;
  return draw('trade', [line, marks(placed, freeSides(placed, best, layout))], layout, description);
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

function drawEnergy(rows) {
  const known = rows.filter((row) => row.energy !== null);
  element('energetic').hidden = !known.length;
  if (!known.length) return null;
  const names = known.map((row) => row.choice);
  const data = [{
    type: 'bar', orientation: 'h', x: known.map((row) => row.energy), y: known.map((_, place) => place), width: narrow() ? 0.4 : 0.7,
    marker: { color: known.map((row) => colour(row.engine)) }, hovertext: known.map(hover), hoverinfo: 'text',
    error_x: { type: 'data', array: known.map((row) => row.unsure ?? 0), color: colour(BEST), thickness: 1, width: 3 },
  }];
  const xaxis = { ...timeAxis([], { log: false, zero: true }), title: { text: 'J per image', standoff: 8 } };
  const layout = { height: barsHeight(known.length), xaxis, yaxis: nameAxis(names), annotations: namesAbove(names) };
  const words = known.map((row) => `${row.choice} ${row.energy} J`);
  return draw('energy', data, layout, `Energy per image for ${taskName()}: ${words.join('; ')}.`);
}

/** Temperature at a moment, from the readings before and after. */
function temperatureAt({ times, temperatures }, moment) {
  const after = times.findIndex((time) => time >= moment);
  return temperatures[after < 0 ? temperatures.length - 1 : after];
}

function drawHeat() {
  const known = report.heat.map((heat, machine) => ({ ...heat, machine })).filter(({ times }) => times.length);
  element('heated').hidden = !known.length;
  const others = report.machines.filter((_, machine) => !report.heat[machine].times.length);
  element('unheated').hidden = !others.length;
  element('unheated').textContent = `No temperature is known of: ${others.join('; ')}.`;
  if (!known.length) return null;
  const data = known.flatMap((heat) => {
    const look = { type: 'scatter', name: plain(report.machines[heat.machine]) };
    return [
      { ...look, mode: 'lines', x: heat.times, y: heat.temperatures, line: { color: colour(heat.machine) } },
      {
        ...look, mode: 'markers', x: heat.throttled, y: heat.throttled.map((moment) => temperatureAt(heat, moment)), showlegend: false,
        marker: { symbol: 'x', size: 8, color: colour(heat.machine) },
      },
    ];
  });
  const axis = { gridcolor: cssColour('--line'), zeroline: false, fixedrange: true, automargin: true };
  const layout = {
    xaxis: { ...axis, title: { text: 's since the beginning', standoff: 8 } }, yaxis: { ...axis, title: { text: '\u00b0C', standoff: 6 } },
    showlegend: known.length > 1, legend: { orientation: 'h', y: 1, yanchor: 'bottom', x: 0, itemclick: false, itemdoubleclick: false },
  };
  const words = known.map(({ machine, temperatures, throttled }) => (
    `${report.machines[machine]} ${Math.min(...temperatures)} to ${Math.max(...temperatures)} \u00b0C, slowed down ${throttled.length} times`
  ));
  return draw('heat', data, layout, `Temperature over time: ${words.join('; ')}.`);
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

export function drawAll() {
  const rows = shownRows();
  return Promise.all([
    drawTrade(rows), drawTimes(rows), drawEnergy(rows), report.machines.length > 1 && drawMachines(), drawStages(rows), drawHeat(),
    drawRuns(rows),
  ]);
}
