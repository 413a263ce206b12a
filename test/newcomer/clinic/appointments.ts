/** Slots, each claimed once, and appointments as streams. */
import {
  Body,
  ConflictException,
  Controller,
  Get,
  Injectable,
  NotFoundException,
  Param,
  Post,
  UseGuards,
} from '@nestjs/common';
import { defineStream, event, EventStream, InjectStream, type StateOf } from '@kvent/event-store';
import { IdempotencyKey, IdempotentCall, InjectStore, stateOf, Store } from '@kvent/key-value-storage';
import { z } from 'zod';
import { LoginGuard } from './staff.js';

export const slotKey = z.tuple([z.string(), z.iso.date(), z.int().min(8).max(17)]); // doctor, day, hour
export type SlotKey = z.infer<typeof slotKey>;

export class Slot extends stateOf('slot', z.object({ appointment: z.string().optional() }), {
  key: slotKey,
}) {}

/** What the reports read: one row for each appointment, written in the commit of its events. */
export class Visit extends stateOf(
  'visit',
  z.object({
    doctor: z.string(),
    day: z.iso.date(),
    hour: z.int(),
    patient: z.string(),
    status: z.enum(['booked', 'approved', 'held', 'cancelled', 'billed']),
    cents: z.int().default(0),
  }),
  {
    indexes: {
      byDay: (visit) => [visit.doctor, visit.day, visit.hour],
      byPatient: (visit) => [visit.patient, visit.day, visit.hour],
    },
  },
) {}

interface Appointment {
  readonly status: 'none' | Visit['status'];
  readonly slot: SlotKey | undefined;
  readonly patient: string;
}

export const Appointments = defineStream('appointment', {
  events: {
    booked: event(z.object({ slot: slotKey, patient: z.string().min(1) })),
    approved: event<{ reference: string }>(),
    held: event<{ minutes: number }>(),
    cancelled: event(),
    billed: event<{ invoice: number; cents: number }>(),
  },
  initial: (): Appointment => ({ status: 'none', slot: undefined, patient: '' }),
  evolve: (appointment, { type, data }) =>
    type === 'booked'
      ? { status: 'booked', slot: data.slot, patient: data.patient }
      : { ...appointment, status: type },
});

/** The row of an appointment in the reports. */
export function visitOf({ status, slot, patient }: StateOf<typeof Appointments>, cents = 0): Visit {
  if (slot === undefined || status === 'none') throw new Error('not booked');
  const [doctor, day, hour] = slot;
  return new Visit({ doctor, day, hour, patient, status, cents });
}

/** The insurer, asked once for each appointment. */
@Injectable()
export class Insurer {
  asked = 0;
  async approve(appointment: string, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    this.asked += 1;
    return await Promise.resolve(`ok-${appointment}`);
  }
}

@Controller()
@UseGuards(LoginGuard)
export class AppointmentsController {
  constructor(
    @InjectStore(Slot) private readonly slots: Store<typeof Slot>,
    @InjectStore(Visit) private readonly visits: Store<typeof Visit>,
    @InjectStream(Appointments) private readonly appointments: EventStream<typeof Appointments>,
    private readonly insurer: Insurer,
  ) {}

  @Post('doctors/:doctor/days/:day')
  async open(
    @Param('doctor') doctor: string,
    @Param('day') day: string,
    @Body() { hours }: { hours: number[] },
  ) {
    await this.slots.setMany(hours.map((hour) => ({ key: [doctor, day, hour], value: {} })));
    return { opened: hours.length };
  }

  @Get('doctors/:doctor/days/:day/free')
  async free(@Param('doctor') doctor: string, @Param('day') day: string) {
    const hours: number[] = [];
    for await (const { key, value } of this.slots.list({ prefix: [doctor, day] }))
      if (value.appointment === undefined) hours.push(key[2]);
    return { hours };
  }

  // the slot, the events and the row of the report are one commit
  @Post('appointments')
  async book(
    @Body() { doctor, day, hour, patient }: { doctor: string; day: string; hour: number; patient: string },
    @IdempotencyKey() idempotencyKey: IdempotentCall,
  ) {
    const slot: SlotKey = [doctor, day, hour];
    const { id, replayed } = await this.appointments.transact(
      idempotencyKey.key,
      async ({ status }, { batch }) => {
        if (status !== 'none') throw new ConflictException('this appointment exists');
        const entry = await this.slots.get(slot);
        if (entry === undefined) throw new NotFoundException('no such slot');
        if (entry.value.appointment !== undefined) throw new ConflictException('the slot is taken');
        batch.save(this.slots, entry.with({ appointment: idempotencyKey.key }));
        return [{ type: 'booked', data: { slot, patient } }];
      },
      { idempotencyKey, sameCommit: (batch, { id, state }) => batch.set(this.visits, id, visitOf(state)) },
    );
    return { id, replayed };
  }

  // slow, and must not be asked twice: a session holds the stream
  @Post('appointments/:id/approval')
  async approve(@Param('id') id: string) {
    return await this.appointments.session(id, async (session) => {
      if (session.state.status !== 'booked') return { status: session.state.status };
      const reference = await this.insurer.approve(id, session.signal);
      await session.append([{ type: 'approved', data: { reference } }], {
        sameCommit: (batch, { state }) => batch.set(this.visits, id, visitOf(state)),
      });
      return { status: session.state.status };
    });
  }

  @Post('appointments/:id/visit')
  async hold(@Param('id') id: string, @Body() { minutes }: { minutes: number }) {
    const { state } = await this.appointments.transact(
      id,
      ({ status }) => {
        if (status !== 'approved') throw new ConflictException(`it is ${status}`);
        return [{ type: 'held', data: { minutes } }];
      },
      { sameCommit: (batch, { state }) => batch.set(this.visits, id, visitOf(state)) },
    );
    return { status: state.status };
  }

  // the slot is free again in the same commit
  @Post('appointments/:id/cancellation')
  async cancel(@Param('id') id: string) {
    const { state } = await this.appointments.transact(
      id,
      ({ status, slot }, { batch }) => {
        if (slot === undefined) throw new NotFoundException();
        if (status !== 'booked' && status !== 'approved') throw new ConflictException(`it is ${status}`);
        batch.set(this.slots, slot, {});
        return [{ type: 'cancelled' }];
      },
      { sameCommit: (batch, { state }) => batch.set(this.visits, id, visitOf(state)) },
    );
    return { status: state.status };
  }

  @Get('appointments/:id')
  async get(@Param('id') id: string) {
    const { state, version } = await this.appointments.loadOrThrow(id);
    return { ...state, version };
  }
}
