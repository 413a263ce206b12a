import { Injectable } from '@nestjs/common';
import { InjectStore, KeyValueStore, toObservable, type Entry } from '@kvent/key-value-storage';
import { map, of, switchMap, takeWhile, type Observable } from 'rxjs';
import { CatalogueService } from '../catalogue/catalogue.service.js';
import { ShopError } from '../problems/shop-error.js';
import { Carts, cartTtlMs, emptyCart, pricedCart, withItem, type Cart, type PricedCart } from './cart.js';

@Injectable()
export class CartsService {
  constructor(
    @InjectStore(Carts) private readonly carts: KeyValueStore<Cart>,
    private readonly catalogue: CatalogueService,
  ) {}

  /**
   * Creates the cart with its first item. A product that is no longer sold can still be removed.
   * Sets the time to live, because an update alone keeps the expiry.
   */
  async put(id: string, sku: string, quantity: number): Promise<Entry<Cart>> {
    const isRemoval = quantity === 0 && (await this.#contains(id, sku));
    if (!isRemoval) await this.catalogue.assertSold(sku);
    return await this.carts.update(id, (cart) => withItem(cart, sku, quantity), {
      initial: () => emptyCart,
      ttlMs: cartTtlMs,
    });
  }

  /** `CART_NOT_FOUND`, also for an expired cart, which the store does not distinguish. */
  async get(id: string): Promise<Entry<Cart>> {
    const cart = await this.carts.get(id);
    if (cart === undefined)
      throw new ShopError(
        'CART_NOT_FOUND',
        404,
        'Cart not found',
        `The cart ${id} does not exist, or has expired.`,
        {
          cart: id,
        },
      );
    return cart;
  }

  /** `CART_NOT_FOUND`, `CART_EMPTY`. */
  async getFilled(id: string): Promise<Entry<Cart>> {
    const cart = await this.get(id);
    if (cart.value.items.length === 0)
      throw new ShopError('CART_EMPTY', 409, 'Empty cart', `The cart ${id} is empty.`, {
        cart: id,
      });
    return cart;
  }

  /**
   * The cart with its current prices, now and after each change; `CART_NOT_FOUND`. Ends when the
   * cart is ordered, deleted or expired.
   */
  async follow(id: string): Promise<Observable<PricedCart>> {
    await this.get(id);
    return toObservable(this.carts.watch(id)).pipe(
      switchMap((cart) => (cart === undefined ? of(undefined) : this.#priced(cart.value))),
      takeWhile((cart) => cart !== undefined),
    );
  }

  #priced(cart: Cart): Observable<PricedCart> {
    const products = this.catalogue.watch(cart.items.map(({ sku }) => sku));
    return toObservable(products).pipe(
      map((entries) =>
        pricedCart(
          cart,
          entries.map((product) => product?.value.priceCents),
        ),
      ),
    );
  }

  async remove(id: string): Promise<void> {
    await this.carts.delete(id);
  }

  async #contains(id: string, sku: string): Promise<boolean> {
    const cart = await this.carts.get(id);
    return cart?.value.items.some((item) => item.sku === sku) ?? false;
  }
}
