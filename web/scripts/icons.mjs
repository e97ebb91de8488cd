// The icon as PNG, drawn here: three strokes of wind on a ground of the accent's colour. Nothing is read, and nothing is installed for it.
import { crc32, deflateSync } from 'node:zlib';

const [GROUND, INK] = [[11, 100, 114], [255, 255, 255]];
/** How many samples each way make a pixel smooth. */
const SAMPLES = 4;

/** The strokes in a square of 16: a line to the right, and three quarters of a circle at its end. */
const STROKES = [
  { y: 5.2, from: 2.2, to: 9.9, radius: 1.5, up: true },
  { y: 8, from: 2.2, to: 12.3, radius: 1.35, up: false },
  { y: 10.8, from: 2.2, to: 7, radius: 1.2, up: false },
];
const WIDTH = 1.15;

function distance(x, y) {
  let least = Infinity;
  for (const { y: at, from, to, radius, up } of STROKES) {
    const along = Math.min(Math.max(x, from), to);
    least = Math.min(least, Math.hypot(x - along, y - at));
    const [cx, cy] = [to, up ? at - radius : at + radius];
    const angle = Math.atan2((y - cy) * (up ? 1 : -1), x - cx);
    // The circle begins where the line ends, goes round outside, and stops before it closes.
    if (angle <= Math.PI / 2 && angle >= -Math.PI * 0.83) least = Math.min(least, Math.abs(Math.hypot(x - cx, y - cy) - radius));
  }
  return least;
}

/** Whether a place is on the ground, a square with round corners; the whole square for one that others cut. */
function inside(x, y, corner) {
  const [dx, dy] = [Math.max(Math.abs(x - 8) - (8 - corner), 0), Math.max(Math.abs(y - 8) - (8 - corner), 0)];
  return Math.hypot(dx, dy) <= corner;
}

/** A PNG of `size` pixels each way. A maskable one fills its square, because systems cut it to their own shape. */
export function png(size, maskable) {
  const rows = Buffer.alloc(size * (size * 4 + 1));
  const shrink = maskable ? 1.25 : 1;
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      let [ground, ink] = [0, 0];
      for (let sample = 0; sample < SAMPLES * SAMPLES; sample++) {
        const x = ((column + ((sample % SAMPLES) + 0.5) / SAMPLES) / size) * 16;
        const y = ((row + (Math.floor(sample / SAMPLES) + 0.5) / SAMPLES) / size) * 16;
        if (!maskable && !inside(x, y, 3)) continue;
        ground += 1;
        if (distance((x - 8) * shrink + 8, (y - 8) * shrink + 8) <= WIDTH / 2) ink += 1;
      }
      const at = row * (size * 4 + 1) + 1 + column * 4;
      for (let part = 0; part < 3; part++) rows[at + part] = ground === 0 ? 0 : Math.round((INK[part] * ink + GROUND[part] * (ground - ink)) / ground);
      rows[at + 3] = Math.round((ground / (SAMPLES * SAMPLES)) * 255);
    }
  }
  return file(size, size, rows);
}

/** The file of rows that are not filtered: of numbers of colours in a palette, otherwise of four bytes for each pixel. */
export function file(width, height, rows, palette) {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, palette ? 3 : 6, 0, 0, 0], 8);
  const colours = palette ? [chunk('PLTE', palette)] : [];
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', head), ...colours, chunk('IDAT', deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))]);
}

function chunk(type, data) {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}
