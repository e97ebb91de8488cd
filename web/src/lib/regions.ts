// What can be done with homes and regions: the requests, and what each answers before and after it is done.
import { change } from './api';

export type Act =
  /** Streams of which this region is the home get another one; none named: all of them. */
  | { kind: 'move'; streams: string[] }
  /** Streams that this region took over from another one are given back. */
  | { kind: 'failback'; region: number; streams: string[] }
  /** Streams of a region that is gone are taken over; none named: all of them. */
  | { kind: 'failover'; region: number; streams: string[] }
  /** This region accepts nothing more for streams that others have. */
  | { kind: 'drain' }
  | { kind: 'undrain' };

/** A stream that has, or would get, another home. */
export type Changed = { stream: string; home?: number; term: number; known_at_risk?: number; lag_ms?: number };
export type Answer = { done: boolean; streams: Changed[]; link?: string; silent_ms?: number | null };
export type Choice = { to?: number | undefined; stopped: boolean };

/** Does it, or asks what it would do. */
export async function send(act: Act, choice: Choice, dry_run: boolean): Promise<Answer> {
  const { to, stopped } = choice;
  if (act.kind === 'failover') {
    const body = { streams: act.streams, is_stopped: stopped, dry_run };
    return change<Answer>('POST', `/v1/regions/${act.region}/failover`, body);
  }
  const drains = act.kind === 'drain' || act.kind === 'undrain';
  const body = drains
    ? { drained: act.kind === 'drain', ...(act.kind === 'drain' && to !== undefined ? { to } : {}), dry_run }
    : { streams: act.streams, to: act.kind === 'failback' ? act.region : to, dry_run };
  const answer = await change<{ done: boolean; moved: Changed[] }>('POST', drains ? '/v1/regions/drain' : '/v1/regions/homes/move', body);
  return { done: answer.done, streams: answer.moved };
}

/** The same as arguments of `tradewind region`. */
export function words(act: Act, { to, stopped }: Choice): string[] {
  if (act.kind === 'move') return ['move', ...act.streams, '--to', String(to ?? '')];
  if (act.kind === 'failback') return ['failback', String(act.region)];
  if (act.kind === 'failover') return ['failover', String(act.region), ...act.streams, ...(stopped ? ['--is-stopped'] : [])];
  return act.kind === 'drain' ? ['drain', ...(to === undefined ? [] : ['--to', String(to)])] : ['drain', '--undo'];
}
