/**
 * Mistakes with keys, inputs and classes made of a schema, one below each marker: the types fail
 * when one of them starts to compile. `types.spec.ts` proves that they can.
 */
import { Injectable } from '@nestjs/common';
import {
  defineState,
  InjectStore,
  State,
  stateOf,
  Store,
  storeOf,
  toObservable,
  type KeyValueStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage';
import type { Observable } from 'rxjs';
import { z } from 'zod';
import {
  Bed,
  copyAny,
  Notes,
  Product,
  Slots,
  type Booking,
  type Bookings,
  type Guests,
} from './states-compile.js';

declare const slots: Store<typeof Slots>;
declare const notes: Store<typeof Notes>;
declare const products: Store<typeof Product>;
declare const storage: KeyValueStorage;
declare const app: Parameters<typeof storeOf>[0];

@Injectable()
export class WrongStores {
  constructor(
    // @ts-expect-error  keys of any kind
    @InjectStore(Slots) readonly untyped: KeyValueStore<{ doctor: string; room: string; at: Date }>,
    // @ts-expect-error  other keys
    @InjectStore(Product) readonly keys: KeyValueStore<Product, readonly [string]>,
    // @ts-expect-error  the values of another class
    @InjectStore(Bed) readonly bed: KeyValueStore<Product, string>,
    // @ts-expect-error  the store of another state
    @InjectStore(Product) readonly other: Store<typeof Slots>,
    @InjectStore(Product) readonly fine: Store<typeof Product>,
  ) {}
}

export async function keys(): Promise<void> {
  // @ts-expect-error  a text where keys have parts
  await slots.get('ada');
  // @ts-expect-error  too few parts
  await slots.get(['ada', '2026-10-31']);
  // @ts-expect-error  a part of another type
  await slots.get(['ada', '2026-10-31', '9']);
  // @ts-expect-error  the same for many
  await slots.getMany([['ada', '2026-10-31', '9']]);
  // @ts-expect-error  and for each item
  await slots.setMany([{ key: ['ada'], value: { doctor: 'ada', at: 0 } }]);
  // @ts-expect-error  a literal of the key's type
  await notes.get(['notes', 1]);
  // @ts-expect-error  a prefix begins with the first part
  slots.list({ prefix: [9] });
  // @ts-expect-error  an idempotency key is a text, or has one
  await slots.take(['ada', '2026-10-31', 9], { idempotencyKey: 9 });
  // @ts-expect-error  `setMany` takes none
  await slots.setMany([], { idempotencyKey: 'k' });
  // @ts-expect-error  a text is no prefix of parts
  slots.list({ prefix: 'ada' });
  // @ts-expect-error  the bounds have the types of the parts
  await slots.page({ start: ['ada', 9] });
  const infos = await slots.page({ prefix: ['ada'] }, { values: false });
  // @ts-expect-error  nothing was read but key, etag and times
  void infos.items[0]?.value;
  // @ts-expect-error  an option of single reads it is not
  await slots.get(['ada', '2026-10-31', 9], { values: false });
  const { key } = await slots.getOrThrow(['ada', '2026-10-31', 9]);
  // @ts-expect-error  there is no fourth part
  void key[3];
  // @ts-expect-error  a key is not changed
  key[2] = 10;
  // @ts-expect-error  a helper for any keys could use keys that the schema refuses
  await copyAny(slots, slots);
}

export async function inputs(): Promise<void> {
  // @ts-expect-error  a default spares one property, not the others
  await slots.set(['ada', '2026-10-31', 9], { at: 0 });
  // @ts-expect-error  a wrong type of an optional property
  await slots.set(['ada', '2026-10-31', 9], { doctor: 'ada', at: 0, room: 1 });
  // @ts-expect-error  the result of a change is input, too
  await products.update('mug', ({ title }) => ({ title }));
  const { value } = await slots.getOrThrow(['ada', '2026-10-31', 9]);
  // @ts-expect-error  a read gives the output
  value.room = undefined;
  // @ts-expect-error  the data of an instance are the output
  void new Product({ title: 'Mug', cents: 1 });
}

export async function watches(): Promise<void> {
  // @ts-expect-error  a text where keys have parts
  slots.watch('ada');
  // @ts-expect-error  a part of another type, of several keys
  slots.watchMany([['ada', '2026-10-31', '9']]);
  // @ts-expect-error  the bounds of a watched range have the types of the parts
  slots.watchRange({ start: ['ada', 9] });
  // @ts-expect-error  an option of a read
  products.watch('mug', { consistency: 'stale' });
  // @ts-expect-error  a watch is no promise
  const product: Promise<unknown> = products.watch('mug');
  // @ts-expect-error  the entry may be absent
  for await (const product of products.watch('mug')) void product.value;
  // @ts-expect-error  so many items as keys
  for await (const [mug, cup] of products.watchMany(['mug'])) void [mug, cup];
  // @ts-expect-error  only `put` has an entry
  for await (const change of slots.watchRange()) void change.entry;
  // @ts-expect-error  `toObservable` has the items of the watch
  const prices: Observable<number> = toObservable(products.watch('mug'));
  void [product, prices];
}

export async function batches(): Promise<void> {
  const batch = storage.atomic();
  const slot = await slots.getOrThrow(['ada', '2026-10-31', 9]);
  // @ts-expect-error  an etag may not be missing
  batch.check(slots, { key: ['ada', '2026-10-31', 9] });
  // @ts-expect-error  the key of another state
  batch.check(notes, slot);
  // @ts-expect-error  the same without an entry
  batch.check(slots, { key: ['note', 1], etag: 'e' });
  // @ts-expect-error  the same to be absent
  batch.checkAbsent(slots, 'ada');
  // @ts-expect-error  the same to be written
  batch.set(slots, ['ada'], { doctor: 'ada', at: 0 });
  // @ts-expect-error  a wrong value
  batch.replace(products, 'mug', { title: 'Mug' });
  // @ts-expect-error  the entry of another state
  batch.save(notes, slot);
  const seen = await slots.stat(['ada', '2026-10-31', 9]);
  // @ts-expect-error  an etag that may be missing would be a write without a check
  batch.set(products, 'mug', { title: '', cents: 1 }, { ifMatch: seen?.etag });
  // @ts-expect-error  the same for a deletion
  batch.delete(products, 'mug', { ifMatch: seen?.etag });
  // @ts-expect-error  what is new has no etag
  batch.add(products, 'mug', { title: '', cents: 1 }, { ifMatch: slot });
  // @ts-expect-error  the key of another state
  batch.delete(products, slot);
}

// @ts-expect-error  a key has no objects
export const wrongKeys = defineState('a', { key: z.object({ id: z.string() }) });
// @ts-expect-error  with type arguments, the keys have one too
export const lost = defineState<{ a: 1 }>('a', { key: z.tuple([z.string()]) });
// @ts-expect-error  the schema of the keys is of another type
export const mismatch = defineState<{ a: 1 }, readonly [string]>('a', { key: z.tuple([z.number()]) });
// @ts-expect-error  a class needs an object
export class Text extends stateOf('a', z.string()) {}
// @ts-expect-error  a transform that changes the type cannot be stored and read back
export class Unstable extends stateOf('a', z.object({ at: z.string().transform((at) => new Date(at)) })) {}

class More extends stateOf('more', z.object({ a: z.string() })) {
  b!: string;
}
// @ts-expect-error  the schema would drop a property that the class adds
storage.store(More);
// @ts-expect-error  the same in an application
storeOf(app, More);
class Derived extends stateOf('derived', z.object({ a: z.string() })) {
  get twice(): string {
    return this.a + this.a;
  }
}
// @ts-expect-error  derived values are methods: a copy has no getters
storage.store(Derived);

const visits = z.object({ doctor: z.string(), at: z.date() });
class Visit extends stateOf('visit', visits, { indexes: { byDoctor: (visit) => [visit.doctor] } }) {}
// @ts-expect-error  no such index
storage.store(Visit).index('byDoctr');
const byDoctor = storage.store(Visit).index('byDoctor');
// @ts-expect-error  the key of an index has its type
byDoctor.list({ key: [1] });
// @ts-expect-error  a date is no key
export class ByDate extends stateOf('by-date', visits, { indexes: { byDate: (visit) => visit.at } }) {}
// @ts-expect-error  the value has no such property
export const Misspelt = defineState('a', { schema: visits, indexes: { wrong: (visit) => [visit.docter] } });
declare const bookings: Bookings;
declare const guests: Store<typeof Guests>;

export async function indexes(): Promise<void> {
  // @ts-expect-error  no index of this name
  bookings.index('byGuests');
  // @ts-expect-error  the same where the definition has the indexes
  guests.index('byNames');
  // @ts-expect-error  a state without indexes
  const none: keyof typeof products = 'index';
  void none;
  // @ts-expect-error  a key of another type
  await bookings.index('byCode').get(1);
  // @ts-expect-error  a prefix of another type
  bookings.index('byGuest').list({ prefix: [1] });
  // @ts-expect-error  a bound of another type
  await guests.index('byBirth').count({ start: ['ada'] });
  const schema = z.object({ name: z.string() });
  // @ts-expect-error  a property that the value does not have
  defineState('guest', { schema, indexes: { a: (guest) => String(guest.nam) } });
}

// @ts-expect-error  indexes of the values of another class
@State('other', { indexes: { byGuest: (booking: Booking) => booking.guest } })
export class Other {
  name!: string;
}
