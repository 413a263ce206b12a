/** Invoices are a table of the clinic's own: in one transaction with the event and the report. */
import { ConflictException, Controller, Injectable, Param, Post, UseGuards } from '@nestjs/common';
import { EventStream, InjectStream, type StateOf } from '@kvent/event-store';
import { InjectStore, retryOnConflict, Store } from '@kvent/key-value-storage';
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { Appointments, Visit, visitOf } from './appointments.js';
import { Doctor } from './doctors.js';
import { LoginGuard } from './staff.js';

@Entity()
export class Invoice {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column('text')
  appointment!: string;

  @Column('int')
  cents!: number;
}

@Injectable()
export class Billing {
  constructor(
    private readonly dataSource: DataSource,
    @InjectStore(Doctor) private readonly doctors: Store<typeof Doctor>,
    @InjectStore(Visit) private readonly visits: Store<typeof Visit>,
    @InjectStream(Appointments) private readonly appointments: EventStream<typeof Appointments>,
  ) {}

  bill(id: string): Promise<Invoice> {
    return retryOnConflict(() =>
      this.dataSource.transaction(async (manager) => {
        const appointments = this.appointments.within(manager);
        const { state: seen } = await appointments.loadOrThrow(id);
        if (seen.slot === undefined) throw new ConflictException('it is not booked');
        const doctor = await this.doctors.within(manager).getOrThrow(seen.slot[0]);
        const cents = doctor.value.feeCents;
        const invoice = await manager.save(manager.create(Invoice, { appointment: id, cents }));
        // decided by what transact loads; an error rolls the invoice back
        const decide = ({ status }: StateOf<typeof Appointments>) => {
          if (status !== 'held') throw new ConflictException(`it is ${status}`);
          return [{ type: 'billed' as const, data: { invoice: invoice.id, cents } }];
        };
        await appointments.transact(id, decide, {
          sameCommit: (batch, { state }) => batch.set(this.visits.within(manager), id, visitOf(state, cents)),
        });
        return invoice;
      }),
    );
  }
}

@Controller()
@UseGuards(LoginGuard)
export class BillingController {
  constructor(private readonly billing: Billing) {}

  @Post('appointments/:id/invoice')
  bill(@Param('id') id: string) {
    return this.billing.bill(id);
  }
}
