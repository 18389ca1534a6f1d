import { moments, shapes, buildTools, Victim, type Shape, type Tools } from './victim.ts';
import { Rig, whyNot } from './rig.ts';

/** hack/criu-kills.sh goes through all calls. */
const every = 19;
const seed = 5;

describe('a dump whose CRIU is killed', function () {
  this.timeout(120_000);
  let rig: Rig | undefined;
  let tools: Tools;

  before(async function () {
    const reason = process.arch === 'x64' ? whyNot() : 'kills are undone on x86-64 only';
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
    rig = await Rig.make();
    tools = await buildTools(rig);
  });
  after(async () => rig?.close());

  for (const shape of Object.keys(shapes) as Shape[])
    it(`leaves a program of the shape ${shape} going on where it was, and able to move`, async () => {
      if (rig === undefined) throw new Error('not set up');
      const victim = await Victim.start(rig, tools, shape);
      const calls = await victim.calls();
      for (let call = 1 + (seed % every), turn = 0; call <= calls; call += every, turn++)
        await victim.strike(call, moments[turn % moments.length] ?? 'after');
      await victim.move();
      await victim.end();
    });
});
