// Compresses what the build has made, and lists it for whoever embeds it. One line of dist/files.tsv is one file:
// path, media type, hash of the content, and whether brotli and gzip variants lie beside it.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const types = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const dist = join(import.meta.dirname, '..', 'dist');
const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))
  .sort();
const lines = [];
for (const file of files) {
  const type = types[extname(file)];
  if (!type) throw new Error(`no media type is known for ${file}: add it to scripts/pack.mjs`);
  const bytes = readFileSync(file);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  const variants = [
    ['br', brotliCompressSync(bytes, { params })],
    ['gz', gzipSync(bytes, { level: 9 })],
  ].filter(([, packed]) => packed.length < bytes.length);
  for (const [name, packed] of variants) writeFileSync(`${file}.${name}`, packed);
  const path = '/' + relative(dist, file).split(sep).join('/');
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 20);
  const has = (name) => (variants.some(([it]) => it === name) ? name : '-');
  lines.push([path, type, hash, has('br'), has('gz')].join('\t'));
}
writeFileSync(join(dist, 'files.tsv'), lines.join('\n') + '\n');
