// Copies the light pictures that the tests have taken into docs/console, each with at most 256 colours, so that they stay small:
// node scripts/pictures.mjs ../target/console/pictures
// Names after the folder copy these alone.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { file } from './icons.mjs';

const BYTES_MAX = 100_000;
const PAGES = ['overview', 'streams', 'stream', 'history', 'definition', 'produce', 'projections', 'projection', 'compare', 'parked', 'correct', 'sql', 'chart', 'plan', 'sources-captured', 'source', 'cluster', 'group', 'regions', 'move', 'audit', 'locks', 'configuration'];

/** The pixels of a PNG with eight bits a colour that is not interlaced, as browsers write them. */
function pixels(png) {
  let [at, width, height, type, packed] = [8, 0, 0, 0, []];
  while (at < png.length) {
    const [length, name] = [png.readUInt32BE(at), png.toString('latin1', at + 4, at + 8)];
    const data = png.subarray(at + 8, at + 8 + length);
    if (name === 'IHDR') [width, height, type] = [data.readUInt32BE(0), data.readUInt32BE(4), data[9]];
    if (name === 'IDAT') packed.push(data);
    at += length + 12;
  }
  const deep = type === 6 ? 4 : 3;
  const [raw, row] = [inflateSync(Buffer.concat(packed)), width * deep];
  const out = Buffer.alloc(height * row);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (row + 1)];
    for (let x = 0; x < row; x++) {
      const [left, up, corner] = [x >= deep ? out[y * row + x - deep] : 0, y > 0 ? out[(y - 1) * row + x] : 0, x >= deep && y > 0 ? out[(y - 1) * row + x - deep] : 0];
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      out[y * row + x] = raw[y * (row + 1) + 1 + x] + guess;
    }
  }
  return { width, height, deep, out };
}

function paeth(a, b, c) {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/** As few colours as a palette has: the most frequent ones, rather coloured than grey, and the nearest of them in place of the others. */
function reduce({ width, height, deep, out }) {
  const counts = new Map();
  const parts = (it) => [it >> 16, (it >> 8) & 255, it & 255];
  const colour = (n) => (out[n * deep] << 16) | (out[n * deep + 1] << 8) | out[n * deep + 2];
  for (let n = 0; n < width * height; n++) counts.set(colour(n), (counts.get(colour(n)) ?? 0) + 1);
  // A red mark is small, and says more than another grey of a letter's edge.
  const weight = ([it, count]) => count * (1 + Math.max(...parts(it)) - Math.min(...parts(it)));
  const palette = [...counts].sort((a, b) => weight(b) - weight(a)).slice(0, 256).map(([it]) => it);
  const far = (a, b) => parts(a).reduce((sum, part, n) => sum + (part - parts(b)[n]) ** 2, 0);
  const index = new Map(palette.map((it, n) => [it, n]));
  for (const it of counts.keys()) if (!index.has(it)) index.set(it, palette.reduce((best, one, n) => (far(it, one) < far(it, palette[best]) ? n : best), 0));
  const rows = Buffer.alloc(height * (width + 1));
  for (let n = 0; n < width * height; n++) rows[Math.floor(n / width) * (width + 1) + 1 + (n % width)] = index.get(colour(n));
  return file(width, height, rows, Buffer.from(palette.flatMap(parts)));
}

const [from, ...some] = process.argv.slice(2);
if (!from) throw new Error('say where the pictures are: node scripts/pictures.mjs ../target/console/pictures');
const to = join(import.meta.dirname, '..', '..', 'docs', 'console');
mkdirSync(to, { recursive: true });
for (const page of some.length > 0 ? some : PAGES) {
  const small = reduce(pixels(readFileSync(join(from, `${page}-light.png`))));
  if (small.length > BYTES_MAX) throw new Error(`${page} has ${small.length} bytes, over the limit of ${BYTES_MAX}: show less on it`);
  writeFileSync(join(to, `${page}-light.png`), small);
}
