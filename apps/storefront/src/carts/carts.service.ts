import { Injectable } from '@nestjs/common';
import { InjectStore, KeyValueStore, type Entry } from '@kvent/key-value-storage';
import { CatalogueService } from '../catalogue/catalogue.service.js';
import { ShopError } from '../problems/shop-error.js';
import { Carts, cartTtlMs, emptyCart, withItem, type Cart } from './cart.js';

@Injectable()
export class CartsService {
  constructor(
    @InjectStore(Carts) private readonly carts: KeyValueStore<Cart>,
    private readonly catalogue: CatalogueService,
  ) {}

  /**
   * The cart begins with its first item. What is sold no longer can still be taken out. An update
   * keeps the expiry unless told otherwise; who fills a cart is looking at it.
   */
  async put(id: string, sku: string, quantity: number): Promise<Entry<Cart>> {
    const takesOut = quantity === 0 && (await this.#holds(id, sku));
    if (!takesOut) await this.catalogue.assertSold(sku);
    return await this.carts.update(id, (cart) => withItem(cart, sku, quantity), {
      initial: () => emptyCart,
      ttlMs: cartTtlMs,
    });
  }

  /**
   * Absent and expired are the same to the store, and here to the client: the domain's own error,
   * not the store's.
   */
  async get(id: string): Promise<Entry<Cart>> {
    const cart = await this.carts.get(id);
    if (cart === undefined)
      throw new ShopError('CART_NOT_FOUND', 404, 'Cart not found', `There is no cart ${id}, or no longer.`, {
        cart: id,
      });
    return cart;
  }

  /** One that can be ordered; `CART_EMPTY`. */
  async filled(id: string): Promise<Entry<Cart>> {
    const cart = await this.get(id);
    if (cart.value.items.length === 0)
      throw new ShopError('CART_EMPTY', 409, 'Empty cart', `There is nothing in the cart ${id}.`, {
        cart: id,
      });
    return cart;
  }

  async remove(id: string): Promise<void> {
    await this.carts.delete(id);
  }

  async #holds(id: string, sku: string): Promise<boolean> {
    const cart = await this.carts.get(id);
    return cart?.value.items.some((item) => item.sku === sku) ?? false;
  }
}
