import { setTimeout as sleep } from 'node:timers/promises';
import { StepFailure } from '../../events/step.js';
import { addressOf, backendOf, fixedMap, ruleIn, ruleKey, ruleMap, ruleValue } from './haproxy.text.js';
import { ask } from './haproxy.socket.js';
import { RULE_TABLES, type RouterChange, type RouterRule, type RouterServer, type RouterState, type ServerStats } from './router.port.js';

const MAINT = 0x01 | 0x04; // forced by us, or `disabled` in the file

/** The one running worker, by its runtime socket. */
export class HaproxyRuntime {
  constructor(private readonly socket: string, private readonly dir: string) {}

  ask(command: string): Promise<string> { return ask(this.socket, command); }

  /** Pid of the worker that answers on the socket. */
  async pid(): Promise<number> { return Number(/^Pid: (\d+)$/m.exec(await this.ask('show info'))?.[1] ?? 0); }

  /** A map's entries; null when the running configuration does not have it: it is an older one. */
  private async entries(file: string): Promise<readonly { readonly key: string; readonly value: string }[] | null> {
    const text = await this.ask(`show map ${file}`);
    if (text.startsWith('Unknown map')) return null;
    return text.split('\n').flatMap((line) => {
      const [, key, value] = line.split(' ');
      return key !== undefined && value !== undefined ? [{ key, value }] : [];
    });
  }

  /** Which fixed part each app was loaded with: app → digest; null: the running configuration is of before there were any. */
  async fixed(): Promise<ReadonlyMap<string, string> | null> {
    const entries = await this.entries(fixedMap(this.dir));
    return entries && new Map(entries.map(({ key, value }) => [key.slice(4), value.slice(value.indexOf('-') + 1)]));
  }

  async observe(): Promise<RouterState> {
    const [backends, servers, hosts, wildcards, ...tables] = await Promise.all([
      this.ask('show backend'), this.ask('show servers state'), this.entries(`${this.dir}/hosts.map`), this.entries(`${this.dir}/wildcards.map`),
      ...RULE_TABLES.map((table) => this.entries(ruleMap(this.dir, table))),
    ]);
    const apps = new Map<string, RouterServer[]>();
    for (const line of backends.split('\n')) if (line.startsWith('app_')) apps.set(line.slice(4).trim(), []);
    for (const line of servers.split('\n')) {
      const column = line.split(' ');
      if (!column[1]?.startsWith('app_')) continue;
      const weight = Number(column[7]);
      apps.get(column[1].slice(4))?.push({
        name: column[3] ?? '', ip: column[4] ?? '', port: Number(column[18]), weight: Math.max(1, weight),
        state: (Number(column[6]) & MAINT) !== 0 ? 'maint' : weight === 0 ? 'drain' : 'ready',
      });
    }
    const routes = (list: typeof hosts, prefix: string): RouterState['hosts'] => (list ?? []).flatMap(({ key, value }) => (value.startsWith('app_') ? [{ host: prefix + key, app: value.slice(4) }] : []));
    const rules = tables.flatMap((list, at) => (list ?? []).flatMap(({ key, value }) => ruleIn(RULE_TABLES[at]!, key, value) ?? []));
    return { apps: [...apps].map(([id, list]) => ({ id, name: id, servers: list })), hosts: [...routes(hosts, ''), ...routes(wildcards, '*.')], ...(rules.length > 0 && { rules }) };
  }

  /** One change that needs no reload. @throws StepFailure `route.refused` */
  async change(change: RouterChange): Promise<void> {
    switch (change.do) {
      case 'server.add': {
        const at = `${backendOf(change.app)}/${change.server.name}`;
        await this.must(`add server ${at} ${addressOf(change.server)} weight ${change.server.state === 'drain' ? 0 : change.server.weight}`, /^New server registered/);
        if (change.server.state !== 'maint') await this.must(`enable server ${at}`); // it is born in maintenance
        return;
      }
      case 'server.set': {
        const at = `${backendOf(change.app)}/${change.name}`;
        if (change.state === 'maint') return this.must(`set server ${at} state maint`);
        await this.must(`set server ${at} weight ${change.state === 'drain' ? 0 : change.weight}`);
        return this.must(`set server ${at} state ready`);
      }
      case 'server.move': return this.must(`set server ${backendOf(change.app)}/${change.name} addr ${change.ip} port ${change.port}`, /changed|no need/);
      case 'server.remove': return this.remove(`${backendOf(change.app)}/${change.name}`);
      case 'host.add': return this.map('add', change.host, change.app);
      case 'host.move': return this.map('set', change.host, change.app);
      case 'host.remove': return this.map('del', change.host);
      case 'rule.add': return this.rule('add', change);
      case 'rule.set': return this.rule('set', change);
      case 'rule.remove': return this.rule('del', change);
      case 'app.add': case 'app.remove': case 'app.fix': throw new Error(`${change.do} needs a reload`);
    }
  }

  private map(how: 'add' | 'set' | 'del', host: string, app?: string): Promise<void> {
    const [file, key] = host.startsWith('*.') ? ['wildcards', host.slice(2)] : ['hosts', host];
    return this.must(`${how} map ${this.dir}/${file}.map ${key}${app === undefined ? '' : ` ${backendOf(app)}`}`);
  }

  private rule(how: 'add' | 'set' | 'del', { app, rule }: { readonly app: string; readonly rule: RouterRule }): Promise<void> {
    return this.must(`${how} map ${ruleMap(this.dir, rule.table)} ${ruleKey(app, rule)}${how === 'del' ? '' : ` ${ruleValue(app, rule)}`}`);
  }

  /** HAProxy deletes only servers that nothing is connected to: what is left after draining is cut. */
  private async remove(at: string): Promise<void> {
    await this.must(`set server ${at} state maint`);
    let answer = '';
    for (let wait = 2; wait < 1000; wait *= 2) {
      answer = await this.ask(`del server ${at}`);
      if (/^(Server deleted|No such server)/.test(answer)) return;
      await this.must(`shutdown sessions server ${at}`);
      await sleep(wait);
    }
    throw new StepFailure('route.refused', `the router keeps server ${at}: ${answer}`, null, 'machine');
  }

  /** Commands answer nothing when they worked, unless `good` says what they answer. */
  private async must(command: string, good = /^$/): Promise<void> {
    const answer = await this.ask(command);
    if (!good.test(answer)) throw new StepFailure('route.refused', `the router refused "${command.replace(/(users\.map \S+) .*/, '$1 …')}": ${answer.split('\n')[0] ?? ''}`, null, 'machine');
  }
}

/** Rows of `show stat`'s CSV, servers only. */
export function parseStats(csv: string): ServerStats[] {
  const [head, ...rows] = csv.split('\n');
  const names = (head ?? '').replace(/^# /, '').split(',');
  const at = (name: string): number => names.indexOf(name);
  const responses = names.flatMap((name, index) => (name.startsWith('hrsp_') ? [index] : []));
  return rows.flatMap((row) => {
    const cells = row.split(',');
    const number = (index: number): number => Number(cells[index] ?? 0) || 0;
    const app = cells[at('pxname')];
    if (!app?.startsWith('app_')) return [];
    return [{
      app: app.slice(4), server: cells[at('svname')] ?? '', inFlight: number(at('scur')) + number(at('qcur')),
      sessions: number(at('stot')), requests: responses.reduce((sum, index) => sum + number(index), 0),
    }];
  });
}
