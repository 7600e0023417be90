import { StepFailure } from '../../../events/step.js';
import type { Wanted } from '../generated.js';
import { readToml } from '../toml.js';
import type { SourceTree } from '../source-tree.js';

/** What the repository says about its Python: the first of the places below that says anything. */
export function wantedPython(tree: SourceTree): Wanted | null {
  const lines = (path: string): string[] => (tree.text(path) ?? '').split(/\r?\n/).map((line) => line.replace(/#.*$/, '').trim()).filter((line) => line !== '');
  const file = lines('.python-version')[0];
  if (file !== undefined) return { text: file.replace(/^(?:python-|cpython-)/i, ''), from: '.python-version' };
  const runtime = lines('runtime.txt')[0];
  if (runtime !== undefined) return { text: runtime.replace(/^python-/i, ''), from: 'runtime.txt' };
  const tool = lines('.tool-versions').find((line) => /^python\s/.test(line));
  if (tool !== undefined) return { text: tool.split(/\s+/)[1]!, from: '.tool-versions' };
  const pipfile = readToml(tree, 'Pipfile');
  const pip = pipfile.string('requires', 'python_full_version') ?? pipfile.string('requires', 'python_version');
  if (pip) return { text: pip, from: 'Pipfile' };
  const project = readToml(tree, 'pyproject.toml');
  const requires = project.string('project', 'requires-python') ?? project.string('tool', 'poetry', 'dependencies', 'python');
  return requires ? { text: requires, from: 'pyproject.toml' } : null;
}

/** Whether a Python `major.minor` of any patch level can satisfy a version or PEP 440/Poetry specifiers. */
export function pythonFits(wanted: string, have: string): boolean {
  const mine = have.split('.').map(Number) as [number, number];
  return wanted.split('||').some((alternative) => alternative.split(/,|\s+(?=[<>=!~^])/).map((part) => part.trim()).filter((part) => part !== '' && part !== '*').every((part) => {
    const match = /^(===?|~=|!=|<=?|>=?|\^|~)?\s*v?(\d+)(?:\.(\d+|\*))?(?:\.(\d+|\*))?(?:\S*)$/.exec(part);
    if (match === null) return false;
    const [, op = '=', a, b, c] = match;
    const major = Number(a);
    const minor = b === undefined || b === '*' ? null : Number(b);
    const patch = c === undefined || c === '*' ? null : Number(c);
    // compares major.minor, where a minor that is left out stands for 0
    const order = mine[0] - major || mine[1] - (minor ?? 0);
    switch (op) {
      case '>=': return order >= 0;
      case '>': return order > 0 || order === 0 && patch !== null;
      case '<=': return order <= 0;
      case '<': return order < 0 || order === 0 && patch !== null && patch > 0;
      case '!=': return !(order === 0 && minor !== null && patch === null);
      case '^': return order >= 0 && mine[0] === major;
      case '~=': return order >= 0 && mine[0] === major && (patch === null || mine[1] === minor);
      case '~': return minor === null ? mine[0] === major : order === 0;
      default: return mine[0] === major && (minor === null || mine[1] === minor);
    }
  }));
}

export interface ChosenPython {
  readonly summary: string;
  readonly details: string[];
  /** what uv is asked to fetch, a version or specifiers; null: the stack's is taken */
  readonly fetch: string | null;
}

/** versions and specifiers that uv knows; they can stand in single quotes */
const FETCHED = /^(?:(?:===?|[<>]=?|!=|~=)?\d+(?:\.(?:\d+|\*)){0,2})(?:,(?:===?|[<>]=?|!=|~=)\d+(?:\.(?:\d+|\*)){0,2})*$/;

/**
 * @param mirror whether one is named that has other Pythons than the stack's
 * @throws StepFailure `detect.version` that names what can be had
 */
export function requirePython(tree: SourceTree, have: string, mirror: boolean): ChosenPython {
  const wanted = wantedPython(tree);
  // an image that was set: nobody knows before it is there
  if (have === '') return { summary: "the stack's Python", details: [`Python: what the stack's image has${wanted === null ? '' : `; ${wanted.from} asks for ${wanted.text}`}`], fetch: null };
  if (wanted === null) return { summary: `Python ${have}`, details: [`Python ${have}: the stack's; nothing asks for another (.python-version)`], fetch: null };
  if (!pythonFits(wanted.text, have)) {
    const fetch = wanted.text.replaceAll(/\s+/g, '');
    if (mirror && FETCHED.test(fetch)) return { summary: `Python ${wanted.text} (${wanted.from})`, details: [`Python ${wanted.text}: ${wanted.from} asks for it, uv fetches it from where UV_PYTHON_INSTALL_MIRROR says`], fetch };
    throw new StepFailure('detect.version', `${wanted.from} asks for Python ${wanted.text}; this server's stack has ${have}`, `write ${have} into ${wanted.from}, name a mirror that has others (config:set <app> UV_PYTHON_INSTALL_MIRROR=https://github.com/astral-sh/python-build-standalone/releases/download), or bring the Python of your choice with a Dockerfile`);
  }
  const exact = /^\d+\.\d+\.\d+/.test(wanted.text);
  return { summary: `Python ${have} (${wanted.from})`, details: [`Python ${have}: ${wanted.from} says ${wanted.text}${exact ? "; the patch level is the stack's" : ''}`], fetch: null };
}
