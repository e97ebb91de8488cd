// Where we are: the path and the query of the address, which reproduce what is shown.

type Place = { path: string; segments: string[]; query: URLSearchParams };

function read(): Place {
  const path = location.pathname;
  const segments = path.split('/').slice(1).filter(Boolean).map(decode);
  return { path, segments, query: new URLSearchParams(location.search) };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

class Route {
  place = $state.raw<Place>(read());

  get segments(): string[] {
    return this.place.segments;
  }

  param(name: string, otherwise = ''): string {
    return this.place.query.get(name) ?? otherwise;
  }

  /** Goes to another place of the console. */
  go(address: string, replace = false): void {
    if (replace) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.place = read();
  }

  /** Changes parameters of the address; an empty value removes one. */
  set(params: Record<string, string | number | boolean | undefined>, replace = true): void {
    const query = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries(params)) {
      if (value === undefined || value === '' || value === false) query.delete(key);
      else query.set(key, String(value));
    }
    const text = query.toString();
    this.go(location.pathname + (text ? `?${text}` : ''), replace);
  }

  /** Follows links within the console without loading the page again. Made for `$effect(() => route.start())`. */
  start(): () => void {
    const back = (): void => {
      this.place = read();
    };
    const click = (event: MouseEvent): void => {
      const link = event.target instanceof Element ? event.target.closest('a') : null;
      if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const api = /^\/(v1|docs|metrics|healthz|readyz)(\/|$)/.test(link.pathname);
      if (link.origin !== location.origin || api || link.target || link.hasAttribute('download')) return;
      event.preventDefault();
      this.go(link.pathname + link.search);
    };
    addEventListener('popstate', back);
    document.addEventListener('click', click);
    return () => {
      removeEventListener('popstate', back);
      document.removeEventListener('click', click);
    };
  }
}

export const route = new Route();
