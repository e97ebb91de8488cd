// The service worker: it keeps the files of the console, so that the console opens when the node does not answer. What the node says,
// and what is in streams, goes past it and is never kept; an export goes through it, from the node to the disk. The build fills in what the files are.
const SHELL = 'shell-__VERSION__';
const FILES = __FILES__;

// Which encoding and which header a file was asked for with is of no matter here.
const kept = (path) => caches.match(path, { cacheName: SHELL, ignoreVary: true });

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(SHELL)
      // A node gives the shell to those only who ask for a page.
      .then((cache) => cache.addAll(FILES.map((path) => new Request(path, path === '/' ? { headers: { accept: 'text/html' } } : {}))))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener('activate', (event) => {
  const old = (names) => names.filter((name) => name.startsWith('shell-') && name !== SHELL);
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(old(names).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== location.origin) return;
  if (request.mode === 'navigate' && url.pathname === '/export') {
    event.respondWith(exported(url.searchParams, event.clientId));
    return;
  }
  // Every page is the same file; the address says to the script which page it is.
  if (request.mode === 'navigate' && !/^\/(v1|docs|metrics|healthz|readyz)(\/|$)/.test(url.pathname)) {
    event.respondWith(fetch(request).catch(() => kept('/').then((shell) => shell ?? Response.error())));
  } else if (FILES.includes(url.pathname) && url.pathname !== '/') {
    event.respondWith(kept(url.pathname).then((file) => file ?? fetch(request)));
  }
});

// A whole stream as a file: the browser writes it while it comes, and nothing holds it. Only for a page of the console, which stays open and
// is told if there is nothing to be had.
async function exported(params, client) {
  const page = await self.clients.get(client);
  const [from, name] = [new URL(params.get('path') ?? '', location.origin), (params.get('file') ?? '').replace(/[^\w.-]+/g, '_')];
  const nothing = new Response(null, { status: 204 });
  if (!page || from.origin !== location.origin || !from.pathname.startsWith('/v1/streams/')) return nothing;
  try {
    const answer = await fetch(from, { headers: { accept: 'application/x-ndjson' }, cache: 'no-store' });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    return new Response(answer.body, { headers: { 'content-type': 'application/octet-stream', 'content-disposition': `attachment; filename="${name}"` } });
  } catch (error) {
    page.postMessage({ export: error instanceof Error ? error.message : String(error) });
    return nothing;
  }
}
