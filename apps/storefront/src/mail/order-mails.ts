import { On, Reaction, type FeedEvent } from '@kvent/event-store';
import { Orders } from '../orders/order.js';
import { MailFolder } from './mail-folder.js';

/** Confirms each order by mail, at least once; the folder leaves out repetitions. */
@Reaction('order-mails', { streams: [Orders], partitions: 2 })
export class OrderMails {
  constructor(private readonly mails: MailFolder) {}

  @On(Orders, 'placed')
  async placed({ id, tenant, stream, data }: FeedEvent<typeof Orders, 'placed'>): Promise<void> {
    const goods = data.items.map(({ sku, quantity }) => `${quantity} × ${sku}`).join(', ');
    const total = (data.totalCents / 100).toFixed(2);
    await this.mails.send({
      id,
      tenant,
      order: stream,
      subject: `Your order ${stream}`,
      text: `Thank you for your order of ${goods}. The total is ${total}.`,
    });
  }
}
