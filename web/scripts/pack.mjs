// Adds to what the build has made what lets it be installed and opened without the node: icons, a manifest and the service worker.
// Compresses all of it, and lists it for whoever embeds it. One line of dist/files.tsv is one file: path, media type, hash of the
// content, and whether brotli and gzip variants lie beside it.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { png } from './icons.mjs';

const types = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
};
const dist = join(import.meta.dirname, '..', 'dist');
const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 20);
const list = () =>
  readdirSync(dist, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
const pathOf = (file) => '/' + relative(dist, file).split(sep).join('/');

function icon(size, maskable) {
  const bytes = png(size, maskable);
  const src = `/assets/icon-${size}${maskable ? '-maskable' : ''}-${hashOf(bytes).slice(0, 8)}.png`;
  writeFileSync(join(dist, src), bytes);
  return { src, sizes: `${size}x${size}`, type: 'image/png', purpose: maskable ? 'maskable' : 'any' };
}

function manifest() {
  const svg = list().map(pathOf).find((path) => /^\/assets\/icon-.*\.svg$/.test(path));
  const drawn = { name: 'Tradewind', short_name: 'Tradewind', description: 'The console of a Tradewind node', id: '/', start_url: '/', scope: '/', display: 'standalone' };
  const icons = [...(svg ? [{ src: svg, sizes: 'any', type: 'image/svg+xml', purpose: 'any' }] : []), icon(192, false), icon(512, false), icon(512, true)];
  writeFileSync(join(dist, 'manifest.webmanifest'), JSON.stringify({ ...drawn, background_color: '#fdfdfc', theme_color: '#0b6472', icons }));
}

/** Beside the shell every page: one that was not opened yet opens without the node, too. */
function worker() {
  const files = list().filter((file) => /\.(js|css|svg|html)$/.test(file));
  const paths = files.map(pathOf).map((path) => (path === '/index.html' ? '/' : path));
  const version = hashOf(files.map((file) => hashOf(readFileSync(file))).join());
  const source = readFileSync(join(import.meta.dirname, 'worker.js'), 'utf8');
  writeFileSync(join(dist, 'sw.js'), source.replace('__VERSION__', version).replace('__FILES__', JSON.stringify(paths)));
}

/** What is built in is made smaller, and loses its notices: they are here, as their licences want it. */
function licences() {
  const texts = { svelte: 'LICENSE.md', uplot: 'LICENSE' };
  const read = ([name, file]) => `${name}\n\n${readFileSync(join(dist, '..', 'node_modules', name, file), 'utf8').trim()}\n`;
  writeFileSync(join(dist, 'assets', 'licences.txt'), Object.entries(texts).map(read).join('\n\n'));
}

manifest();
licences();
worker();
const lines = [];
for (const file of list()) {
  const type = types[extname(file)];
  if (!type) throw new Error(`no media type is known for ${file}: add it to scripts/pack.mjs`);
  const bytes = readFileSync(file);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  const variants = [
    ['br', brotliCompressSync(bytes, { params })],
    ['gz', gzipSync(bytes, { level: 9 })],
  ].filter(([, packed]) => packed.length < bytes.length);
  for (const [name, packed] of variants) writeFileSync(`${file}.${name}`, packed);
  const has = (name) => (variants.some(([it]) => it === name) ? name : '-');
  lines.push([pathOf(file), type, hashOf(bytes), has('br'), has('gz')].join('\t'));
}
writeFileSync(join(dist, 'files.tsv'), lines.join('\n') + '\n');
