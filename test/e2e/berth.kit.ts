import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { expect } from 'vitest';
import type { Fixture, Outcome } from '../lib/berth-fixture.js';
import { busyboxBinary, request, tarOf } from './engine.kit.js';

const CACHE = '/var/tmp/berth-test-cache/journey';

/** One program that is every kind of app: quick, slow, deaf, dying. `/` says which version and release answers. */
const SERVER = `package main
import ("context";"flag";"fmt";"net";"net/http";"os";"os/signal";"strings";"syscall";"time")
func main() {
  port := flag.String("port", os.Getenv("PORT"), "")
  exit := flag.Int("exit", -1, "")
  delay := flag.Int("delay", 0, "ms before anything")
  linger := flag.Int("linger", 0, "ms between SIGTERM and the end")
  seen := flag.Int("seen", 0, "ms that /check takes for whoever is not Berth's direct check")
  silent := flag.Bool("silent", false, "no port at all")
  hang := flag.Bool("hang", false, "takes connections, answers nothing")
  status := flag.Int("status", 200, "")
  flag.Parse()
  version, _ := os.ReadFile("/version")
  me := fmt.Sprintf("v=%s release=%s dyno=%s", strings.TrimSpace(string(version)), os.Getenv("BERTH_RELEASE"), os.Getenv("DYNO"))
  fmt.Println("starting", me)
  time.Sleep(time.Duration(*delay) * time.Millisecond)
  if *exit >= 0 { fmt.Fprintln(os.Stderr, "going down"); os.Exit(*exit) }
  ended := make(chan os.Signal, 1)
  signal.Notify(ended, syscall.SIGTERM)
  if *silent { <-ended; fmt.Println("stopped", me); return }
  if *hang { l, err := net.Listen("tcp", ":"+*port); if err != nil { panic(err) }; go func() { for { c, _ := l.Accept(); _ = c } }(); <-ended; return }
  http.HandleFunc("/env/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(strings.TrimPrefix(r.URL.Path, "/env/"))) })
  http.HandleFunc("/log/", func(w http.ResponseWriter, r *http.Request) { fmt.Println("said", strings.TrimPrefix(r.URL.Path, "/log/")); fmt.Fprint(w, "said") })
  http.HandleFunc("/check", func(w http.ResponseWriter, r *http.Request) { if r.UserAgent() != "berth-check" { time.Sleep(time.Duration(*seen) * time.Millisecond) }; w.WriteHeader(*status) })
  http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(*status); fmt.Fprintln(w, me) })
  server := &http.Server{Addr: ":" + *port}
  go func() { <-ended; time.Sleep(time.Duration(*linger) * time.Millisecond); server.Shutdown(context.Background()); }()
  fmt.Println("listening on", *port)
  if err := server.ListenAndServe(); err != http.ErrServerClosed { fmt.Println(err); os.Exit(1) }
  fmt.Println("stopped", me)
}
`;

/** Compiled once a machine. */
function serverBinary(): Buffer {
  const source = join(CACHE, 'main.go');
  const binary = join(CACHE, 'server');
  if (!existsSync(binary) || !existsSync(source) || readFileSync(source, 'utf8') !== SERVER) {
    mkdirSync(CACHE, { recursive: true });
    writeFileSync(source, SERVER);
    execFileSync('go', ['build', '-ldflags=-s -w', '-o', binary, source], { env: { ...process.env, CGO_ENABLED: '0' } });
  }
  return readFileSync(binary);
}

export type AppFiles = Record<string, string | Buffer | { mode: number; text: string }>;
export interface AppWishes { version?: string; args?: string; procfile?: string; appJson?: object; dockerfile?: string; files?: AppFiles }

/** A base image without a registry: busybox and the server. Labelled as the fixture's, so that it goes with it. */
export async function baseImage(berth: Fixture): Promise<(wishes?: AppWishes) => AppFiles> {
  const engine = new DockerDriver(berth.env['BERTH_DOCKER']!);
  const tag = `${berth.instance}-base:1`;
  const { imageId } = await engine.build(tarOf({
    busybox: busyboxBinary(), server: serverBinary(), passwd: 'root:x:0:0::/:/bin/sh\n',
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nCOPY passwd /etc/\nCOPY server /bin/server\nENV PATH=/bin\nCMD ["/bin/server"]\n',
  }), request({ tag, labels: { instance: berth.instance } })).then((image) => ({ imageId: image.id }));
  bases.set(berth, imageId);
  return ({ version = '1', args = '', procfile, appJson, dockerfile, files } = {}) => ({
    version: `${version}\n`,
    Dockerfile: dockerfile?.replace('BASE', tag) ?? `FROM ${tag}\nCOPY version /version\nCMD ${JSON.stringify(['/bin/server', ...args.split(' ').filter(Boolean)])}\n`,
    ...(procfile === undefined ? {} : { Procfile: procfile }), ...(appJson && { 'app.json': JSON.stringify(appJson) }), ...files,
  });
}

/** An app that is not root's and writes down what it is told, in `/www/data`. */
export function notes(app: (wishes?: AppWishes) => AppFiles, version: string): AppFiles {
  return {
    ...app({ version, dockerfile: 'FROM BASE\nCOPY www /www\nUSER 1234:1234\n', procfile: 'web: httpd -f -p $PORT -h /www\nworker: sleep 100000\n' }),
    'www/version.txt': `${version}\n`,
    'www/cgi-bin/note': { mode: 0o755, text: '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\n[ -z "$QUERY_STRING" ] || echo "$QUERY_STRING" >> /www/data/notes\ncat /www/data/notes\n' },
  };
}

/** What that app has written down; with a word, after writing that. */
export async function noted(berth: Fixture, word?: string): Promise<string[]> {
  const { status, body } = await berth.http('notes', `/cgi-bin/note${word ? `?${word}` : ''}`);
  if (status !== 200) throw new Error(`${status} ${body}`);
  return body.trim().split('\n').filter(Boolean);
}

type CliOptions = Parameters<Fixture['cli']>[1];
/** A command that has to go well. */
export async function succeeds(berth: Fixture, args: readonly string[], options?: CliOptions): Promise<Outcome> {
  const ran = await berth.cli(args, options);
  expect(ran.code, `berth ${args.join(' ')}: ${ran.err}${ran.out}`).toBe(0);
  return ran;
}
/** A command that must not; answers what it said. */
export async function refuses(berth: Fixture, args: readonly string[], options?: CliOptions): Promise<string> {
  const { code, out, err } = await berth.cli(args, options);
  expect(code, `berth ${args.join(' ')}: ${out}`).not.toBe(0);
  return err;
}

const bases = new WeakMap<Fixture, string>();
/** id of the fixture's base image */
export const baseOf = (berth: Fixture): string => bases.get(berth) ?? '';

/** What the fixture's Berth has in the engine, the base image left out. */
export async function left(berth: Fixture): Promise<{ containers: string[]; networks: string[]; volumes: string[]; images: string[] }> {
  const all = await berth.owned();
  return { ...all, images: all.images.filter((id) => id !== bases.get(berth)) };
}

/** Asks an app about a hundred times a second until it is stopped; every answer that is not 200 is kept. */
export class Poller {
  readonly failures: string[] = [];
  /** the same, with when they were asked and when they failed */
  readonly failed: { readonly from: number; readonly to: number; readonly why: string }[] = [];
  readonly seen = new Map<string, number>();
  ok = 0;
  private readonly agent: Agent | false;
  private readonly timer: NodeJS.Timeout;
  private readonly open = new Set<Promise<void>>();

  constructor(private readonly berth: Fixture, private readonly app: string, keepAlive: boolean, private readonly path = '/') {
    this.agent = keepAlive ? new Agent({ keepAlive: true, maxSockets: 8 }) : false;
    this.timer = setInterval(() => {
      const one = this.ask().finally(() => this.open.delete(one));
      this.open.add(one);
    }, 10);
  }

  private ask(): Promise<void> {
    const from = Date.now();
    const at = new Date(from).toISOString().slice(11, 23);
    return new Promise((done) => {
      const fail = (why: string): void => { this.failures.push(`${at} ${why}`); this.failed.push({ from, to: Date.now(), why }); done(); };
      const sent = httpRequest({ host: this.berth.httpHost, port: this.berth.httpPort, path: this.path, agent: this.agent, headers: { host: `${this.app}.${this.berth.domain}` }, timeout: 20_000 }, (reply) => {
        let body = '';
        reply.setEncoding('utf8').on('data', (text: string) => { body += text; }).on('error', (error) => fail(error.message)).on('end', () => {
          if (reply.statusCode !== 200) return fail(`${reply.statusCode} ${body.slice(0, 80)}`);
          this.ok += 1;
          this.seen.set(body.trim(), (this.seen.get(body.trim()) ?? 0) + 1);
          done();
        });
      });
      sent.on('timeout', () => sent.destroy(new Error('no answer within 20 s')));
      sent.on('error', (error) => fail(error.message));
      sent.end();
    });
  }

  async stop(): Promise<this> {
    clearInterval(this.timer);
    await Promise.all(this.open);
    if (this.agent) this.agent.destroy();
    return this;
  }
}

/** A running program whose output can be waited for. */
export class Live {
  output = '';
  readonly ended: Promise<number>;
  private readonly child: ReturnType<typeof spawn>;
  private over = false;
  private wake: () => void = () => {};

  constructor(file: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { this.output += text; this.wake(); });
    this.ended = new Promise((done) => child.on('close', (code) => { this.over = true; this.wake(); done(code ?? 128); }));
  }

  /** Resolves when the output matches; rejects when the program ends without it. */
  async says(pattern: RegExp, withinMs = 60_000): Promise<RegExpExecArray> {
    const late = Date.now() + withinMs;
    for (;;) {
      const found = pattern.exec(this.output);
      if (found) return found;
      if (this.over || Date.now() > late) throw new Error(`never said ${String(pattern)}: ${this.output}`);
      await new Promise<void>((done) => { this.wake = done; setTimeout(done, 1000); });
    }
  }

  /** The whole process group, as a closed terminal does it. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    try { process.kill(-this.child.pid!, signal); } catch { /* it ended by itself */ }
  }
}

/** `git push` that can be watched and killed. */
export function pushing(berth: Fixture, dir: string, app: string, refspec = 'main'): Live {
  return new Live('git', ['-C', dir, 'push', berth.url(app), refspec], berth.gitEnv());
}

/** Words of an ssh client that speaks to the fixture with a key. */
export function sshWords(berth: Fixture, key = berth.key): string[] {
  return ['-i', key, '-p', String(berth.sshPort), '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no', '-o', `UserKnownHostsFile=${join(berth.root, 'ssh/known_hosts')}`, '-o', 'LogLevel=ERROR', 'root@127.0.0.1'];
}

/** A command over SSH that can be watched and killed. */
export function sshing(berth: Fixture, command: string, key = berth.key): Live {
  return new Live('ssh', ['-F', '/dev/null', ...sshWords(berth, key), '--', command], berth.gitEnv(key));
}

export interface StepInfo { job: string; step: string; status: string; attempt: number; worker: string | null; retryOf: string | null; failure: { code: string } | null }
export interface DeployInfo { deploy: number; kind: string; status: string; commit: string | null; release: number | null; failure: { code: string; message: string } | null; endedBy?: string; steps: StepInfo[] }

export const deploysOf = (berth: Fixture, app: string): Promise<DeployInfo[]> => berth.json(['deploys', app]);
export const deployOf = (berth: Fixture, app: string, deploy: number): Promise<DeployInfo> => berth.json(['deploys:show', app, String(deploy)]);

export interface EventItem { id: string; event: string; data: { type: string; at: number; position: number; meta: { actor: string; command: string }; data: Record<string, unknown> } }

/** Events as `berth events --format json` gives them: one a line. */
export async function eventsOf(berth: Fixture, ...args: string[]): Promise<EventItem[]> {
  const { code, out, err } = await berth.cli(['events', '-n', '10000', ...args, '--format', 'json']);
  if (code !== 0) throw new Error(err);
  return out.split('\n').filter(Boolean).map((line) => JSON.parse(line) as EventItem);
}

/** The commit that a branch of the app's repository points to on the server, or ''. */
export async function refOf(berth: Fixture, app: string, ref = 'refs/heads/main'): Promise<string> {
  const { id } = await berth.json<{ id: string }>(['apps:info', app]);
  return (await berth.git(join(berth.root, 'repos', `${id}.git`), 'for-each-ref', '--format=%(objectname)', ref)).trim();
}

/** What git shows of the server's words: one line each, without `remote: `. */
export const remote = (output: string): string[] => output.split('\n').filter((line) => line.startsWith('remote: ')).map((line) => line.slice(8).replace(/\u001b\[K/g, '').trimEnd());

/** Resolves when nothing of `app`'s deploys is open. */
export const settled = (berth: Fixture, app: string): Promise<DeployInfo[]> => berth.until(`${app} to settle`, async () => {
  const all = await deploysOf(berth, app);
  return all.every((d) => d.status !== 'running' && d.status !== 'waiting') && all;
}, 60_000);
