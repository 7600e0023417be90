import { describe, expect, it } from 'vitest';
import { planCompose } from './compose.js';

const plan = (text: string) => planCompose(text, 'compose.yaml');

describe('a compose file', () => {
  it('gives process types of one build, and names the services to create', () => {
    const { build, processTypes, notes, services } = plan(`
services:
  app:
    build: .
    command: gunicorn shop.wsgi --bind 0.0.0.0:8000
    ports: ["8080:8000"]
    environment: { DEBUG: "1", DATABASE_URL: postgres://db/shop }
    volumes: [".:/code", "uploads:/data"]
    depends_on: [db]
  worker:
    build: { context: ./, dockerfile: Dockerfile }
    command: ["celery", "-A", "shop", "worker now"]
    deploy: { replicas: 2 }
  db:
    image: postgres:17
    volumes: ["data:/var/lib/postgresql/data"]
  cache: { image: docker.io/library/redis:8-alpine }
  mail: { image: mailhog/mailhog }
volumes: { data: {}, uploads: {} }
`);
    expect(build).toEqual({ context: '', dockerfile: 'Dockerfile', target: null, args: [] });
    expect(processTypes).toEqual({ web: 'gunicorn shop.wsgi --bind 0.0.0.0:8000', worker: "celery -A shop 'worker now'" });
    expect(services).toEqual([{ name: 'db', kind: 'postgres', version: '17' }, { name: 'cache', kind: 'redis', version: '8-alpine' }]);
    expect(notes.join('\n')).toMatch(/app is web: it is the only one with ports/);
    expect(notes.join('\n')).toMatch(/app: environment is not taken: berth config:set <app> DEBUG=… DATABASE_URL=…/);
    expect(notes.join('\n')).toMatch(/app: volumes are not taken/);
    expect(notes.join('\n')).toMatch(/worker: 2 replicas: berth ps:scale <app> worker=2/);
    expect(notes.join('\n')).toMatch(/mail is not taken: .*berth git:from-image/);
    expect(notes.join('\n')).not.toMatch(/postgres:\/\/db/);
  });

  it('says which port web listens on', () => {
    expect(plan('services: { web: { build: ., ports: ["127.0.0.1:80:3000/tcp"] } }').port).toBe(3000);
    expect(plan('services: { web: { build: ., ports: [{ target: 4000, published: 80 }] } }').port).toBe(4000);
    expect(plan('services: { web: { build: ., expose: [9000] } }').port).toBe(9000);
    expect(plan('services: { web: { build: . } }').port).toBeNull();
  });

  it('knows merges, dollars and folders', () => {
    const { build, processTypes } = plan(`
x-app: &app
  build: { context: ./src/app, target: prod, args: { VERSION: "1" } }
services:
  web: { <<: *app, command: "echo $\${HOME}" }
  job: { <<: *app, command: job }
`);
    expect(build).toEqual({ context: 'src/app', dockerfile: 'src/app/Dockerfile', target: 'prod', args: ['VERSION'] });
    expect(processTypes).toEqual({ web: 'echo ${HOME}', job: 'job' });
  });

  it.each([
    ['two builds', 'services: { web: { build: ./web, ports: [80] }, api: { build: ./api, ports: [81] } }', /are built from different folders or stages/],
    ['two with ports', 'services: { a: { build: ., ports: [80] }, b: { build: ., ports: [81] } }', /which of a, b is web/],
    ['none with ports', 'services: { a: { build: . }, b: { build: ., command: x } }', /which of a, b is web/],
    ['nothing to build', 'services: { db: { image: postgres } }', /no service of it is built/],
    ['no services', 'version: "3"', /names no services/],
    ['no YAML', 'services: [', /cannot be read/],
    ['a list', '- a', /names no services/],
    ['a way out', 'services: { web: { build: ../other } }', /outside of the repository/],
    ['an absolute way out', 'services: { web: { build: /srv/app } }', /outside of the repository/],
    ['a remote context', 'services: { web: { build: "https://github.com/x/y.git" } }', /outside of the repository/],
    ['a variable where it is built', 'services: { web: { build: "./${WHERE}" } }', /holds a variable/],
    ['its own entrypoint', 'services: { web: { build: ., entrypoint: /x } }', /entrypoint/],
    ['an included file', 'include: [other.yaml]\nservices: { web: { build: . } }', /include/],
    ['an extended service', 'services: { web: { extends: { file: x }, build: . } }', /extends/],
    ['a name that is none', 'services: { "we b": { build: ., ports: [80] }, x_y: { build: ., command: c } }', /process type/],
    ['a bomb of aliases', `a: &a [1,1,1,1,1,1,1,1,1]\n${'bcdefghijk'.split('').map((l, i) => `${l}: &${l} [${Array(9).fill(`*${'abcdefghijk'[i]}`).join(',')}]`).join('\n')}\nservices: { web: { build: . } }`, /cannot be read/],
  ])('is not taken: %s', (_, text, says) => { expect(() => plan(text)).toThrow(says); });
});
