import winston from 'winston';

export type Log = winston.Logger;

/** One JSON object per line on stderr: constant `message`, fields beside it. Levels: error = a person must act, warn = we coped. */
export function createLog(component: string, level = 'info'): Log {
  return winston.createLogger({
    level,
    defaultMeta: { component },
    format: winston.format.combine(winston.format.timestamp(), winston.format.json()),
    transports: [new winston.transports.Console({ stderrLevels: ['error', 'warn', 'info', 'debug'] })],
  });
}

/** The fields an error is logged with; never its cause's payload. */
export function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: String(error) };
  const code = 'code' in error ? error.code : undefined;
  const cause = error.cause instanceof Error ? error.cause.message : undefined;
  return { error: error.message, ...(code === undefined ? {} : { code }), ...(cause === undefined ? {} : { cause }) };
}
