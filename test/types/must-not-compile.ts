/**
 * Mistakes that users make, one below each marker: the types fail when one of them starts to
 * compile. `types.spec.ts` proves that they can.
 */
import { Injectable } from '@nestjs/common';
import {
  CounterStore,
  defineCounter,
  defineShardedCounter,
  defineState,
  InjectStore,
  KeyValueStorageModule,
  KeyValueStore,
  RetryOnConflict,
  StateMigration,
  State,
  type KeyValueStorage,
} from '@kvent/key-value-storage';
import { writeFixture } from '@kvent/key-value-storage/testing';
import { z } from 'zod';
import { Bytes, Product, Seats, Tags, Views, type Tag } from './compiles.js';

declare const products: KeyValueStore<Product>;
declare const tags: KeyValueStore<Tag>;
declare const codes: KeyValueStore<string, readonly [string, number]>;
declare const storage: KeyValueStorage;

@Injectable()
export class WrongStores {
  constructor(
    // @ts-expect-error  the store of another state
    @InjectStore(Product) readonly other: KeyValueStore<Tag>,
    // @ts-expect-error  a narrower value type would let incomplete products in
    @InjectStore(Product) readonly narrower: KeyValueStore<{ sku: string }>,
    // @ts-expect-error  a value is not a store
    @InjectStore(Tags) readonly value: Tag,
    @InjectStore(Product) readonly fine: Pick<KeyValueStore<Product>, 'get' | 'has'>,
    // @ts-expect-error  a counter is not a store
    @InjectStore(Views) readonly counter: KeyValueStore<Product>,
    // @ts-expect-error  the numbers of another counter
    @InjectStore(Views) readonly big: CounterStore<bigint>,
  ) {}
  // @ts-expect-error  the same for a public property
  @InjectStore(Product) readonly property!: KeyValueStore<Tag>;
}

export async function values(): Promise<void> {
  // @ts-expect-error  an incomplete value
  await products.set('p', { sku: 'p' });
  // @ts-expect-error  a value instead of an entry
  await products.save({ sku: 'p', title: '', price: 1, tags: [], since: new Date() });
  const entry = await products.get('p');
  // @ts-expect-error  it may be absent
  void entry.value;
  // @ts-expect-error  no such property
  void entry?.with({ colour: 'red' });
  // @ts-expect-error  the wrong result of a change
  await products.update('p', (product) => product.price + 1);
  // @ts-expect-error  a change that forgets to return
  await products.update('p', (product) => void product.price);
  // @ts-expect-error  an object is not a key
  await products.get({ sku: 'p' });
  if (entry === undefined) return;
  // @ts-expect-error  an option that does not exist
  await products.set('p', entry.value, { ifmatch: entry.etag });
  const seen = await products.stat('p');
  // @ts-expect-error  an etag that may be missing would be a write without a check (it is refused at run time too)
  await products.set('p', entry.value, { ifMatch: seen?.etag });
  // @ts-expect-error  the same for a deletion
  await products.delete('p', { ifMatch: seen?.etag });
  // @ts-expect-error  the value of another state in an atomic batch
  storage.atomic().set(tags, 'a', entry.value);
  // @ts-expect-error  the entry of another state in an atomic batch
  storage.atomic().save(tags, entry);
  // @ts-expect-error  deleting needs a range
  await products.deleteMany();
  // @ts-expect-error  an incomplete value in a load
  await products.loadFrom([{ key: 'p', value: { sku: 'p' } }]);
  // @ts-expect-error  an entry without its key in a load
  await products.loadFrom([{ value: entry.value }]);
  // @ts-expect-error  a key of another type in a load
  await codes.loadFrom([{ key: 'a', value: 'x' }]);
  // @ts-expect-error  one item is not a source
  await products.loadFrom({ key: 'p', value: entry.value });
  // @ts-expect-error  a misspelt consequence of a failure
  await products.loadFrom([], { onError: 'skip' });
  // @ts-expect-error  a listener of failures gets a failure, not its number
  await products.loadFrom([], { onError: 'continue', onFailure: (index: number) => void index });
  // @ts-expect-error  an incomplete value among those that are added
  await products.addMany([{ key: 'p', value: { sku: 'p' } }]);
  // @ts-expect-error  entries are not keys
  await products.deleteKeys([entry]);
  // @ts-expect-error  keys of another type are not deleted
  await codes.deleteKeys(['a']);
  // @ts-expect-error  an export has no direction
  products.export({ reverse: true });
  // @ts-expect-error  a touch says until when
  await products.touch('p', {});
}

// @ts-expect-error  the class lacks a field of the schema
@State('a', { schema: z.object({ a: z.string(), b: z.number() }) })
export class Lacking {
  a!: string;
}
// @ts-expect-error  the schema would drop a field of the class
@State('a', { schema: z.object({ a: z.string() }) })
export class Dropped {
  a!: string;
  b!: number;
}
export const Unstable = defineState('a', {
  // @ts-expect-error  a transform that changes the type cannot be stored and read back
  schema: z.object({ at: z.string().transform((text) => new Date(text)) }),
});
// @ts-expect-error  a misspelt option
export const Misspelt = defineState<{ a: 1 }>('a', { ttl: 5 });

export const wrongModules = [
  // @ts-expect-error  a name is not a state
  KeyValueStorageModule.forFeature(['product']),
  // @ts-expect-error  a root needs a provider
  KeyValueStorageModule.forRoot({ tenancy: {} }),
  // @ts-expect-error  a class is not a provider
  KeyValueStorageModule.forRoot({ provider: Product }),
];

export class Retries {
  // @ts-expect-error  only methods that answer a promise
  @RetryOnConflict() count(): number {
    return 1;
  }
  // @ts-expect-error  a misspelt option
  @RetryOnConflict({ attemts: 2 }) async misspelt(): Promise<void> {}
}

@State('keeper')
class Keeper {
  open!: string;
  readonly #kept = 1;
  kept(): number {
    return this.#kept;
  }
}
@State('derived')
class Derived {
  price!: number;
  get twice(): number {
    return this.price * 2;
  }
}
export async function copies(keepers: KeyValueStore<Keeper>, derived: KeyValueStore<Derived>): Promise<void> {
  // @ts-expect-error  a copy has no private members, and its methods would fail
  await keepers.update('a', (keeper) => ({ ...keeper, open: 'b' }));
  // @ts-expect-error  a copy has no getters: derived values are methods
  await derived.update('a', (value) => ({ ...value, price: 2 }));
}

export async function counters(views: CounterStore): Promise<void> {
  // @ts-expect-error  a bigint for a counter of numbers
  await views.increment('home', 5n);
  // @ts-expect-error  an option of another verb
  await views.increment('home', 1, { ifMatch: '1' });
  // @ts-expect-error  a number for a counter of bigints
  await storage.store(Bytes).increment('home', 5);
  // @ts-expect-error  the numbers of a batch are of the counter
  storage.atomic().increment(storage.store(Bytes), 'home', 5);
  // @ts-expect-error  a key that the schema refuses
  await storage.store(Seats).increment('show');
  // @ts-expect-error  a counter has no values to set
  const set: keyof typeof views = 'set';
  // @ts-expect-error  a counter has no watch
  const watch: keyof typeof views = 'watch';
  void [set, watch];
  // @ts-expect-error  a counter in a batch is changed by numbers
  storage.atomic().set(views, 'home', 1);
  // @ts-expect-error  a store has no numbers
  storage.atomic().increment(products, 'p');
  const likes = storage.store(defineShardedCounter('likes'));
  // @ts-expect-error  no shard knows the sum
  const after: number = await likes.increment('home');
  // @ts-expect-error  a sharded counter has no bounds
  defineShardedCounter('likes', { floor: 0 });
  // @ts-expect-error  a sharded counter is no part of a batch
  storage.atomic().increment(likes, 'home');
  // @ts-expect-error  a sharded counter cannot be raised
  const raise: keyof typeof likes = 'raiseTo';
  void [after, raise];
  // @ts-expect-error  the bound of another counter
  defineCounter('views', { floor: 0n });
}

export function migrations(tags: KeyValueStore<Tag>, views: CounterStore): void {
  // @ts-expect-error  a counter has no schema version
  new StateMigration(views);
  // @ts-expect-error  a value that the other store does not take
  new StateMigration(products, { to: tags, change: () => 5 });
  // @ts-expect-error  the present version has no such value
  void writeFixture(Tags, 'fixtures', { one: 5 });
}
