/**
 * The appointments of a clinic, built with the README and the guides alone. It starts as the guides
 * say, and is used over HTTP, on Express and on Fastify.
 */
import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { storeOf, ProblemDetailsFilter, StorageExceptionFilter } from '@kvent/key-value-storage';
import { DataSource } from 'typeorm';
import { Client, type Answer } from '../e2e/client.js';
import { listen } from '../e2e/listen.js';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Insurer, Slot } from './clinic/appointments.js';
import { Invoice } from './clinic/billing.js';
import { ClinicModule } from './clinic/clinic.module.js';

const adapters = { Express: () => new ExpressAdapter(), Fastify: () => new FastifyAdapter() };
const day = '2026-12-01';
let database: FreshDatabase;
let app: INestApplication;
let visitor: Client;
let staff: Client;

let request = 0;
function book(hour: number, patient = 'p-1', key = `appointment-${(request += 1)}`): Promise<Answer> {
  return staff.post('/appointments', { doctor: 'ada', day, hour, patient }, { 'Idempotency-Key': key });
}
const idIn = ({ body }: Answer): string => (body as { id: string }).id;
const openHours = (...hours: number[]): Promise<Answer> => staff.post(`/doctors/ada/days/${day}`, { hours });
const free = async (): Promise<unknown> =>
  ((await staff.get(`/doctors/ada/days/${day}/free`)).body as { hours: number[] }).hours;
const statuses = (answers: readonly Answer[]): number[] => answers.map(({ status }) => status).sort();

describe.each(Object.entries(adapters))('The clinic on %s', (_, createAdapter) => {
  beforeAll(async () => {
    database = await freshDatabase();
    app = await NestFactory.create<INestApplication>(ClinicModule.on(database.url), createAdapter(), {
      logger: false,
    });
    app.useGlobalFilters(new ProblemDetailsFilter(), new StorageExceptionFilter());
    visitor = new Client(`http://127.0.0.1:${await listen(app)}`);
    const login = await visitor.post('/logins', { user: 'ines' });
    staff = visitor.with({ Authorization: `Bearer ${(login.body as { token: string }).token}` });
    await staff.post('/doctors/ada', { name: 'Ada', specialty: 'eyes', feeCents: 9_000 });
  });
  afterAll(async () => {
    await app.close();
    await database[Symbol.asyncDispose]();
  });

  describe('doctors', () => {
    it('have the defaults of their schema, and are found by their specialty in the order of names', async () => {
      await staff.post('/doctors/zoe', { name: ' Zoe ', specialty: 'teeth' });
      await staff.post('/doctors/bob', { name: 'Bob', specialty: 'teeth' });
      expect((await visitor.get('/doctors?specialty=teeth')).body).toEqual([
        { id: 'bob', name: 'Bob', specialty: 'teeth', feeCents: 4_000 },
        { id: 'zoe', name: 'Zoe', specialty: 'teeth', feeCents: 4_000 },
      ]);
    });

    it('are changed by the one who has seen their present state', async () => {
      await staff.post('/doctors/eve', { name: 'Eve', specialty: 'ears' });
      const etag = (await visitor.get('/doctors/eve')).headers.get('ETag') ?? '';
      const change = (name: string) =>
        staff.put('/doctors/eve', { name, specialty: 'ears' }, { 'If-Match': etag });
      const answers = await Promise.all([change('Eva'), change('Evi')]);
      expect(statuses(answers)).toEqual([200, 412]);
    });
  });

  describe('logins', () => {
    it('are needed, and must exist', async () => {
      expect((await visitor.get(`/reports/ada/${day}`)).status).toBe(401);
      expect((await visitor.get(`/reports/ada/${day}`, { Authorization: 'Bearer x' })).status).toBe(401);
      expect((await staff.get(`/reports/ada/${day}`)).status).toBe(200);
    });
  });

  describe('appointments', () => {
    it('of twenty patients who want one slot, one gets it', async () => {
      await openHours(9);
      const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => book(9, `p-${index}`)));
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
      expect(new Set(statuses(answers))).toEqual(new Set([201, 409]));
      const [winner] = answers.filter(({ status }) => status === 201);
      const slot = await storeOf(app, Slot).getOrThrow(['ada', day, 9]);
      expect(slot.value.appointment).toBe(idIn(winner as Answer));
    });

    it('sent again with the same key are one appointment', async () => {
      await openHours(10);
      const answers = await Promise.all([1, 2, 3].map(() => book(10, 'p-1', 'same')));
      expect(statuses(answers)).toEqual([201, 201, 201]);
      expect(new Set(answers.map(idIn))).toEqual(new Set(['same']));
      expect((await book(10, 'another patient', 'same')).status).toBe(422);
      expect((await staff.get('/appointments/same')).body).toMatchObject({ version: 1, patient: 'p-1' });
    });

    it('ask the insurer once, however many ask for the approval', async () => {
      await openHours(11);
      const id = idIn(await book(11));
      const before = app.get(Insurer).asked;
      const answers = await Promise.all([1, 2, 3, 4].map(() => staff.post(`/appointments/${id}/approval`)));
      expect(answers.map(({ body }) => body)).toEqual(answers.map(() => ({ status: 'approved' })));
      expect(app.get(Insurer).asked).toBe(before + 1);
    });

    it('that are cancelled give the slot to the next patient', async () => {
      await openHours(12);
      const id = idIn(await book(12));
      expect(await free()).toEqual([]);
      expect((await book(12)).status).toBe(409);
      expect((await staff.post(`/appointments/${id}/cancellation`)).body).toEqual({ status: 'cancelled' });
      expect(await free()).toEqual([12]);
      expect((await book(12)).status).toBe(201);
      expect((await staff.post(`/appointments/${id}/cancellation`)).status).toBe(409);
    });

    it('with a wrong day, an unknown slot or an unknown appointment are refused, and nothing is stored', async () => {
      const wrong = await staff.post(
        '/appointments',
        { doctor: 'ada', day: 'tomorrow', hour: 9, patient: 'p-1' },
        { 'Idempotency-Key': 'wrong' },
      );
      expect([wrong.status, (wrong.body as { code: string }).code]).toEqual([400, 'INVALID_KEY']);
      expect((await book(17)).status).toBe(404);
      expect((await staff.get('/appointments/wrong')).status).toBe(404);
    });
  });

  describe('billing', () => {
    async function held(hour: number, patient: string): Promise<string> {
      await openHours(hour);
      const id = idIn(await book(hour, patient));
      await staff.post(`/appointments/${id}/approval`);
      await staff.post(`/appointments/${id}/visit`, { minutes: 20 });
      return id;
    }
    const invoicesOf = (appointment: string): Promise<number> =>
      app.get(DataSource).manager.countBy(Invoice, { appointment });

    it('makes one invoice for an appointment, however many send the request', async () => {
      const id = await held(13, 'p-billed');
      const answers = await Promise.all([1, 2, 3, 4].map(() => staff.post(`/appointments/${id}/invoice`)));
      expect(statuses(answers)).toEqual([201, 409, 409, 409]);
      expect(await invoicesOf(id)).toBe(1);
      expect((await staff.get(`/appointments/${id}`)).body).toMatchObject({ status: 'billed', version: 4 });
    });

    it('leaves no invoice where the appointment was not held', async () => {
      await openHours(14);
      const id = idIn(await book(14, 'p-2'));
      expect((await staff.post(`/appointments/${id}/invoice`)).status).toBe(409);
      expect(await invoicesOf(id)).toBe(0);
    });

    it('is in the reports as soon as it is committed', async () => {
      const id = await held(15, 'p-reported');
      const before = (await staff.get(`/reports/ada/${day}`)).body as { visits: number; billedCents: number };
      await staff.post(`/appointments/${id}/invoice`);
      const after = (await staff.get(`/reports/ada/${day}`)).body as typeof before;
      expect(after).toEqual({ ...before, billedCents: before.billedCents + 9_000 });
      expect((await staff.get('/patients/p-reported/visits')).body).toEqual([
        { id, doctor: 'ada', day, hour: 15, status: 'billed' },
      ]);
    });
  });
});
