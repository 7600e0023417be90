import type { EnginePort } from '../../drivers/engine/engine.port.js';
import type { Git, GitImport } from '../../drivers/git/git.port.js';

/** The hands of what brings code that nobody pushed. */
export interface Sources {
  readonly commits: GitImport;
  readonly remotes: Pick<Git, 'remoteRef' | 'fetchCommit'>;
  readonly images: Pick<EnginePort, 'inspectImage' | 'loadImage'>;
}
