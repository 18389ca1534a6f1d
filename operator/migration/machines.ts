import type { Hello } from '../../proto/gen/agent/v1/agent.ts';
import type { Finding } from './findings.ts';

/** What of an agent's greeting tells whether a process can go on beside it. */
export type Machine = Pick<Hello, 'criuVersion' | 'machine' | 'cpuFlags' | 'kernelLacks'>;

/**
 * What Linux lists among the features of a CPU though no program can use it: workarounds, power, clocks, virtualisation, and the
 * kernel's own choices. They change with the kernel's version and its command line.
 * @see arch/x86/include/asm/cpufeatures.h
 */
const ofTheKernel = new RegExp(
  `^(?:${[
    'constant_tsc|nonstop_tsc|tsc_(?:known_freq|reliable|scale|adjust|deadline_timer)|art|arat',
    'arch_perfmon|pebs|bts|dtes64|ds_cpl|perfmon_v2|amd_lbr\\w*|arch_lbr|perfctr_\\w+|ibs|pdcm|mperf|aperfmperf|intel_pt',
    'rep_good|nopl|xtopology|cpuid|cpuid_fault|extd_apicid|x2apic|extapic|amd_dcm|topoext|hypervisor|cmp_legacy|up',
    'ida|pln|pts|dtherm|hwp\\w*|hfi|cppc|cpb|hw_pstate|acpi|tm2?|est|epb|acc_power|proc_feedback',
    'pti|kaiser|ibrs\\w*|ibpb\\w*|stibp\\w*|ssbd|virt_ssbd|amd_\\w+|retpoline\\w*|rsb_ctxsw|md_clear|flush_l1d|arch_capabilities',
    'spec_ctrl|bhi_ctrl|srso\\w*|clear_cpu_buf\\w*|invpcid_single|user_shstk|split_lock_detect|bus_lock_detect|core_capabilities',
    'vmx|svm\\w*|ept\\w*|vpid|vnmi|tpr_shadow|flexpriority|npt|lbrv|nrip_save|vmcb_clean|flushbyasid|decodeassists',
    'pausefilter|pfthreshold|avic|x2avic|v_vmsave_vmload|vgif|v_spec_ctrl|sev\\w*|sme|tdx\\w*|vmmcall|skinit|wdt|osvw|smx',
    'cat_l\\d|cdp_l\\d|cqm\\w*|mba|rdt_a|bmec|smca|overflow_recov|succor|mca|mce|smca|xtpr|dca|debug_swap|zen|lm_\\w+',
  ].join('|')})$`,
);

const partsOf = (version: string): readonly number[] => version.split('.').map(Number);

function isOlder(version: string, than: string): boolean {
  const [a, b] = [partsOf(version), partsOf(than)];
  const at = b.findIndex((part, i) => part !== (a[i] ?? 0));
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
}

/**
 * Why a process of `source` cannot go on at `target`. Nothing tells which features of its CPU a process uses, libraries choose by
 * themselves when they are loaded; so the target must have all of them. What an agent does not tell is no obstacle.
 */
export function differences(source: Machine, target: Machine): readonly Finding[] {
  const found: Finding[] = [];
  if (target.kernelLacks.length > 0) {
    found.push({
      code: 'KERNEL_UNSUPPORTED',
      message: `the kernel of the target's node has no ${target.kernelLacks.join(', ')}`,
    });
  }
  if (target.criuVersion === '') {
    found.push({ code: 'CRIU_UNSUPPORTED', message: "the CRIU of the target's agent cannot be used" });
  } else if (isOlder(target.criuVersion, source.criuVersion)) {
    const message = `CRIU is ${source.criuVersion} in the source's agent and ${target.criuVersion} in the target's`;
    found.push({ code: 'CRIU_OLDER', message });
  }
  const message = cpuDifference(source, target);
  if (message !== undefined) found.push({ code: 'CPU_FEATURES_MISSING', message });
  return found;
}

function cpuDifference(source: Machine, target: Machine): string | undefined {
  if (source.machine !== target.machine) {
    return `the process is of ${source.machine}, the target's node is ${target.machine}`;
  }
  if (source.cpuFlags.length === 0 || target.cpuFlags.length === 0) return undefined;
  const there = new Set(target.cpuFlags);
  const missing = source.cpuFlags.filter((flag) => !there.has(flag) && !ofTheKernel.test(flag));
  return missing.length === 0 ? undefined : `the CPU of the target's node lacks ${missing.join(', ')}`;
}
