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

/** @throws StepFailure `detect.version` that names what can be had */
export function requirePython(tree: SourceTree, have: string): { readonly summary: string; readonly details: string[] } {
  const wanted = wantedPython(tree);
  // an image that was set: nobody knows before it is there
  if (have === '') return { summary: "the stack's Python", details: [`Python: what the stack's image has${wanted === null ? '' : `; ${wanted.from} asks for ${wanted.text}`}`] };
  if (wanted === null) return { summary: `Python ${have}`, details: [`Python ${have}: the stack's; nothing asks for another (.python-version)`] };
  if (!pythonFits(wanted.text, have)) {
    throw new StepFailure('detect.version', `${wanted.from} asks for Python ${wanted.text}; this server's stack has ${have}`, `write ${have} into ${wanted.from}, or bring the Python of your choice with a Dockerfile`);
  }
  const exact = /^\d+\.\d+\.\d+/.test(wanted.text);
  return { summary: `Python ${have} (${wanted.from})`, details: [`Python ${have}: ${wanted.from} says ${wanted.text}${exact ? "; the patch level is the stack's" : ''}`] };
}
