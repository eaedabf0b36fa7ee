// ---- Numbers and tables as text that programs read: numpy.loadtxt, pandas.read_csv, spreadsheets ----------------------------

const SPECIAL_WORDS = { NaN: 'nan', Infinity: 'inf', '-Infinity': '-inf' }; // as Python's float() reads them
const MOST_DIGITS = 9; // that many tell any two float32 apart (IEEE 754-2019, 5.12.2)

/** The shortest of a few decimal texts that stand for exactly this float32. */
export function exactNumber(value) {
  const float = Math.fround(value);
  if (!Number.isFinite(float)) return SPECIAL_WORDS[float];
  for (let digits = MOST_DIGITS - 2; digits < MOST_DIGITS; digits += 1) {
    const rounded = Number(float.toPrecision(digits));
    if (Math.fround(rounded) === float) return String(rounded);
  }
  return String(Number(float.toPrecision(MOST_DIGITS)));
}

/** A map as a table: a line for each of its rows, no header, as numpy.loadtxt(file, delimiter=",") reads it. */
export function csvOfMap(values, { rows, columns }) {
  const line = (_, row) => Array.from(values.subarray(row * columns, (row + 1) * columns), exactNumber).join(',');
  return `${Array.from({ length: rows }, line).join('\n')}\n`;
}

export const LONG_HEADER = 'channel,row,column,value\n';

/** A channel of several in the long form: a line for each value, under LONG_HEADER, as pandas.read_csv takes it. */
export function csvOfChannel(number, values, { columns }) {
  const lines = Array.from(values, (value, place) => `${number},${Math.floor(place / columns)},${place % columns},${exactNumber(value)}`);
  return `${lines.join('\n')}\n`;
}
