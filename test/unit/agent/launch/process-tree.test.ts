import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { alreadyStopped, applicationTree } from '../../../../agent/launch/process-tree.ts';
import { PodferryError } from '../../../../proto/errors.ts';

describe('applicationTree', () => {
  let proc: string;

  beforeEach(() => {
    proc = mkdtempSync(join(tmpdir(), 'podferry-proc-'));
    // A parent may have a higher pid than its child once the counter has wrapped.
    add(1, 0, 'S');
    add(5, 1, 'S');
    add(100, 5, 'S');
    add(101, 100, 'T');
    add(50, 101, 'Z');
    add(102, 100, 'S');
    add(6, 1, 'T');
    mkdirSync(join(proc, 'sys'));
    mkdirSync(join(proc, '77')); // ended between the listing and the look
  });
  afterEach(() => rmSync(proc, { recursive: true }));

  function add(pid: number, parentPid: number, state: string): void {
    mkdirSync(join(proc, String(pid)));
    const stat = `${pid} (p${pid}) ${state} ${parentPid} 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 ${pid}00 0 0`;
    writeFileSync(join(proc, String(pid), 'stat'), stat);
  }

  it('holds the root and all that descends from it, parents first, and nobody else', () => {
    const tree = applicationTree(100, proc);
    expect(tree.root.pid).to.equal(100);
    expect(tree.processes.map((process) => process.pid)).to.have.members([100, 101, 102, 50]);
    const order = tree.processes.map((process) => process.pid);
    expect(order.indexOf(50)).to.be.above(order.indexOf(101));
    expect(order[0]).to.equal(100);
  });

  it('tells which processes the application has stopped itself', () => {
    expect(alreadyStopped(applicationTree(100, proc)).map((process) => process.pid)).to.deep.equal([101]);
  });

  it('fails when there is no root', () => {
    expect(() => applicationTree(7, proc))
      .to.throw(PodferryError)
      .with.property('code', 'APP_NOT_RUNNING');
  });
});
