/** The import of `load`; `undefined` if the package is not installed. Rejects if it is broken. */
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
