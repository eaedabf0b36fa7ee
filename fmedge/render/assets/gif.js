// ---- An animated GIF: the Graphics Interchange Format, version 89a ----------------------------------------------------------

const CODE_BITS = 8; // of a pixel: the palette has 256 colours
const [CLEAR, END] = [1 << CODE_BITS, (1 << CODE_BITS) + 1];
const MOST_LZW_CODES = 4096; // codes have 12 bits at most
const BLOCK = 255; // bytes of a block of data

const littleEndian = (value) => [value & 255, value >> 8];

/** Bytes that are written one after another, into an array that grows. */
class Bytes {
  constructor() {
    this.held = new Uint8Array(1 << 16);
    this.length = 0;
  }

  push(byte) {
    if (this.length === this.held.length) {
      const larger = new Uint8Array(2 * this.length);
      larger.set(this.held);
      this.held = larger;
    }
    this.held[this.length] = byte;
    this.length += 1;
  }

  get all() {
    return this.held.subarray(0, this.length);
  }
}

/** Where the code of a run and one more pixel is kept: 0 for none; made on first use, and cleared after each. */
let codeTable = null;

/**
 * Compress pixels as appendix F of the specification says: Lempel, Ziv and Welch with codes of growing length.
 * @param {Uint8Array} pixels
 */
export function lzw(pixels) {
  const table = (codeTable ??= new Uint16Array(MOST_LZW_CODES << CODE_BITS));
  const [out, used] = [new Bytes(), []];
  let [bits, held, size, next] = [0, 0, CODE_BITS + 1, END + 1]; // bits that wait, how many; of a code; the next free code
  const emit = (code) => {
    bits |= code << held;
    held += size;
    for (; held >= 8; held -= 8, bits >>>= 8) out.push(bits & 255);
  };
  const forget = () => {
    for (const key of used) table[key] = 0;
    used.length = 0;
  };
  emit(CLEAR);
  let run = pixels[0];
  for (let place = 1; place < pixels.length; place += 1) {
    const key = (run << CODE_BITS) | pixels[place];
    if (table[key]) {
      run = table[key];
      continue;
    }
    emit(run);
    run = pixels[place];
    if (next === MOST_LZW_CODES) {
      emit(CLEAR);
      forget();
      [size, next] = [CODE_BITS + 1, END + 1];
    } else {
      if (next >= 1 << size) size += 1;
      table[key] = next;
      used.push(key);
      next += 1;
    }
  }
  forget();
  emit(run);
  if (next >= 1 << size && size < 12) size += 1; // the reader has one code more by now
  emit(END);
  if (held) out.push(bits & 255);
  return out.all;
}

/**
 * The beginning of a file: its size, the palette of 256 colours, and that it is shown over and over.
 * @param {number[][]} palette red, green and blue of each colour
 */
export function gifHeader(width, height, palette) {
  const text = (word) => Array.from(word, (letter) => letter.charCodeAt(0));
  return Uint8Array.from([
    ...text('GIF89a'), ...littleEndian(width), ...littleEndian(height), 0xf7, 0, 0, // 256 colours of 8 bits
    ...palette.flat(),
    0x21, 0xff, 11, ...text('NETSCAPE2.0'), 3, 1, 0, 0, 0,
  ]);
}

/**
 * A picture of the animation.
 * @param {Uint8Array} pixels indices of the palette, row by row
 * @param {number} hundredths of a second that it is shown
 */
export function gifFrame(pixels, width, height, hundredths) {
  const packed = lzw(pixels);
  const before = [
    0x21, 0xf9, 4, 4, ...littleEndian(hundredths), 0, 0, // the next one is drawn over it
    0x2c, 0, 0, 0, 0, ...littleEndian(width), ...littleEndian(height), 0, CODE_BITS,
  ];
  const blocks = Math.ceil(packed.length / BLOCK);
  const frame = new Uint8Array(before.length + packed.length + blocks + 1); // the last 0 ends it
  frame.set(before);
  for (let start = 0, to = before.length; start < packed.length; start += BLOCK, to += BLOCK + 1) {
    const block = packed.subarray(start, start + BLOCK);
    frame[to] = block.length;
    frame.set(block, to + 1);
  }
  return frame;
}

export const GIF_END = Uint8Array.of(0x3b);
