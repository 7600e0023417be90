import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { StepFailure } from '../../../events/step.js';
import type { SourceTree } from '../source-tree.js';

export interface Pom {
  /** `spring-boot`, `quarkus`, … when its plugin packages a program that runs by itself */
  readonly framework: 'spring-boot' | 'quarkus' | 'micronaut' | null;
  readonly packaging: string;
  readonly modules: readonly string[];
}

/** All values of a key anywhere in the document. */
function values(node: unknown, key: string): unknown[] {
  if (Array.isArray(node)) return node.flatMap((item) => values(item, key));
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([name, value]) => [...(name === key ? [value].flat() : []), ...values(value, key)]);
}

/** @throws StepFailure `detect.pom` */
export function readPom(tree: SourceTree): Pom {
  const text = tree.text('pom.xml') ?? '';
  const valid = XMLValidator.validate(text);
  if (valid !== true) throw new StepFailure('detect.pom', `pom.xml line ${valid.err.line}: ${valid.err.msg}`, 'pom.xml must be XML');
  const root = new XMLParser({ ignoreAttributes: true, parseTagValue: false, processEntities: false }).parse(text) as { project?: Record<string, unknown> };
  if (typeof root.project !== 'object') throw new StepFailure('detect.pom', 'pom.xml has no <project>', 'https://maven.apache.org/pom.html');
  const plugins = values(root.project['build'], 'artifactId').map(String);
  const has = (name: string): boolean => plugins.includes(name);
  const modules = values(root.project['modules'], 'module').map(String);
  return {
    framework: has('spring-boot-maven-plugin') ? 'spring-boot' : has('quarkus-maven-plugin') ? 'quarkus' : has('micronaut-maven-plugin') ? 'micronaut' : null,
    packaging: typeof root.project['packaging'] === 'string' ? root.project['packaging'] : 'jar', modules,
  };
}
