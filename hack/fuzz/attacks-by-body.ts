import { annotations } from '../../proto/names.ts';
import { type Attack, answeredOrRefused, good, mutated, number, pick, refused, send } from './attack.ts';
import { goodReview } from './sample.ts';
import { request } from './wire.ts';

function nested(depth: number, open: string, close: string): string {
  return open.repeat(depth) + close.repeat(depth);
}

/** Requests that are none but for their body. */
export const attacksByBody: Readonly<Record<string, Attack>> = {
  'mutated JSON': { run: (target, random) => send(target, request(mutated(random))), allows: answeredOrRefused },
  'no JSON': {
    run: (target, random) =>
      send(target, request(pick(random, ['', '{', 'null', '[]', '"x"', '1e999', 'NaN', '\u0000', '{}{}']))),
    allows: refused,
  },
  'deeply nested body': {
    run: (target, random) => {
      const depth = number(random, 1000, 200_000);
      const [open, close] = pick(random, [
        ['[', ']'],
        ['{"a":', '}'],
      ] as const);
      return send(
        target,
        request(open === '[' ? nested(depth, open, close) : `${open.repeat(depth)}1${close.repeat(depth)}`),
      );
    },
    allows: refused,
  },
  'deeply nested object': {
    run: (target, random) => {
      const depth = number(random, 1000, 100_000);
      const place = pick(random, [
        '"containers":[',
        '"image":"i"',
        '"command":[',
        '"operation":"CREATE"',
        '"metadata":{}',
      ] as const);
      const value = nested(depth, '[', ']');
      const text = good().replace(place, (found) => `"future":${value},${found}`);
      return send(
        target,
        request(text.replace('"oldObject":null', random() < 0.5 ? '"oldObject":null' : `"oldObject":${value}`)),
      );
    },
    allows: answeredOrRefused,
  },
  'a list in place of a value': {
    run: (target, random) => {
      const list = JSON.stringify(
        Array.from({ length: number(random, 1, 50_000) }, (_, index) => ({ name: String(index) })),
      );
      const place = pick(random, ['"/app"', '"i"', '"web"', '{}'] as const);
      return send(target, request(good().replace(place, list)));
    },
    allows: answeredOrRefused,
  },
  'another version': {
    run: (target, random) => {
      const version = pick(random, ['admission.k8s.io/v1beta1', 'admission.k8s.io/v2', 'v1', '']);
      return send(target, request(good().replace('admission.k8s.io/v1', version)));
    },
    allows: refused,
  },
  'invalid UTF-8': {
    run: (target, random) => {
      const bytes = Buffer.from(good().replace('/app', '\u0001\u0001\u0001\u0001'), 'latin1');
      const odd = pick<readonly number[]>(random, [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]]);
      for (const [index, byte] of odd.entries()) bytes[bytes.indexOf(1) + index] = byte;
      return send(target, request(Buffer.from(bytes.map((byte) => (byte === 1 ? 0x78 : byte)))));
    },
    allows: answeredOrRefused,
  },
  'double keys': {
    run: (target, random) => {
      const text = good();
      const double = pick(random, [
        '"uid":7,',
        '"request":null,',
        '"object":[],',
        '"kind":"x",',
        '"command":"x",',
      ] as const);
      const [key = ''] = double.split(':');
      return send(
        target,
        request(
          random() < 0.5 ? text.replace(`${key}:`, `${double}${key}:`) : text.replace(/}$/, `,${double.slice(0, -1)}}`),
        ),
      );
    },
    allows: answeredOrRefused,
  },
  'prototype keys': {
    run: (target, random) => {
      const poison = pick(random, [
        '"__proto__":{"polluted":1},',
        '"constructor":{"prototype":{"polluted":1}},',
        '"toString":null,',
        '"hasOwnProperty":1,',
      ] as const);
      const place = pick(random, [
        '"request":{',
        '"metadata":{',
        '"annotations":{',
        '"spec":{',
        '"kind":{',
        '{"name":"app"',
      ] as const);
      const text = good().replace(place, (found) =>
        found.endsWith('{') ? found + poison : `{${poison}${found.slice(1)}`,
      );
      return send(target, request(text.replaceAll(',}', '}')));
    },
    allows: answeredOrRefused,
  },
  'odd annotations': {
    run: (target, random) => {
      const name = pick(random, [
        annotations.original,
        annotations.injected,
        annotations.container,
        annotations.enabled,
        'migration.io/x',
      ] as const);
      const value = pick(random, [
        '{',
        '[]',
        'null',
        '{"container":1}',
        `{"container":"app","created":[${'"a",'.repeat(1000)}"b"]}`,
        'x'.repeat(300_000),
      ] as const);
      const text = good().replace(
        '"metadata":{},"spec"',
        `"metadata":{"annotations":${JSON.stringify({ [name]: value })}},"spec"`,
      );
      return send(target, request(text));
    },
    allows: answeredOrRefused,
  },
  'many annotations': {
    run: (target, random) => {
      const prefix = pick(random, ['migration.io/', 'example.com/', 'migration.io/enable'] as const);
      const names = Array.from({ length: number(random, 1, 20_000) }, (_, index) => [`${prefix}${index}`, 'x']);
      const text = JSON.stringify({ annotations: Object.fromEntries(names) });
      return send(target, request(good().replace('"metadata":{},"spec"', `"metadata":${text},"spec"`)));
    },
    allows: answeredOrRefused,
  },
  'many volumes': {
    run: (target, random) => {
      const volumes = Array.from({ length: number(random, 1, 50_000) }, (_, index) => ({
        name: `v${index}`,
        emptyDir: {},
      }));
      return send(target, request(JSON.stringify(goodReview('fuzz', { volumes }))));
    },
    allows: answeredOrRefused,
  },
};
