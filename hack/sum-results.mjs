// sum-results.mjs FOLDER STATUS: adds up what the suites counted and prints "N passed, N failed", the last line of a test run.
// A suite that ended before it could count, or a step that failed outside of mocha, is a failure too.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder, status] = process.argv.slice(2);
const sum = { passed: 0, failed: 0, skipped: 0 };
for (const file of readdirSync(folder)) {
  const counts = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  for (const key of Object.keys(sum)) sum[key] += counts[key];
}
if (status !== '0' && sum.failed === 0) {
  console.log(`a step outside of the tests failed (exit ${status})`);
  sum.failed = 1;
}
if (sum.passed === 0 && sum.failed === 0) sum.failed = 1;
console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped === 0 ? '' : `, ${sum.skipped} skipped`}`);
process.exitCode = sum.failed === 0 ? 0 : 1;
