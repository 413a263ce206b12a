/** Commits one batch, with a version of its own. */
import { versionSource, type Batch, type StorageProvider } from '@kvent/key-value-storage/internal/rows';

type Result =
  | { readonly outcome: 'committed'; readonly version: string }
  | { readonly outcome: 'conflict'; readonly actual: string | undefined };

/** Throws the error of a batch that failed. */
export async function commitBatch(
  provider: StorageProvider,
  database: string,
  { checks, changes }: Pick<Batch, 'checks' | 'changes'>,
  signal: AbortSignal,
): Promise<Result> {
  const version = versionSource()();
  const [result] = await provider.commit([{ database, version, checks, changes }], { signal });
  if (result?.outcome === 'committed') return { outcome: 'committed', version };
  if (result?.outcome === 'failed') throw result.error;
  return { outcome: 'conflict', actual: result?.outcome === 'conflict' ? result.actual : undefined };
}
