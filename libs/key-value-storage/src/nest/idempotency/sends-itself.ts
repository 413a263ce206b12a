import type { ExecutionContext } from '@nestjs/common';

/** `RouteParamtypes` of Nest, in the keys of the metadata: `1:0` is `@Res()` as first parameter. */
const ownResponse = /^[12]:/;

/**
 * Whether the handler sends its response: it has `@Res()` or `@Next()` without `passthrough`. Then
 * Nest sends nothing when the handler has ended, except for `@Render()`, `@Redirect()` with an
 * address and `@Sse()`. The names of the metadata are the same from Nest 11.0 to 12.
 */
export function sendsItself(context: ExecutionContext): boolean {
  const handler: object = context.getHandler();
  if (Reflect.hasMetadata('__renderTemplate__', handler) || Reflect.getMetadata('__sse__', handler) === true)
    return false;
  const redirect = Reflect.getMetadata('__redirect__', handler) as { readonly url?: unknown } | undefined;
  if (typeof redirect?.url === 'string' && redirect.url !== '') return false;
  const controller = context.getClass();
  return namesOf(handler, controller.prototype as object).some(
    (name) =>
      Object.keys((Reflect.getMetadata('__routeArguments__', controller, name) ?? {}) as object).some((key) =>
        ownResponse.test(key),
      ) && Reflect.getMetadata('__responsePassthrough__', controller, name) !== true,
  );
}

/** The methods that are this handler. The function of a decorator may have another name. */
function namesOf(handler: object, prototype: object): readonly string[] {
  const names: string[] = [];
  for (let at: object | null = prototype; at !== null; at = Object.getPrototypeOf(at) as object | null)
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at)))
      if (value === handler) names.push(name);
  return names;
}
