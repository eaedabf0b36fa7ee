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
