// What the interface `/v1` answers, as far as the console reads it. `/v1/openapi.json` is the reference.

/** What a person should look at: its code stays, its texts may change. */
export type Trouble = { code: string; about: { kind: string; name: string }; detail: string; remedy: string };
export type Status = {
  state: string;
  problems: Trouble[];
  version: string;
  uptime_ms: number;
  data_folder: string;
  disk_free_bytes: number;
  streams: number;
  sources: number;
  projections: number;
  parked: number;
};

export type Column = { name: string; type: string; nullable?: boolean; class?: string; merge?: string | null };
export type StreamOptions = {
  cleanup?: string;
  compression?: string;
  event_bytes_max?: number;
  home?: number;
  mode?: string;
  retention_bytes?: number | null;
  retention_ms?: number | null;
};
export type Extent = { partition: number; start: number; end: number };
export type Stream = {
  id: number;
  name: string;
  kind: string;
  partitions: number;
  columns?: Column[] | null;
  key?: string[];
  options: StreamOptions;
  offsets?: Extent[] | null;
  rate_events_per_second?: number | null;
  /** On disk; not on Kafka. */
  bytes?: number | null;
  last_event_at?: string | null;
};

export type Build = { done: number; total: number; /** Of a projection: whether it has caught up. */ ready?: boolean };
export type Projection = {
  name: string;
  sql: string;
  state: string;
  stream?: string;
  lag_events: number;
  /** How old what was processed last is, while there is more. */
  lag_ms?: number | null;
  rate_events_per_second?: number | null;
  state_bytes?: number | null;
  parked: number;
  token: string;
  error?: string | null;
  build?: Build | null;
  /** Whether what is built anew waits to be released. */
  held?: boolean;
};

export type SourceTable = { name: string; stream: string; state: string; error?: string | null; snapshot?: Build | null };
export type Source = {
  name: string;
  kind: string;
  state: string;
  error?: string | null;
  lag_ms?: number | null;
  lag_bytes?: number | null;
  retained_bytes?: number | null;
  position?: string | null;
  slot?: { name: string; wal_status: string; safe_bytes?: number | null } | null;
  tables: SourceTable[];
};

export type Parked = {
  view: string;
  stream: string;
  partition: number;
  offset: number;
  state: string;
  attempts: number;
  why: string;
  event_id?: string | null;
  event_subject?: string | null;
  event_type?: string | null;
  time?: string | null;
  waiting?: number | null;
};

export type CloudEvent = {
  specversion: string;
  id: string;
  source: string;
  type: string;
  subject?: string;
  time?: string;
  datacontenttype?: string;
  twposition?: string;
  twversion?: string;
  twhlc?: string;
  tworigin?: string;
  data?: unknown;
  data_base64?: string;
  [extension: string]: unknown;
};
export type Page = { events: CloudEvent[]; next: string; end: boolean };
export type History = { events: CloudEvent[]; version: number; next_version?: number | null };

export type Setting = {
  key: string;
  value: unknown;
  default: unknown;
  source: string;
  live: boolean;
  version: number;
  problem?: string | null;
};
export type SettingChange = {
  version: number;
  value: unknown;
  previous: unknown;
  author: string;
  time: string;
  restored?: number | null;
};

export type Lock = { name: string; holder?: LockClaim | null; waiting: LockClaim[] };
export type LockClaim = { owner: string; session: string; token: number };

export type ClusterNode = {
  name: string;
  address: string;
  state: string;
  units: number;
  standbys: number;
  capacity_millicores: number;
  used_millicores?: number | null;
  memory_bytes?: number | null;
  lag_events?: number | null;
  registered_ms: number;
  version: string;
};
export type ClusterUnit = {
  name: string;
  unit: string;
  owner?: string | null;
  planned: string;
  standbys: string[];
  unowned_ms?: number | null;
};
export type Cluster = {
  node: string;
  leads: boolean;
  plan_version: number;
  in_transit: number;
  unowned: number;
  nodes: ClusterNode[];
  units: ClusterUnit[];
};

export type RegionPartition = {
  stream: string;
  partition: number;
  received: number;
  lag_events: number;
  lag_ms: number;
  parked?: string | null;
  waits_for?: string | null;
};
export type RegionPeer = {
  region: number;
  name?: string | null;
  address?: string | null;
  link: string;
  error?: string | null;
  lag_events: number;
  lag_ms: number;
  held_bytes: number;
  sent_bytes: number;
  received_bytes: number;
  ahead_ms?: number | null;
  notes: string[];
  partitions: RegionPartition[];
  via?: number;
  send_limited: boolean;
};
export type Regions = {
  region: number;
  name: string;
  epoch: number;
  streams: string[];
  certificate_expires_at_ms: number;
  local_clock_suspect: boolean;
  restore?: Restore;
  drain?: { lacking: number[] };
  peers: RegionPeer[];
};
/** What a region fetches that is new, or was put back from an older copy. */
export type Restore = {
  new: boolean;
  peers: { region: number; done: boolean; left_out: boolean; lacking_events: number; reason?: string }[];
  waits_for?: string;
};
export type Home = { stream: string; home: number; open: boolean; planned: boolean; term: number; from?: number | null };

/** A consumer group of Kafka; what the brokers do not say is null. */
export type Group = { group: string; state: string; protocol: string | null; members: number | null; streams: string[]; lag_events: number | null };
export type GroupMember = { id: string; client: string; host: string; partitions: { stream: string; partition: number }[] };
export type GroupPartition = {
  stream: string;
  partition: number;
  /** The event that it reads next; null when it has committed nothing. */
  committed: number | null;
  start: number;
  end: number;
  /** What it has not committed; null when it has committed nothing. */
  lag_events: number | null;
  /** The id of the member that reads it. */
  member: string | null;
};
export type GroupDetail = { group: string; state: string; protocol: string | null; members: GroupMember[] | null; partitions: GroupPartition[] };
