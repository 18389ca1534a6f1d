import { parseArgs } from 'node:util';
import { check } from '../../test/unit/operator/model/check.ts';
import { mutants, real } from '../../test/unit/operator/model/mutants.ts';
import type { Rules } from '../../test/unit/operator/model/progress.ts';
import { leftovers, type Bounds } from '../../test/unit/operator/model/reduce.ts';

const { values } = parseArgs({
  options: {
    faults: { type: 'string', default: '2' },
    moves: { type: 'string', default: '1' },
    reports: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    'max-states': { type: 'string', default: '2000000' },
    'two-leaders': { type: 'boolean', default: false },
    'second-try': { type: 'boolean', default: false },
    mutants: { type: 'boolean', default: false },
  },
});

const bounds: Bounds = {
  faults: Number(values.faults),
  only: values.only,
  moves: Number(values.moves),
  reports: Number(values.reports),
  leftovers: values['second-try'] ? leftovers : [],
  isLedByTwo: values['two-leaders'],
  oldLooks: 1,
  maxStates: Number(values['max-states']),
};

/** @returns whether a promise was broken */
function run(rules: Rules, within: Bounds): boolean {
  const begun = process.cpuUsage();
  const { explored, problem } = check(rules, within);
  const { user, system } = process.cpuUsage(begun);
  const { states, transitions, depth, isComplete } = explored;
  console.log(`bounds       ${JSON.stringify(within)}`);
  console.log(`states       ${states}${isComplete || problem !== undefined ? '' : ' (there are more)'}`);
  console.log(`transitions  ${transitions}\ndepth        ${depth}`);
  console.log(`cpu          ${((user + system) / 1e6).toFixed(1)} s`);
  if (problem === undefined)
    console.log(isComplete ? 'no promise is broken, every Migration ends' : 'no promise is broken so far');
  else console.log(`BROKEN: ${problem.promise}\n${problem.trace.map((line) => `  ${line}`).join('\n')}`);
  return problem !== undefined;
}

if (values.mutants) {
  const small: Bounds = { ...bounds, faults: 0, moves: 1, reports: 1, leftovers: [], isLedByTwo: false };
  for (const mutant of mutants) {
    console.log(`\nmutant       ${mutant.name}`);
    if (!run(mutant.rules, { ...small, ...mutant.bounds })) process.exitCode = 1;
  }
} else if (run(real, bounds)) process.exitCode = 1;
