import { expect } from 'chai';
import { criuSafeArgs, inAgentNamespace, inAppNamespace, programs } from '../../../../agent/launch/app-namespace.ts';

const agentRoot = '/proc/3/root';

describe('a program in the namespaces of the application', () => {
  const command = inAppNamespace({ placeholderPid: 2, agentRoot, program: programs.tar, args: ['--version'] });

  it('is entered and executed with the loader of the agent alone', () => {
    const loader = `${agentRoot}/usr/lib/podferry/loader`;
    const libraries = `${agentRoot}/usr/lib/podferry/lib`;
    expect(command.file).to.equal(loader);
    expect(command.args).to.deep.equal([
      '--library-path',
      libraries,
      `${agentRoot}/usr/bin/nsenter`,
      '--target',
      '2',
      '--mount',
      '--ipc',
      '--uts',
      '--wdns=/',
      '--',
      loader,
      '--library-path',
      libraries,
      `${agentRoot}/usr/bin/tar`,
      '--version',
    ]);
  });

  it('has an environment in which nothing can be found', () => {
    expect(command.env).to.deep.equal({ PATH: '/proc/none', LC_ALL: 'C' });
  });

  it('tells criu where it keeps what it knows of the kernel', () => {
    const criu = { agentRoot, program: programs.criu, args: ['check'] };
    const env = { ...command.env, PODFERRY_CRIU_CACHE: `${agentRoot}/work/criu.kdat` };
    expect(inAppNamespace({ placeholderPid: 2, ...criu }).env).to.deep.equal(env);
    expect(inAgentNamespace(criu).env).to.deep.equal(env);
  });

  it('gets a preload into criu, not into nsenter', () => {
    const preload = '/usr/lib/podferry/limits-shim.so';
    const { args } = inAppNamespace({ placeholderPid: 2, agentRoot, program: programs.criu, args: ['check'], preload });
    expect(args.filter((word) => word === '--preload')).to.have.length(1);
    const ours = ['criu-tmp.so', 'criu-leave.so', 'criu-undo.so'].map(
      (name) => `${agentRoot}/usr/lib/podferry/${name}`,
    );
    expect(args[args.indexOf('--preload') + 1]).to.equal([...ours, `${agentRoot}${preload}`].join(' '));
    expect(args.indexOf('--preload')).to.be.above(args.indexOf('--wdns=/'));
  });

  it('is the same without entering, beside the agent', () => {
    const beside = inAgentNamespace({ agentRoot, program: programs.tar, args: ['--version'] });
    expect([beside.file, ...beside.args]).to.deep.equal(command.args.slice(command.args.indexOf('--') + 1));
  });

  it('is criu without configuration and plugins of the application', () => {
    expect(criuSafeArgs(agentRoot)).to.deep.equal([
      '--no-default-config',
      '--libdir',
      `${agentRoot}/usr/lib/podferry/no-plugins`,
    ]);
  });
});
