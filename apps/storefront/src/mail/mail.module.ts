import { Module, type DynamicModule } from '@nestjs/common';
import { ReactionsModule } from '@kvent/event-store';
import { MailFolder } from './mail-folder.js';
import { OrderMails } from './order-mails.js';

const reactions = ReactionsModule.forFeature([OrderMails], { onError: 'park', leaseTtlMs: 5_000 });

@Module({ imports: [reactions], exports: [reactions] })
export class MailModule {
  static to(directory: string): DynamicModule {
    return { module: MailModule, providers: [{ provide: MailFolder, useValue: new MailFolder(directory) }] };
  }
}
