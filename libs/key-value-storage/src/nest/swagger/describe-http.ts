/**
 * Describes the parts for HTTP in the metadata that `@nestjs/swagger` reads. The names of the
 * metadata are the same from version 11.0 to 12; the package itself is not needed.
 */
import type { INestApplicationContext, Type } from '@nestjs/common';
import { MetadataScanner, ModulesContainer } from '@nestjs/core';
import { assertOptions } from '../../core/base/options.js';
import { tenancyToken, type TenancyOptions } from '../options/key-value-storage-options.js';
import { RetryOnConflictInterceptor } from '../retry/retry-on-conflict.interceptor.js';
import { tenantHeaderOf } from '../tenancy/tenant-resolution.js';
import { TenantGuard } from '../tenancy/tenant.guard.js';
import { TenantInterceptor } from '../tenancy/tenant.interceptor.js';
import { EtagInterceptor } from '../http/etag.interceptor.js';
import { IdempotencyInterceptor } from '../idempotency/idempotency.interceptor.js';
import { idempotencyKeyFactory, type IdempotencyKeyOptions } from '../http/idempotency-key.decorator.js';
import { ifMatchFactory, type IfMatchOptions } from '../http/if-match.decorator.js';
import { pagedFactory } from '../http/paged.decorator.js';
import { httpDescription, type HttpDescription } from './http-description.js';

export interface DescribeHttpOptions {
  /**
   * Whether TenantMiddleware runs before the routes of a controller. TenantGuard and
   * TenantInterceptor of a controller or a method are found without it.
   * @default no controller
   */
  readonly isOfTenant?: (controller: Type) => boolean;
}

/** What a route adds to the document. */
interface Description {
  readonly parameters: Parameter[];
  readonly responses: Record<string, ResponseObject>;
}
interface Parameter {
  readonly in: 'header' | 'query';
  readonly name: string;
  readonly required: boolean;
  readonly description: string;
  readonly schema: object;
}
interface ResponseObject {
  readonly description?: string;
  readonly headers?: Readonly<Record<string, object>>;
  readonly content?: object;
  readonly [field: string]: unknown;
}
type Method = (...args: never[]) => unknown;
interface Route {
  readonly controller: Type;
  readonly name: string;
  readonly method: Method;
}

const text = { type: 'string' };
const header = (description: string): object => ({ description, schema: text });
const retryAfter = { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } };

const problem = {
  'application/problem+json': {
    schema: {
      type: 'object',
      description: 'Problem details (RFC 9457).',
      required: ['type', 'title', 'status'],
      properties: {
        type: text,
        title: text,
        status: { type: 'integer' },
        detail: text,
        instance: text,
        code: { type: 'string', description: 'Stable, for programs.' },
        retryable: { type: 'boolean' },
      },
    },
  },
};

/**
 * Describes the headers, query parameters and problems of `@IfMatch`, `@IdempotencyKey`, `@Paged`,
 * `EtagInterceptor`, `IdempotencyInterceptor`, `RetryOnConflictInterceptor` and the tenant, for
 * `@nestjs/swagger` from version 11 on. Call it before `SwaggerModule.createDocument`. What your
 * own decorators say is kept; every error response without a content gets the schema of problem
 * details. Interceptors and guards are found on controllers and methods.
 */
export function describeHttp(app: INestApplicationContext, options: DescribeHttpOptions = {}): void {
  assertOptions('describeHttp', options, ['isOfTenant']);
  const tenancy = app.get<TenancyOptions | null>(tenancyToken, { strict: false });
  const routes = routesOf(app);
  for (const controller of new Set(routes.map((route) => route.controller))) describeErrorsOf(controller);
  for (const route of routes) {
    const added: Description = { parameters: [], responses: {} };
    describeParameters(route, added);
    describeEnhancers(route, added);
    if (options.isOfTenant?.(route.controller) === true || hasTenantParts(route))
      describeTenant(tenancy, added);
    write(route, added);
  }
}

function routesOf(app: INestApplicationContext): readonly Route[] {
  const scanner = new MetadataScanner();
  return [...app.get(ModulesContainer).values()].flatMap(({ controllers }) =>
    [...controllers.values()].flatMap(({ metatype }) => {
      const controller = metatype as Type;
      const prototype = controller.prototype as Record<string, Method>;
      return scanner
        .getAllMethodNames(prototype)
        .map((name) => ({ controller, name, method: prototype[name] as Method }))
        .filter(({ method }) => Reflect.hasMetadata('path', method));
    }),
  );
}

/** The error responses that decorators of the class describe. */
function describeErrorsOf(controller: Type): void {
  const own = Reflect.getOwnMetadata(responsesKey, controller) as Record<string, ResponseObject> | undefined;
  if (own !== undefined) Reflect.defineMetadata(responsesKey, mergeResponses(own, {}), controller);
}

interface RouteArgument {
  readonly factory?: unknown;
  readonly data?: unknown;
}

function optionsOf<O>({ controller, name }: Route, factory: unknown): O | undefined {
  const args = (Reflect.getMetadata('__routeArguments__', controller, name) ?? {}) as Record<
    string,
    RouteArgument
  >;
  const found = Object.values(args).find((argument) => argument.factory === factory);
  return found === undefined ? undefined : ((found.data ?? {}) as O);
}

function describeParameters(route: Route, { parameters, responses }: Description): void {
  const ifMatch = optionsOf<IfMatchOptions>(route, ifMatchFactory);
  if (ifMatch !== undefined) describeIfMatch(ifMatch, { parameters, responses });
  const key = optionsOf<IdempotencyKeyOptions>(route, idempotencyKeyFactory);
  const interceptor = enhancerOf(route, IdempotencyInterceptor) as typeof IdempotencyInterceptor | undefined;
  if (interceptor !== undefined)
    add(responses, 409, '`IDEMPOTENCY_IN_PROGRESS`; `IDEMPOTENCY_RESPONSE_TOO_LARGE`', retryAfter);
  if (key !== undefined || interceptor !== undefined) {
    const required = (key !== undefined && (key.required ?? true)) || interceptor?.required === true;
    parameters.push(parameter('header', 'Idempotency-Key', required, 'The same value in every repeat.'));
    if (required) add(responses, 400, '`IDEMPOTENCY_KEY_REQUIRED`');
    add(responses, 422, '`IDEMPOTENCY_CONFLICT`: the key was used for another request.');
  }
  if (optionsOf(route, pagedFactory) === undefined) return;
  parameters.push(
    parameter('query', 'limit', false, 'The maximum number of items. Default: 100.', { type: 'integer' }),
    parameter('query', 'cursor', false, 'The `next` or `previous` of another page.'),
    parameter('query', 'order', false, 'The order of the keys.', { ...text, enum: ['asc', 'desc'] }),
  );
  add(responses, 400, '`OUT_OF_RANGE`; `INVALID_CURSOR`');
  add(responses, 413, '`LIMIT_EXCEEDED`');
  const link = {
    Link: header(
      'The next and the previous page, while there is one: `<?cursor=…>; rel="next"`, `rel="prev"`.',
    ),
  };
  add(responses, statusOf(route), '', link);
}

function describeIfMatch(
  { required = true, create = false }: IfMatchOptions,
  { parameters, responses }: Description,
): void {
  const description = 'The ETag that was read, or * for any.';
  parameters.push(parameter('header', 'If-Match', required && !create, description));
  const ifAbsent = create ? '* creates.' : '* for none: it must not exist.';
  if (create || !required) parameters.push(parameter('header', 'If-None-Match', false, ifAbsent));
  add(responses, 400, '`INVALID_ETAG`');
  add(responses, 412, '`STORAGE_CONFLICT`, `STREAM_VERSION_MISMATCH`: it was changed or deleted.');
  if (required) add(responses, 428, '`PRECONDITION_REQUIRED`: If-Match is missing.');
  if (create) add(responses, 201, 'Created');
}

function describeEnhancers(route: Route, { parameters, responses }: Description): void {
  if (has(route, EtagInterceptor) && optionsOf(route, pagedFactory) === undefined) {
    const etag = { ETag: header('The version.') };
    add(responses, statusOf(route), '', etag);
    if (responses['201'] !== undefined) add(responses, 201, '', etag);
    if (isRead(route)) {
      parameters.push(parameter('header', 'If-None-Match', false, 'The ETag that the client has.'));
      add(responses, 304, 'Not modified');
    }
  }
  if (has(route, RetryOnConflictInterceptor))
    add(responses, 409, '`STORAGE_CONFLICT` after the last attempt.', retryAfter);
  for (const { [httpDescription]: own } of enhancersOf(route).filter(isDescribed)) {
    for (const [name, description] of Object.entries(own.requestHeaders ?? {}))
      parameters.push(parameter('header', name, false, description));
    for (const [status, description] of Object.entries(own.problems ?? {}))
      add(responses, Number(status), description);
    if (!isRead(route))
      for (const [name, description] of Object.entries(own.headersOfWrites ?? {}))
        add(responses, statusOf(route), '', { [name]: header(description) });
  }
}

const isDescribed = (enhancer: unknown): enhancer is { readonly [httpDescription]: HttpDescription } =>
  typeof enhancer === 'function' && httpDescription in enhancer;

const hasTenantParts = (route: Route): boolean => has(route, TenantInterceptor) || has(route, TenantGuard);

function describeTenant(tenancy: TenancyOptions | null, { parameters, responses }: Description): void {
  if (tenancy === null) return;
  if (tenancy.resolve === undefined)
    parameters.push(parameter('header', headerNameOf(tenancy), true, 'The tenant.'));
  add(responses, 400, '`TENANT_MISSING`');
  if (tenancy.mayEnter !== undefined) add(responses, 403, '`TENANT_FORBIDDEN`');
  if (tenancy.isKnown !== undefined) add(responses, 404, '`TENANT_UNKNOWN`');
}

/** `x-tenant-id` as `X-Tenant-Id`, as it is written everywhere. */
const headerNameOf = (tenancy: TenancyOptions): string =>
  tenantHeaderOf(tenancy).replace(/(^|-)[a-z]/g, (begin) => begin.toUpperCase());

type Kind = abstract new (...args: never[]) => unknown;

const has = (route: Route, kind: Kind): boolean => enhancerOf(route, kind) !== undefined;

/**
 * A class, or one that extends it, if it is among the interceptors or guards of a route: the one
 * nearest to the handler.
 */
function enhancerOf(route: Route, kind: Kind): unknown {
  const classes = enhancersOf(route).map((each): unknown =>
    each instanceof kind ? (each as object).constructor : each,
  );
  return classes.findLast(
    (each) => typeof each === 'function' && (each === kind || each.prototype instanceof kind),
  );
}

/** The interceptors and guards of a route: classes and instances. */
const enhancersOf = ({ controller, method }: Route): readonly unknown[] =>
  ['__interceptors__', '__guards__'].flatMap((key) =>
    [controller, method].flatMap((target) => (Reflect.getMetadata(key, target) ?? []) as unknown[]),
  );

/** `RequestMethod.GET` */
const isRead = ({ method }: Route): boolean => Reflect.getMetadata('method', method) === 0;

/** The status of a success; as in Nest, 201 for POST (`RequestMethod.POST`). */
function statusOf({ method }: Route): number {
  const own = Reflect.getMetadata('__httpCode__', method) as number | undefined;
  return own ?? (Reflect.getMetadata('method', method) === 1 ? 201 : 200);
}

const parameter = (
  where: Parameter['in'],
  name: string,
  required: boolean,
  description: string,
  schema: object = text,
): Parameter => ({ in: where, name, required, description, schema });

function add(
  responses: Record<string, ResponseObject>,
  status: number,
  description: string,
  headers?: ResponseObject['headers'],
): void {
  const before = responses[status];
  const descriptions = [before?.description ?? '', description].filter((each) => each !== '');
  responses[status] = {
    description: descriptions.join('; '),
    ...((before?.headers ?? headers) && { headers: { ...before?.headers, ...headers } }),
  };
}

const parametersKey = 'swagger/apiParameters';
const responsesKey = 'swagger/apiResponse';

/** Merges the description into the metadata of the method; what is there has precedence. */
function write(route: Route, { parameters, responses }: Description): void {
  const { method } = route;
  const ownParameters = (Reflect.getMetadata(parametersKey, method) ?? []) as readonly Parameter[];
  const names = new Set([...ownParameters, ...classHeadersOf(route)].map(identityOf));
  const missing = parameters.filter((each) => !names.has(identityOf(each)));
  const all = [...ownParameters, ...missing];
  if (all.length > 0) Reflect.defineMetadata(parametersKey, all, method);
  const own = (Reflect.getMetadata(responsesKey, method) ?? {}) as Readonly<Record<string, ResponseObject>>;
  const merged = mergeResponses(own, responses);
  // with any response of its own, Swagger adds no success
  if (Object.keys(merged).length > 0 && !Object.keys(merged).some((status) => /^(2|default)/.test(status)))
    merged[statusOf(route)] = { description: '' };
  if (Object.keys(merged).length > 0) Reflect.defineMetadata(responsesKey, merged, method);
}

const classHeadersOf = ({ controller }: Route): readonly Parameter[] =>
  (Reflect.getMetadata('swagger/apiHeaders', controller) ?? []) as readonly Parameter[];

/** Bodies, and queries that a class describes, have no name. */
const identityOf = ({ in: where, name }: Pick<Parameter, 'in'> & Partial<Parameter>): string =>
  `${where} ${name?.toLowerCase() ?? ''}`;

function mergeResponses(
  own: Readonly<Record<string, ResponseObject>>,
  added: Readonly<Record<string, ResponseObject>>,
): Record<string, ResponseObject> {
  const statuses = new Set([...Object.keys(own), ...Object.keys(added)]);
  return Object.fromEntries(
    [...statuses].map((status) => [status, withProblem(status, merge(own[status], added[status]))]),
  );
}

function merge(own: ResponseObject = {}, added: ResponseObject = {}): ResponseObject {
  const headers = { ...added.headers, ...own.headers };
  const description = [own.description, added.description].find((each) => each !== undefined && each !== '');
  return {
    ...own,
    description: description ?? '',
    ...(Object.keys(headers).length > 0 && { headers }),
  };
}

function withProblem(status: string, response: ResponseObject): ResponseObject {
  if (!/^[45]/.test(status)) return response;
  const hasContent = ['content', 'schema', 'type', 'standardSchema'].some(
    (field) => response[field] !== undefined,
  );
  return {
    ...response,
    ...(!hasContent && { content: problem }),
    ...((status === '423' || status === '503') && { headers: { ...retryAfter, ...response.headers } }),
  };
}
