/** Whether a path fits one of the patterns: `*` any name or part of one, `**` any folders, `?` one character. */
export function fitsOne(patterns: readonly string[]): (path: string) => boolean {
  const forms = patterns.map((pattern) => new RegExp(`^${pattern.replace(/^\.\//, '').replaceAll(/\*\*\/|\*\*|\*|\?|[^*?]+/g, (part) => ({ '**/': '(?:[^/]+/)*', '**': '.*', '*': '[^/]*', '?': '[^/]' })[part] ?? part.replaceAll(/[\\^$.|+()[\]{}]/g, '\\$&'))}$`));
  return (path) => forms.some((form) => form.test(path));
}
