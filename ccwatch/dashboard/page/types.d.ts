// The words that the kernel and the page speak, and the shapes that the modules share. Only tsc reads this file.

/** The arguments that anywidget gives to a widget. */
export interface Model {
  get(name: string): any;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: object): void;
  on(name: string, callback: (...parts: any[]) => void): void;
  off(name: string, callback: (...parts: any[]) => void): void;
}

export type Range = [number, number];
export type Column = ["f8" | "f4" | "u1", string];
export type Numbers = Float64Array | Float32Array | Uint8Array;

/** A change of the signal: time, price, side, symbol, confidence, approved size, reasoning, px, shape. */
export type Mark = [number, number | null, number, number, number | null, number | null, string, number, string];

/** Time, kind or level, text; the receiver's own time where the stream's was not known yet. */
export type Row = [number, string | null, string, number?];

export interface Level extends Array<number | string> {
  0: number;
  1: string;
}

export interface PanelSpec {
  name: string;
  title: string;
  axis: string;
  gaps: string;
  ribbon: string;
  tickformat: string;
  unit: string;
  digits: number;
  scale: number;
  share: number;
  height: number;
  levels: Level[];
  floor: number | null;
  ceiling: number | null;
  clip: number | null;
  strip: boolean;
}

export interface Meta {
  role: string;
  label: string;
  column?: string;
  code?: number;
  symbol?: boolean;
  unit: string;
  digits: number;
  scale: number;
  stream?: number;
  ahead?: string;
}

/** A plotly trace, of which only `meta` is ours. */
export interface Trace {
  [key: string]: any;
  meta: Meta;
}

export interface Skeleton {
  data: Trace[];
  layout: any;
}

export interface Alert {
  rule: string;
  subject: string;
  severity: string;
  meaning: string;
  state: string;
  fired: number;
  resolved: number | null;
  at: string;
  value: string;
  worst: string;
  acknowledged: boolean;
  group?: string;
  runbook?: string;
  certificate?: string; // how its rule did when it was tried
  by?: string; // who has seen it, as the recording's journal says
  silenced?: [until: number, by: string, reason: string] | null;
  keeps?: boolean;
  [more: string]: any;
}

export interface AlertStrip {
  open: Alert[];
  more: number;
  rules: number;
  silent: string[];
  begun: boolean;
  now: number | null;
}

export interface Service {
  kind: string;
  name: string;
  n: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  good: number | null;
  invocations: number | null;
  objective: number | null;
  spark: number[];
  why: string;
}

/** The state of the connection, as the kernel sends it. */
export interface Status {
  state: string;
  mood: string;
  words: string;
  age_s: number | null;
  retry_s: number | null;
  error: string;
  origin: string;
  name: string;
  gaps: number;
  reconnects: number;
  recording: string;
  trouble: string;
  note: string;
  paused: boolean;
  hidden: number;
  stopped: boolean;
  records: boolean | null;
  zone: string;
}

export interface Content {
  kind: string;
  stream?: number;
  [more: string]: any;
}

/** A moment of the timeline. */
export interface Item {
  time: number;
  kind: string;
  glyph: string;
  words: string;
  important: boolean;
  own?: number;
}

/** Where plotly has put a panel, px of the plot's box. */
export interface Box {
  top: number;
  height: number;
  low: number;
  high: number;
}

export interface Facts {
  time: number | null;
  symbol: string | null;
  price: number | null;
  first: number | null;
  pnl: number | null;
  daily_pnl: number | null;
  drawdown: number | null;
  exposure: number | null;
  nav: number | null;
  regime: string | null;
  status: string | null;
}
