// What all pages share: short messages, the question before something is destroyed, the theme, and what has the focus.
import { Gone, say } from './api';
import { missed } from './live.svelte';

/** What something would do: rows under heads, of which those of numbers begin with `#`. */
export type Would = { note?: string; heads: string[]; rows: string[][] };

export type Question = {
  title: string;
  text: string;
  /** What it would do, asked of the node before: a line, and rows. */
  would?: Would | undefined;
  /** What has to be typed; nothing for what can be undone. */
  name?: string | undefined;
  action: string;
  /** The same as a command, to copy. */
  cli?: string | undefined;
  run: () => Promise<unknown>;
};

class Shell {
  note = $state<{ text: string; bad: boolean } | undefined>(undefined);
  question = $state.raw<Question | undefined>(undefined);
  palette = $state(false);
  keys = $state(false);
  theme = $state<'' | 'light' | 'dark'>('');
  #timer: ReturnType<typeof setTimeout> | undefined;

  tell(text: string, bad = false): void {
    clearTimeout(this.#timer);
    this.note = { text, bad };
    this.#timer = setTimeout(() => (this.note = undefined), bad ? 12_000 : 4_000);
  }

  /** Does something, and tells how it went; what went well is not told if nothing is said of it. */
  async act(done: string, run: () => Promise<unknown>): Promise<boolean> {
    try {
      const answer = await run();
      const message = (answer as { message?: string } | undefined)?.message;
      if (message ?? done) this.tell(message ?? done);
      return true;
    } catch (error) {
      if (error instanceof Gone) missed();
      this.tell(say(error), true);
      return false;
    }
  }

  ask(question: Question): void {
    this.question = question;
  }

  async copy(text: string, what: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.tell(`Copied ${what}.`);
    } catch {
      // Without TLS on another address than loopback browsers offer no clipboard: the text is shown, to be copied by hand.
      this.ask({ title: `Copy ${what}`, text, action: 'Close', run: async () => undefined });
    }
  }

  setTheme(theme: '' | 'light' | 'dark'): void {
    this.theme = theme;
    if (theme) {
      document.documentElement.dataset.theme = theme;
      localStorage.setItem('theme', theme);
    } else {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem('theme');
    }
  }

  start(): void {
    const theme = localStorage.getItem('theme');
    if (theme === 'light' || theme === 'dark') this.setTheme(theme);
  }
}

export const shell = new Shell();

/** Whether keys that are typed now are a text. */
export function isTyping(event: KeyboardEvent): boolean {
  const at = event.target;
  return at instanceof HTMLElement && (at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName));
}
