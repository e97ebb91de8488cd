// How the console is built, and, for whoever works on it, served beside a running node.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type ProxyOptions } from 'vite';

// The node to which the development server passes requests on.
const node = process.env.TRADEWIND_URL ?? 'http://127.0.0.1:7070';

// A node refuses changes that pages of other origins ask for. The development server is such another origin, so it speaks in
// the node's own name; a built console needs none of this.
const proxy: Record<string, ProxyOptions> = Object.fromEntries(
  ['/v1', '/healthz', '/readyz', '/metrics', '/docs'].map((path) => [
    path,
    { target: node, changeOrigin: true, headers: { origin: node } },
  ]),
);

// The policy with which a node serves the console (crates/tw-api/src/console/serve.rs): what it refuses is seen here already. A policy
// that names `console-worker` says that the node serves the service worker, too.
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; " +
  "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html console-worker";

// What it says beside that.
const headers = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  vary: 'accept, accept-encoding',
};

export default defineConfig({
  plugins: [svelte({ compilerOptions: { runes: true } })],
  build: {
    target: 'es2022',
    // Data URLs would need an exception in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy },
  preview: { proxy, headers },
});
