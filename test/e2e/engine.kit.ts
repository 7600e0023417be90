import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import tar from 'tar-stream';
import type { BuildRequest, EnginePort } from '../../src/drivers/engine/engine.port.js';
import type { BuildPlan, Step, StepIo } from '../../src/events/types/deploy.events.js';
import type { StepContext } from '../../src/events/step.js';

const CACHE = '/var/tmp/berth-test-cache';

/** One static program that can be every kind of app. */
const SERVER = `package main
import ("flag";"fmt";"net/http";"os";"strings";"time")
func main() {
  port := flag.String("port", os.Getenv("PORT"), "")
  host := flag.String("host", "0.0.0.0", "")
  exit := flag.Int("exit", -1, "")
  delay := flag.Int("delay", 0, "ms before anything")
  eat := flag.Int("eat", 0, "MB")
  silent := flag.Bool("silent", false, "")
  status := flag.Int("status", 200, "")
  flag.Parse()
  fmt.Println("starting", os.Getenv("DYNO"))
  time.Sleep(time.Duration(*delay) * time.Millisecond)
  if *eat > 0 { var keep [][]byte; for i := 0; i < *eat; i++ { b := make([]byte, 1<<20); for j := range b { b[j] = byte(j) }; keep = append(keep, b) }; fmt.Println("ate", len(keep)) }
  if *exit >= 0 { fmt.Fprintln(os.Stderr, "going down"); os.Exit(*exit) }
  if *silent { time.Sleep(time.Hour) }
  http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(*status); fmt.Fprint(w, strings.Join(os.Environ(), "\\n")) })
  fmt.Println("listening on", *host+":"+*port)
  if err := http.ListenAndServe(*host+":"+*port, nil); err != nil { fmt.Println(err); os.Exit(1) }
}
`;

/** The server's binary; compiled once and kept. */
export function serverBinary(): Buffer {
  const dir = join(CACHE, 'server');
  const source = join(dir, 'main.go');
  const binary = join(dir, 'server');
  if (!existsSync(binary) || !existsSync(source) || readFileSync(source, 'utf8') !== SERVER) {
    mkdirSync(dir, { recursive: true });
    writeFileSync(source, SERVER);
    execFileSync('go', ['build', '-ldflags=-s -w', '-o', binary, source], { env: { ...process.env, CGO_ENABLED: '0' } });
  }
  return readFileSync(binary);
}

export function busyboxBinary(): Buffer {
  return readFileSync(['/bin/busybox', '/usr/bin/busybox'].find(existsSync) ?? '/bin/busybox');
}

export type Files = Readonly<Record<string, string | Buffer>>;

export function tarOf(files: Files): Readable {
  const pack = tar.pack();
  for (const [name, data] of Object.entries(files)) pack.entry({ name, mode: Buffer.isBuffer(data) ? 0o755 : 0o644, mtime: new Date(0) }, data);
  pack.finalize();
  return pack as unknown as Readable;
}

/** Folders of source archives, until `removeAll`. */
const folders: string[] = [];

export async function tarFile(files: Files): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-src-'));
  folders.push(folder);
  const file = join(folder, 'source.tar');
  const parts: Buffer[] = [];
  for await (const part of tarOf(files) as AsyncIterable<Buffer>) parts.push(part);
  writeFileSync(file, Buffer.concat(parts));
  return file;
}

/** what SecretBox.mark does */
export const mark = (text: string): string => createHash('sha256').update(`test ${text}`).digest('hex').slice(0, 24);

export const random = (): string => randomBytes(4).toString('hex');

export function request(over: Partial<BuildRequest> & { tag: string }): BuildRequest {
  return { dockerfile: 'Dockerfile', labels: {}, buildArgs: {}, secrets: {}, signal: new AbortController().signal, onLine: () => {}, limits: { memory: 0, cpus: 0, timeoutMs: 0 }, ...over };
}

/** `server` (FROM scratch) and `busybox` (with the server in it), built without any registry. */
export async function baseImages(engine: EnginePort, instance: string): Promise<{ server: string; busybox: string }> {
  const server = `${instance}/server:base`;
  const busybox = `${instance}/busybox:base`;
  await engine.build(tarOf({ server: serverBinary(), Dockerfile: 'FROM scratch\nCOPY server /server\nCMD ["/server"]\n' }), request({ tag: server, labels: { instance } }));
  await engine.build(tarOf({ busybox: busyboxBinary(), server: serverBinary(), passwd: 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n', group: 'root:x:0:\nnobody:x:65534:\n',
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nCOPY passwd group /etc/\nCOPY server /bin/server\nENV PATH=/bin\nCMD ["/bin/server"]\n' }), request({ tag: busybox, labels: { instance } }));
  return { server, busybox };
}

export interface Heard { readonly lines: string[]; readonly calls: string[] }

export function stepContext<S extends Step>(step: S, input: StepIo[S]['input'], over: { app: string; deploy?: number; job?: string; attempt?: number; signal?: AbortSignal }): StepContext<S> & Heard {
  const lines: string[] = [];
  const calls: string[] = [];
  const deploy = over.deploy ?? 1;
  return {
    step, input, deploy, lines, calls, app: over.app, job: over.job ?? `${over.app}.${deploy}.${step}`, attempt: over.attempt ?? 1, signal: over.signal ?? new AbortController().signal,
    log: {
      info: (text) => void lines.push(`-----> ${text}`), section: (text) => void lines.push(`=====> ${text}`), detail: (text) => void lines.push(`       ${text}`), warn: (text) => void lines.push(` !     ${text}`),
      output: (text, always) => void lines.push(`${always ? 'A' : 'O'}| ${text}`), call: (name) => void calls.push(name),
    },
  };
}

export const plan = (over: Partial<BuildPlan>): BuildPlan => ({
  builder: 'dockerfile', buildpack: null, summary: 'Dockerfile', dockerfilePath: 'Dockerfile', dockerfile: null, buildArgs: [], processTypes: { web: null }, releaseCommand: null,
  check: { path: null, timeoutMs: 1000, attempts: 2, waitMs: 200 }, port: 5000, ...over,
});

export async function removeAll(engine: EnginePort, instance: string): Promise<void> {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  for (const container of await engine.listContainers({ instance })) await engine.removeContainer(container.id);
  for (const network of await engine.listNetworks({ instance })) await engine.removeNetwork(network.name);
  for (const image of await engine.listImages({ instance })) await engine.removeImage(image.id, true);
}
