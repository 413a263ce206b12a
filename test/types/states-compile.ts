/**
 * States with typed keys, schema input, and classes made of a schema, as they must compile.
 * `types.spec.ts` and `npm run types` check it; nothing runs it.
 */
import { Body, Controller, Injectable, Post, type INestApplicationContext } from '@nestjs/common';
import { streamOf, type EventStream } from '@kvent/event-store';
import {
  defineState,
  Entry,
  getStoreToken,
  IdempotencyKey,
  IdempotentCall,
  IndexedStore,
  IfMatch,
  InjectStore,
  KeyValueStorage,
  KeyValueStorageModule,
  KeyValueStore,
  Precondition,
  State,
  stateOf,
  Store,
  storeOf,
  toObservable,
  type Input,
  type InputOf,
  type Key,
  type KeyOf,
  type KeyWithEtag,
  type RangeChange,
  type StateOf,
} from '@kvent/key-value-storage';
import { map, type Observable } from 'rxjs';
import * as v from 'valibot';
import { z } from 'zod';
import type { Orders } from './streams-compile.js';

// ─── definitions

/** Keys by a schema, values by a schema with a default and a conversion. */
export const Slots = defineState('slot', {
  schema: z.object({ doctor: z.string(), room: z.string().default('1'), at: z.coerce.date() }),
  key: z.tuple([z.string(), z.iso.date(), z.number().int()]),
});
/** Keys by a type argument. */
export const Notes = defineState<{ text: string }, readonly ['note', number]>('note');
/** Both: the schema checks what the type says. */
export const Rooms = defineState<{ beds: number }, `room-${number}`>('room', {
  key: z.templateLiteral(['room-', z.number()]),
});
/** Keys of several kinds; another schema library. */
export const Marks = defineState('mark', {
  schema: v.object({ colour: v.optional(v.string(), 'grey') }),
  key: v.union([v.pipe(v.string(), v.uuid()), v.tuple([v.string(), v.bigint()])]),
});
/** A key schema alone. */
export const Anything = defineState('anything', { key: z.string() });

/** Class, type and schema in one. */
export class Product extends stateOf(
  'product',
  z.object({ title: z.string().trim(), tags: z.array(z.string()).default([]), cents: z.number() }),
  { key: z.string().min(1), schemaVersion: 2, upcast: { 1: (old: object) => ({ ...old, cents: 0 }) } },
) {
  cheaperBy(cents: number): number {
    return this.cents - cents;
  }
}
/** A class with `@State`: its keys are checked, and the parameter says their type. */
@State('bed', { key: z.tuple([z.string(), z.number()]) })
export class Bed {
  free!: boolean;
}

// ─── use

@Injectable()
export class Clinic {
  constructor(
    @InjectStore(Slots) private readonly slots: Store<typeof Slots>,
    @InjectStore(Product) private readonly products: Store<typeof Product>,
    @InjectStore(Bed) private readonly beds: KeyValueStore<Bed, readonly [string, number]>,
    @InjectStore(Bed) private readonly untyped: KeyValueStore<Bed>,
    @InjectStore(Notes) readonly notes: Store<typeof Notes>,
    private readonly storage: KeyValueStorage,
  ) {}

  async claim(doctor: string, day: string, hour: number): Promise<string> {
    const { key, value } = await this.slots.add([doctor, day, hour], { doctor, at: '2026-10-31' });
    const weekday: number = value.at.getDay();
    return `${key[1]} ${key[2].toFixed(0)} ${value.room.trim()} ${weekday}`;
  }
  async ofDay(doctor: string, day: string): Promise<number[]> {
    const hours: number[] = [];
    for await (const { key } of this.slots.list({ prefix: [doctor, day] })) hours.push(key[2]);
    for await (const key of this.slots.keys({ start: [doctor], end: [doctor, day, 12] })) hours.push(key[2]);
    const { items, previous } = await this.slots.page({ prefix: [doctor], limit: 10 });
    for await (const { key } of this.slots.list({ prefix: [doctor], cursor: previous }, { values: false }))
      hours.push(key[2]);
    return [...hours, ...items.map(({ key }) => key[2])];
  }
  async change(): Promise<Entry<Product, string>> {
    await this.products.set('mug', { title: 'Mug', cents: 9 });
    await this.products.set('mug', new Product({ title: 'Mug', cents: 9, tags: [] }));
    const entry = await this.products.update('mug', (product) => ({
      ...product,
      cents: product.cheaperBy(1),
    }));
    await this.products.update('mug', ({ title, cents }) => ({ title, cents }), {
      initial: () => ({ title: '', cents: 0 }),
    });
    await this.products.getOrAdd('mug', () => ({ title: '', cents: 0 }), { idempotencyKey: 'k' });
    await this.products.delete('mug', { ifMatch: '*', idempotencyKey: { key: 'k', content: [1] } });
    await this.products.touch('mug', { ttlMs: 1, idempotencyKey: 'k' });
    await this.products.setMany([{ key: 'cup', value: { title: 'Cup', cents: 1 } }]);
    return await this.products.save(entry.with({ cents: 1 }));
  }
  async repeated(@IdempotencyKey() call: IdempotentCall): Promise<void> {
    await this.products.take('mug', { idempotencyKey: call });
  }
  async both(ifMatch: Precondition, seen: KeyWithEtag<readonly [string, number]>): Promise<void> {
    const slot = await this.slots.getOrThrow(['ada', '2026-10-31', 9]);
    await this.storage
      .atomic()
      .check(this.beds, { key: ['a', 1], etag: 'e' })
      .check(this.beds, seen)
      .check(this.slots, slot)
      .checkAbsent(this.notes, ['note', 1])
      .add(this.notes, ['note', 1], { text: '' })
      .set(this.products, 'mug', { title: 'Mug', cents: 1 }, { ifMatch, ttlMs: 'keep' })
      .set(this.products, 'cup', { title: 'Cup', cents: 1 }, { ifMatch: slot })
      .replace(this.products, 'pot', { title: 'Pot', cents: 1 })
      .save(this.slots, slot.with({ room: '2' }))
      .delete(this.slots, slot)
      .delete(this.slots, { key: ['ada', '2026-10-31', 9], etag: 'e' })
      .delete(this.untyped, 'b', { ifMatch: '*' })
      .commit();
  }
}

@Controller('products')
export class ProductController {
  constructor(@InjectStore(Product) private readonly products: Store<typeof Product>) {}
  @Post() async put(
    @Body() body: InputOf<typeof Product>,
    @IfMatch() ifMatch: Precondition,
  ): Promise<Product> {
    return (await this.products.set('mug', body, { ifMatch })).value;
  }
}

export const feature = KeyValueStorageModule.forFeature([Slots, Notes, Product, Bed]);
export const token = getStoreToken(Product);

export async function inTests(app: INestApplicationContext, orders: typeof Orders): Promise<number> {
  const stream: EventStream<typeof Orders> = streamOf(app, orders);
  const bed: KeyValueStore<Bed, readonly [string, number]> = storeOf<Bed, readonly [string, number]>(
    app,
    Bed,
  );
  await bed.get(['a', 1]);
  const [slot] = await storeOf(app, Slots).getMany([['ada', '2026-10-31', 9]]);
  await storeOf(app, Product).set('mug', { title: 'Mug', cents: 1 });
  return (slot?.key[2] ?? 0) + (await stream.version('o-1'));
}
export async function marks(storage: KeyValueStorage): Promise<void> {
  const store = storage.store(Marks);
  await store.set('0b0e', {});
  await store.set(['a', 1n], { colour: 'red' });
  for await (const { key } of store.list({ prefix: ['a'] }))
    void (typeof key === 'string' ? key : key[1] + 1n);
}

// ─── watches

export async function watches(storage: KeyValueStorage, signal: AbortSignal): Promise<void> {
  const slots = storage.store(Slots);
  for await (const slot of slots.watch(['ada', '2026-10-31', 9], { signal, recover: true })) {
    if (slot !== undefined) void (slot.key[2].toFixed() + slot.value.at.toISOString());
  }
  const products: Store<typeof Product> = storage.store(Product);
  for await (const [mug, cup] of products.watchMany(['mug', 'cup'])) {
    const left: Entry<Product, string> | undefined = mug;
    void (left?.value.cheaperBy(1) ?? cup?.etag);
  }
  const many: readonly string[] = ['mug'];
  for await (const entries of products.watchMany(many)) void entries.map((entry) => entry?.key.trim());
  for await (const change of slots.watchRange({ prefix: ['ada'] }, { signal })) {
    if (change.type === 'put') void change.entry.value.room.trim();
    else if (change.type === 'delete') void change.key[1].trim();
    else void (change.type satisfies 'listed');
  }
  const prices: Observable<number> = toObservable(products.watch('mug')).pipe(
    map((product) => product?.value.cents ?? 0),
  );
  const changes: Observable<RangeChange<{ text: string }, readonly ['note', number]>> = toObservable(
    storage.store(Notes).watchRange(),
  );
  void [prices, changes];
}

// ─── what a team writes once

export async function copy<T, K extends Key>(
  from: KeyValueStore<T, K>,
  to: KeyValueStore<T, K>,
): Promise<void> {
  for await (const entry of from.list()) await to.set(entry.key, entry.value);
}
export async function copyAny<T>(from: KeyValueStore<T>, to: KeyValueStore<T>): Promise<void> {
  for await (const entry of from.list()) await to.set(entry.key, entry.value);
}
export class Repository<T extends object, K extends Key, I> {
  constructor(private readonly store: KeyValueStore<T, K, I>) {}
  find(key: K): Promise<Entry<T, K> | undefined> {
    return this.store.get(key);
  }
  put(key: K, value: I): Promise<Entry<T, K>> {
    return this.store.set(key, value);
  }
}
export async function generic(storage: KeyValueStorage): Promise<void> {
  const slots = storage.store(Slots);
  await copy(slots, slots);
  await copyAny(storage.store(Bed), storage.store(Bed));
  await new Repository(slots).put(['a', 'b', 1], { doctor: 'ada', at: 0 });
}

// ─── indexes: the parameter of their functions has the type of the value

const visitSchema = z.object({ doctor: z.string(), day: z.string(), minutes: z.int().default(20) });
class Visit extends stateOf('visit', visitSchema, {
  indexes: {
    byDay: (visit) => [visit.doctor, visit.day],
    long: { key: ({ minutes, doctor }) => (minutes > 30 ? doctor : undefined), unique: true },
  },
}) {}
const Visits = defineState('visits', {
  schema: visitSchema,
  indexes: { byDay: (visit) => [visit.doctor, visit.day] },
});
@State('seat', { indexes: { byRoom: (seat: Seat) => [seat.room, seat.row] } })
export class Seat {
  room!: string;
  row!: number;
}
// oxlint-disable-next-line typescript/no-unsafe-member-access -- a decorator does not know its class
@State('shelf', { indexes: { byRoom: (shelf) => [shelf.room] } })
export class Shelf {
  room!: string;
}
export async function indexed(storage: KeyValueStorage): Promise<number | undefined> {
  const days = storage
    .store(Visit)
    .index('byDay')
    .list({ key: ['ada', '2026-12-01'] });
  for await (const { value } of days) value.minutes.toFixed();
  await storage
    .store(Visits)
    .index('byDay')
    .page({ prefix: ['ada'] });
  return (await storage.store(Visit).index('long').get('ada'))?.value.minutes;
}

// ─── what is inferred

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;
export const inferred: [
  Same<KeyOf<typeof Slots>, readonly [string, string, number]>,
  Same<StateOf<typeof Slots>, { doctor: string; room: string; at: Date }>,
  Same<InputOf<typeof Slots>, { doctor: string; at: unknown; room?: string | undefined }>,
  Same<KeyOf<typeof Notes>, readonly ['note', number]>,
  Same<InputOf<typeof Notes>, Input<{ text: string }>>,
  Same<KeyOf<typeof Rooms>, `room-${number}`>,
  Same<KeyOf<typeof Marks>, string | readonly [string, bigint]>,
  Same<KeyOf<typeof Anything>, string>,
  Same<StateOf<typeof Product>, Product>,
  Same<KeyOf<typeof Product>, string>,
  Same<KeyOf<typeof Bed>, Key>,
  Same<Store<typeof Bed>, KeyValueStore<Bed>>,
  Same<Store<typeof Notes>, KeyValueStore<{ text: string }, readonly ['note', number]>>,
] = [true, true, true, true, true, true, true, true, true, true, true, true, true];

// ─── indexes

const bookingIndexes = {
  byGuest: (booking: Booking) => [booking.guest, booking.nights] as const,
  byCode: { key: (booking: Booking) => booking.code, unique: true },
};
@State('booking', { indexes: bookingIndexes })
export class Booking {
  guest!: string;
  nights!: number;
  code?: string;
}
export type Bookings = IndexedStore<Booking, typeof bookingIndexes>;

const Guest = z.object({ name: z.string(), born: z.int() });
export const Guests = defineState('guest', {
  schema: Guest,
  indexes: { byName: (guest) => guest.name, byBirth: (guest) => [guest.born, guest.name] },
});
export class Owner extends stateOf('owner', Guest, {
  indexes: { byName: { key: (owner) => owner.name, unique: true } },
}) {}

@Injectable()
export class IndexedStores {
  constructor(
    @InjectStore(Booking) readonly bookings: Bookings,
    @InjectStore(Booking) readonly byAnyName: IndexedStore<Booking>,
    @InjectStore(Booking) readonly plain: KeyValueStore<Booking>,
    @InjectStore(Guests) readonly guests: Store<typeof Guests>,
    @InjectStore(Owner) readonly owners: Store<typeof Owner>,
  ) {}

  async read(): Promise<string> {
    const { items } = await this.bookings.index('byGuest').page({ prefix: ['ada'], limit: 5 });
    const one = await this.bookings.forTenant('acme').index('byCode').get('X');
    await this.byAnyName.index('byGuest').count();
    const byBirth = this.guests.index('byBirth');
    for await (const { value } of byBirth.list({ start: [1990], end: [2000, 'a'] })) return value.name;
    const owner: Owner | undefined = (await this.owners.index('byName').get('ada'))?.value;
    return `${items[0]?.value.nights} ${one?.value.guest} ${owner?.name}`;
  }
}
