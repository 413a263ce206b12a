/**
 * An `EventBus` of `@nestjs/cqrs` that says when the handlers of an event have ended. The bus
 * itself does not: `publish` returns at once, and what handlers reject with is caught by it. So
 * handlers are wrapped when they are bound.
 */
import type { ModuleRef } from '@nestjs/core';
import type * as Cqrs from '@nestjs/cqrs';

type Bus = Cqrs.EventBus;
type BoundHandler = Parameters<Bus['bind']>[0];

const trackedBuses = new WeakMap<Bus, TrackedEventBus>();

export class TrackedEventBus {
  readonly #bus: Bus;
  readonly #cqrs: typeof Cqrs;
  readonly #modules: ModuleRef;
  readonly #ends = new WeakMap<object, Promise<unknown>[]>();
  readonly #registered: Promise<void>;
  #isClosed = false;

  /** Before the start-up of the application registers its handlers. */
  static of(bus: Bus, cqrs: typeof Cqrs, modules: ModuleRef): TrackedEventBus {
    const tracked = trackedBuses.get(bus) ?? new TrackedEventBus(bus, cqrs, modules);
    trackedBuses.set(bus, tracked);
    return tracked;
  }

  private constructor(bus: Bus, cqrs: typeof Cqrs, modules: ModuleRef) {
    this.#bus = bus;
    this.#cqrs = cqrs;
    this.#modules = modules;
    const bind = bus.bind.bind(bus);
    bus.bind = (handler, id) => bind(this.#wrapped(handler), id);
    const close = bus.onModuleDestroy.bind(bus);
    bus.onModuleDestroy = () => {
      this.#isClosed = true;
      close();
    };
    this.#registered = new Promise((resolve) => {
      const register = bus.register.bind(bus);
      bus.register = (handlers) => {
        register(handlers);
        resolve();
      };
    });
  }

  /**
   * Resolves when the publisher has accepted the event, and all its handlers have ended; rejects
   * with what one of them rejects with. With another publisher than the default, handlers that
   * begin later are not waited for. Once the shutdown has taken the handlers off the bus, nothing
   * is published, and it rejects with the reason of the signal.
   */
  async publish(event: object, signal: AbortSignal): Promise<void> {
    await this.#registered;
    if (this.#isClosed) return await untilAborted(signal);
    const ends: Promise<unknown>[] = [];
    this.#ends.set(event, ends);
    await this.#bus.publish(event);
    const failed = (await Promise.allSettled(ends)).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  #wrapped(handler: BoundHandler): BoundHandler {
    const instance = {
      handle: (event: object): Promise<unknown> => {
        const end = this.#handle(handler, event);
        this.#ends.get(event)?.push(end);
        return end;
      },
    };
    // the bus asks both when an event comes
    return Object.create(handler, {
      instance: { value: instance },
      isDependencyTreeStatic: { value: () => true },
    }) as BoundHandler;
  }

  /** A handler in the scope of a request is made for each event, as the bus does it. */
  async #handle(handler: BoundHandler, event: object): Promise<unknown> {
    if (handler.isDependencyTreeStatic()) return await handler.instance.handle(event);
    const { AsyncContext } = this.#cqrs;
    const { id } = AsyncContext.of(event) ?? new AsyncContext();
    const type = handler.metatype as new () => Cqrs.IEventHandler;
    const instance = await this.#modules.resolve<Cqrs.IEventHandler>(type, id, { strict: false });
    return await instance.handle(event);
  }
}

const untilAborted = async (signal: AbortSignal): Promise<never> =>
  await new Promise((_, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
