// ---- NumPy's file of an array, format 1.0: numpy.lib.format describes it ----------------------------------------------------

const ALIGNMENT = 64; // of the data after the header, as numpy.save pads it

/**
 * What stands before the values: little-endian float32, in C order.
 * @param {number[]} shape
 */
export function npyHeader(shape) {
  const facts = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  const before = 10; // the magic word of 6 bytes, the version of 2, the length of 2
  const length = Math.ceil((before + facts.length + 1) / ALIGNMENT) * ALIGNMENT - before;
  const text = `\x93NUMPY\x01\x00${String.fromCharCode(length & 255, length >> 8)}${facts.padEnd(length - 1)}\n`;
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
