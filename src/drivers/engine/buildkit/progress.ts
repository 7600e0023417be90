import { StringDecoder } from 'node:string_decoder';
import { type Status, type Vertex, millis } from './proto.js';

interface Known { readonly number: number; name: string; started: number | null; done: boolean; cached: boolean; readonly pending: Map<number, { decoder: StringDecoder; text: string; at: number }> }

/** The instruction that ended a build. */
export interface FailedStep { readonly name: string; readonly error: string }

/** `[builder 2/4] RUN make` → stage, number, total and instruction; null for BuildKit's own vertices. */
export function parseStep(name: string): { stage: string | null; step: number; total: number; instruction: string } | null {
  const found = /^\[(?:(\S+) +)?(\d+)\/(\d+)\] +(.*)$/s.exec(name);
  return found ? { stage: found[1] ?? null, step: Number(found[2]), total: Number(found[3]), instruction: found[4] ?? '' } : null;
}

const clean = (text: string): string => text.slice(text.lastIndexOf('\r', text.length - 2) + 1).replace(/\r$/, '');

/** Makes lines out of BuildKit's status messages: numbered in the order in which vertices start. */
export class BuildProgress {
  private readonly known = new Map<string, Known>();
  private next = 1;
  failed: FailedStep | null = null;

  constructor(private readonly onLine: (line: string) => void) {}

  /** Instructions that were carried out; FROM is not one. */
  get steps(): number {
    return this.count(() => true);
  }
  get cached(): number {
    return this.count((vertex) => vertex.cached);
  }
  /** The last instruction that began and did not end. */
  get running(): string | null {
    return [...this.known.values()].findLast((vertex) => vertex.started !== null && !vertex.done && parseStep(vertex.name))?.name ?? null;
  }

  feed(status: Status): void {
    for (const vertex of status.vertexes) this.begin(vertex);
    for (const log of status.logs) {
      const vertex = this.known.get(log.vertex);
      if (!vertex || !log.msg) continue;
      const stream = log.stream ?? 1;
      let line = vertex.pending.get(stream);
      if (!line) vertex.pending.set(stream, (line = { decoder: new StringDecoder('utf8'), text: '', at: 0 }));
      line.at = log.timestamp ? millis(log.timestamp) : Date.now();
      const parts = (line.text + line.decoder.write(log.msg)).split('\n');
      line.text = parts.pop() ?? '';
      for (const part of parts) this.say(vertex, line.at, part);
    }
    for (const vertex of status.vertexes) this.finish(vertex);
  }

  private count(wanted: (vertex: Known) => boolean): number {
    let count = 0;
    for (const vertex of this.known.values()) if (vertex.started !== null && wanted(vertex) && !/^FROM /i.test(parseStep(vertex.name)?.instruction ?? 'FROM ')) count += 1;
    return count;
  }

  private begin(vertex: Vertex): void {
    let known = this.known.get(vertex.digest);
    if (!vertex.started && !vertex.cached && !vertex.error) return;
    if (!known) {
      known = { number: this.next++, name: vertex.name ?? '', started: null, done: false, cached: false, pending: new Map() };
      this.known.set(vertex.digest, known);
      this.onLine(`#${known.number} ${known.name.replace(/\s*\n\s*/g, ' ')}`);
    }
    if (known.started === null && vertex.started) known.started = millis(vertex.started);
    if (vertex.cached) known.cached = true;
  }

  private finish(vertex: Vertex): void {
    const known = this.known.get(vertex.digest);
    if (!known || known.done || !(vertex.completed || vertex.error)) return;
    known.done = true;
    for (const line of known.pending.values()) {
      const rest = line.text + line.decoder.end();
      if (rest) this.say(known, line.at, rest);
    }
    const took = known.started !== null && vertex.completed ? (millis(vertex.completed) - known.started) / 1000 : 0;
    if (vertex.error) {
      this.onLine(`#${known.number} ERROR: ${vertex.error.replace(/\s*\n\s*/g, ' ')}`);
      // the stages beside the one that failed end with this
      if (!vertex.error.endsWith('context canceled')) this.failed ??= { name: known.name, error: vertex.error };
    } else if (known.cached) {
      this.onLine(`#${known.number} CACHED`);
    } else {
      this.onLine(`#${known.number} DONE ${took.toFixed(1)}s`);
    }
  }

  private say(vertex: Known, at: number, text: string): void {
    const since = vertex.started === null ? 0 : Math.max(0, at - vertex.started) / 1000;
    this.onLine(`#${vertex.number} ${since.toFixed(3)} ${clean(text)}`);
  }
}
