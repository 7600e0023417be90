import { describe, expect, it } from 'vitest';
import { choose, failure } from '../../../../test/builders/kit.js';

describe('Procfile buildpack', () => {
  it('the generated Dockerfile', () => { expect(choose({ Procfile: 'web: ./run', run: '' }).plan.dockerfile).toMatchSnapshot(); });
  it('only where there is no language', () => {
    expect(choose({ Procfile: 'web: python3 x.py', 'x.py': '' }).plan.buildpack).toBe('procfile');
    for (const command of ['node x.js', 'bundle exec puma', 'php x', 'java -jar x.jar']) expect(failure({ Procfile: `web: ${command}` }).code).toBe('detect.nothing');
    expect(failure({ Procfile: 'web: gunicorn app:app', 'app.py': '' }).hint).toContain('requirements.txt');
  });
  it('says what is not there', () => {
    expect(choose({ Procfile: 'web: ./run --port $PORT' }).warnings).toEqual(['web starts ./run, which is not in the repository']);
    expect(failure({ Procfile: 'release: x' }).code).toBe('detect.no-process');
  });
});
