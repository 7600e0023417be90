import type { EngineCalls } from './docker.call.js';
import type { Volume } from './engine.port.js';
import { type LabelValues, labelFilter } from './labels.js';

export class DockerVolumes {
  constructor(private readonly calls: EngineCalls) {}

  async listIdle(wanted: LabelValues): Promise<readonly Volume[]> {
    const filters = { label: labelFilter(wanted), dangling: ['true'] };
    const { Volumes } = await this.calls.run('volume.list', undefined, (docker) => docker.listVolumes({ filters: JSON.stringify(filters) as never }));
    return (Volumes ?? []).map((volume) => ({ name: volume.Name, labels: volume.Labels ?? {} }));
  }

  async remove(name: string): Promise<void> {
    await this.calls.find('volume.remove', name, (docker) => docker.getVolume(name).remove());
  }
}
