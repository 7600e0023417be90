import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type Docker from 'dockerode';
import { StepFailure } from '../../events/step.js';
import type { EngineCalls } from './docker.call.js';
import { reasonOf, statusOf } from './engine.errors.js';
import type { Network, NetworkSpec } from './engine.port.js';
import { type LabelValues, labelFilter, labels } from './labels.js';
import { formatAddress, freeSubnets } from './subnets.js';

const TRIES = 20;

function toNetwork(found: Docker.NetworkInspectInfo): Network {
  return { id: found.Id, name: found.Name, subnet: found.IPAM?.Config?.[0]?.['Subnet'] ?? null, labels: found.Labels ?? {} };
}

/** MTU of the interface that the default route leaves by; 1500 when there is none. */
export function uplinkMtu(routes = '/proc/net/route', classNet = '/sys/class/net'): number {
  try {
    for (const line of readFileSync(routes, 'utf8').split('\n').slice(1)) {
      const [name, destination] = line.split('\t');
      if (name && destination === '00000000') return Number(readFileSync(`${classNet}/${name.trim()}/mtu`, 'utf8')) || 1500;
    }
  } catch {
    // no /proc: not the engine's machine
  }
  return 1500;
}

/** Routes of this machine, as CIDR: a network of ours must not hide one of them. */
function hostRoutes(): string[] {
  const reverse = (hex: string): number => Number.parseInt(hex.match(/../g)?.toReversed().join('') ?? '0', 16);
  try {
    return readFileSync('/proc/net/route', 'utf8').split('\n').slice(1).flatMap((line) => {
      const [, destination, , , , , , mask] = line.split('\t');
      if (!destination || !mask || destination === '00000000') return [];
      return [`${formatAddress(reverse(destination))}/${reverse(mask).toString(2).replaceAll('0', '').length}`];
    });
  } catch {
    return [];
  }
}

export class DockerNetworks {
  private readonly making = new Map<string, Promise<Network>>();

  constructor(private readonly calls: EngineCalls) {}

  async ensure(spec: NetworkSpec): Promise<Network> {
    const other = this.making.get(spec.name);
    if (other) return other;
    const mine = this.find(spec.name).then((found) => found ?? this.make(spec)).finally(() => this.making.delete(spec.name));
    this.making.set(spec.name, mine);
    return mine;
  }

  async remove(name: string): Promise<void> {
    for (const network of await this.named(name)) await this.calls.find('network.remove', name, (docker) => docker.getNetwork(network.Id).remove());
  }

  async list(wanted: LabelValues): Promise<readonly Network[]> {
    const found = await this.calls.run('network.list', undefined, (docker) => docker.listNetworks({ filters: { label: labelFilter(wanted) } }));
    return found.map(toNetwork);
  }

  /** The engine may hold several networks of one name when two processes made it at once: the oldest counts. */
  private async find(name: string): Promise<Network | null> {
    const oldest = (await this.named(name))[0];
    return oldest ? toNetwork(oldest) : null;
  }

  private async named(name: string): Promise<Docker.NetworkInspectInfo[]> {
    const like = await this.calls.run('network.find', name, (docker) => docker.listNetworks({ filters: { name: [name] } }));
    return like.filter((network) => network.Name === name).toSorted((a, b) => a.Created.localeCompare(b.Created) || a.Id.localeCompare(b.Id));
  }

  private async make(spec: NetworkSpec): Promise<Network> {
    const all = await this.calls.run('network.list', undefined, (docker) => docker.listNetworks());
    const ours = Object.values(networkInterfaces()).flatMap((at) => at ?? []).flatMap((at) => (at.family === 'IPv4' && at.cidr ? [at.cidr] : []));
    const taken = [...all.flatMap((network) => (network.IPAM?.Config ?? []).flatMap((config) => config['Subnet'] ?? [])), ...ours, ...hostRoutes()];
    const mtu = uplinkMtu();
    let tries = 0;
    for (const { subnet, gateway } of freeSubnets(spec.pool, taken)) {
      if (++tries > TRIES) break;
      try {
        const made = await this.calls.run('network.create', `${spec.name} ${subnet}`, (docker) => docker.createNetwork({
          Name: spec.name, Driver: 'bridge', CheckDuplicate: true, Labels: labels(spec.labels),
          IPAM: { Driver: 'default', Config: [{ Subnet: subnet, Gateway: gateway }] },
          Options: mtu < 1500 ? { 'com.docker.network.driver.mtu': String(mtu) } : {},
        }));
        const first = await this.find(spec.name);
        if (!first || first.id === made.id) return { id: made.id, name: spec.name, subnet, labels: labels(spec.labels) };
        await this.calls.find('network.remove', spec.name, (docker) => docker.getNetwork(made.id).remove());
        return first;
      } catch (error) {
        if (statusOf(error) === 409) {
          const found = await this.find(spec.name);
          if (found) return found;
        }
        // another process took this one, or a route that we do not see is in the way
        if (!/overlap|conflicts with|already in use/i.test(reasonOf(error))) throw error;
      }
    }
    throw new StepFailure('network.pool-full', `there is no free /24 left in ${spec.pool} for the network ${spec.name}`, 'set BERTH_NETWORK_POOL to a larger range that nothing else uses', 'machine');
  }
}
