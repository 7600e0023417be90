import type { EnginePort } from '../../drivers/engine/engine.port.js';
import type { GitImport } from '../../drivers/git/git.port.js';

/** The hands of what brings code that nobody pushed. */
export interface Sources {
  readonly commits: GitImport;
  readonly images: Pick<EnginePort, 'inspectImage' | 'loadImage'>;
}
