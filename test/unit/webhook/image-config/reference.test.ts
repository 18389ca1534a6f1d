import { expect } from 'chai';
import { nameOf, parseReference } from '../../../../webhook/image-config/reference.ts';
import { isPodferryError } from '../support/errors.ts';

const digest = `sha256:${'0a'.repeat(32)}`;

describe('webhook/image-config/reference', () => {
  const sound: readonly (readonly [string, string])[] = [
    ['redis', 'docker.io/library/redis:latest'],
    ['redis:8', 'docker.io/library/redis:8'],
    ['library/redis', 'docker.io/library/redis:latest'],
    ['shop/web:1.2-rc_3', 'docker.io/shop/web:1.2-rc_3'],
    ['docker.io/redis', 'docker.io/library/redis:latest'],
    ['index.docker.io/redis', 'docker.io/library/redis:latest'],
    ['localhost/web', 'localhost/web:latest'],
    ['localhost:5000/web:2', 'localhost:5000/web:2'],
    ['registry.shop/a/b/c', 'registry.shop/a/b/c:latest'],
    ['registry:5000/web', 'registry:5000/web:latest'],
    ['Registry/web', 'Registry/web:latest'],
    ['[::1]:5000/web', '[::1]:5000/web:latest'],
    [`registry.shop/web@${digest}`, `registry.shop/web@${digest}`],
    [`web:1@${digest}`, `docker.io/library/web@${digest}`],
    ['a/b__c/d.e-f', 'docker.io/a/b__c/d.e-f:latest'],
  ];
  for (const [image, name] of sound) {
    it(`takes ${image} for ${name}`, () => expect(nameOf(parseReference(image))).to.equal(name));
  }

  const odd = [
    '',
    ' ',
    'UPPER',
    'a//b',
    '/a',
    'a/',
    'a:',
    'a:b:c',
    'a@',
    'a@sha256:1',
    'a b',
    'a/../b',
    'http://a/b',
    'a?b',
    'registry.shop:99999999/a',
    `a:${'1'.repeat(129)}`,
    `a/${'b'.repeat(600)}`,
  ];
  for (const image of odd) {
    it(`refuses ${JSON.stringify(image.slice(0, 30))}`, () => {
      expect(() => parseReference(image))
        .to.throw()
        .that.satisfies(isPodferryError('IMAGE_INVALID'));
    });
  }
});
