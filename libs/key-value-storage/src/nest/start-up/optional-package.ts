/** What `load` imports; `undefined` if the package is not installed. A broken package rejects. */
export async function optionalPackage<Api>(load: () => Promise<Api>): Promise<Api | undefined> {
  try {
    return await load();
  } catch (error) {
    const { code } = (typeof error === 'object' && error !== null ? error : {}) as {
      readonly code?: unknown;
    };
    if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}
