/** Who may import whom: the rooms of docs/architecture.md as rules. */
const PORTS = '\\.port\\.ts$';
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'events-know-nobody', severity: 'error', from: { path: '^src/events/' }, to: { path: '^src/', pathNot: '^src/events/' } },
    {
      name: 'pure-core', comment: 'deciders, projections and plans see events and their own kind, and do no I/O', severity: 'error',
      from: { path: '\\.(decider|projection|plan|state|work)\\.ts$|(step-input|edit-input)\\.ts$', pathNot: '\\.spec\\.ts$' },
      to: { pathNot: ['^src/events/(?!sqlite|postgres|open-store|signal|repository|seal\\.)', '\\.(decider|projection|plan|state|port)\\.ts$', '(step-input|edit-input)\\.ts$', '^crypto$', '^net$'], dependencyTypesNot: ['type-only'] },
    },
    { name: 'nobody-imports-a-worker', severity: 'error', from: { pathNot: '^src/workers/' }, to: { path: '^src/workers/' } },
    {
      name: 'workers-do-not-import-each-other', comment: 'the build worker needs the stack that detect plans for', severity: 'error',
      from: { path: '^src/workers/([^/]+)/', pathNot: '^src/workers/build/main\\.ts$' }, to: { path: '^src/workers/([^/]+)/', pathNot: '^src/workers/$1/' },
    },
    { name: 'drivers-know-no-module', severity: 'error', from: { path: '^src/drivers/', pathNot: '^src/drivers/stack/' }, to: { path: '^src/(modules|workers|plugins|cli)/' } },
    { name: 'plugins-see-ports', severity: 'error', from: { path: '^src/plugins/' }, to: { path: ['^src/(modules|workers|cli)/', '^src/drivers/'], pathNot: PORTS } },
    { name: 'cli-speaks-to-the-socket', severity: 'error', from: { path: '^src/cli/' }, to: { path: '^src/', pathNot: '^src/cli/' } },
    { name: 'modules-take-the-protocol-only', severity: 'error', from: { path: '^src/modules/' }, to: { path: '^src/cli/', pathNot: '^src/cli/protocol\\.ts$' } },
    { name: 'only-drivers-touch-docker-and-git', severity: 'error', from: { path: '^src/', pathNot: '^src/(drivers/|workers/build/main\\.ts)' }, to: { path: 'node_modules/(dockerode|simple-git|ioredis|bullmq)/', dependencyTypesNot: ['type-only'] } },
    { name: 'no-orphans', severity: 'error', from: { orphan: true, path: '^src/', pathNot: ['\\.spec\\.ts$', 'main\\.ts$', '\\.golden\\.'] }, to: {} },
  ],
  options: { tsConfig: { fileName: 'tsconfig.json' }, tsPreCompilationDeps: true, doNotFollow: { path: 'node_modules' }, exclude: { path: '\\.spec\\.ts$' } },
};
