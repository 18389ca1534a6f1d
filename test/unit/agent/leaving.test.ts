import { expect } from 'chai';
import type { RestartPolicy } from '../../../agent/config.ts';
import type { Role } from '../../../agent/journal.ts';
import type { End } from '../../../agent/launch/last-word.ts';
import { createLeaving } from '../../../agent/leaving.ts';

const placeholder = { pid: 7, startTime: '1' };
const next = { pid: 9, startTime: '2' };

describe('the agent of a pod that is to complete leaves with its application (peer fault 12)', () => {
  function leaving(policy: RestartPolicy | undefined, end: End | undefined) {
    const clock = { ms: 0, open: 0 };
    const made = createLeaving(
      policy,
      () => clock.ms,
      () => {
        if (end === undefined) return undefined;
        clock.open += 1;
        return { read: () => end, close: () => void (clock.open -= 1) };
      },
    );
    const isDue = (role: Role = 'serving', isKnown = true) =>
      made.isDue({ role, placeholder: isKnown ? placeholder : undefined });
    return { ...made, clock, isDue };
  }

  const cases: readonly {
    readonly policy: RestartPolicy | undefined;
    readonly end: End;
    readonly leaves: boolean;
  }[] = [
    { policy: undefined, end: { exitCode: 0 }, leaves: false },
    { policy: 'Never', end: { exitCode: 0 }, leaves: true },
    { policy: 'Never', end: { exitCode: 3 }, leaves: true },
    { policy: 'Never', end: 'killed', leaves: true },
    { policy: 'OnFailure', end: { exitCode: 0 }, leaves: true },
    { policy: 'OnFailure', end: { exitCode: 1 }, leaves: false },
    { policy: 'OnFailure', end: 'killed', leaves: false },
    { policy: 'OnFailure', end: 'running', leaves: false },
  ];
  for (const { policy, end, leaves } of cases) {
    it(`${policy ?? 'Always'}, ${typeof end === 'object' ? `exit code ${end.exitCode}` : end}: ${leaves ? 'leaves' : 'stays'}`, () => {
      const one = leaving(policy, end);
      one.see(placeholder);
      expect(one.isDue()).to.equal(false);
      one.see(undefined);
      one.see(undefined);
      expect(one.isDue()).to.equal(leaves);
    });
  }

  it('stays for a container that has not come yet', () => {
    const one = leaving('Never', 'killed');
    one.see(undefined);
    expect(one.isDue('serving', false)).to.equal(false);
  });

  for (const role of ['waiting', 'frozen', 'restored', 'moved'] as const) {
    it(`stays while the application is ${role}: the move decides`, () => {
      const one = leaving('Never', { exitCode: 0 });
      one.see(placeholder);
      one.see(undefined);
      expect(one.isDue(role)).to.equal(false);
    });
  }

  it('stays when the container is started again, and follows that one', () => {
    const one = leaving('OnFailure', { exitCode: 0 });
    one.see(placeholder);
    one.see(undefined);
    one.see(next);
    expect(one.isDue()).to.equal(false);
    expect(one.clock.open).to.equal(1);
    one.close();
    expect(one.clock.open).to.equal(0);
  });

  it('without a word, since it was not there, waits as long as the kubelet may take to start a failed one again', () => {
    const one = leaving('OnFailure', undefined);
    one.see(placeholder);
    one.see(undefined);
    one.clock.ms = 300_000;
    expect(one.isDue()).to.equal(false);
    one.clock.ms = 400_000;
    expect(one.isDue()).to.equal(true);
  });
});
