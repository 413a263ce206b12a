import { Module, type DynamicModule } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { EventStoreModule } from '@kvent/event-store';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { KeyValueStorageModule } from '@kvent/key-value-storage';
import { DataSource } from 'typeorm';
import { Appointments, AppointmentsController, Insurer, Slot, Visit } from './appointments.js';
import { Billing, BillingController, Invoice } from './billing.js';
import { Doctor, DoctorsController } from './doctors.js';
import { ReportsController } from './reports.js';
import { Login, LoginsController } from './staff.js';

@Module({
  imports: [
    KeyValueStorageModule.forFeature([Doctor, Slot, Visit, Login]),
    EventStoreModule.forFeature([Appointments]),
  ],
  controllers: [
    DoctorsController,
    LoginsController,
    AppointmentsController,
    BillingController,
    ReportsController,
  ],
  providers: [Billing, Insurer],
})
export class ClinicModule {
  static on(url: string): DynamicModule {
    return {
      module: ClinicModule,
      imports: [
        TypeOrmModule.forRoot({
          type: 'postgres',
          url,
          entities: [Invoice],
          synchronize: true,
          poolSize: 20,
        }),
        KeyValueStorageModule.forRootAsync({
          inject: [DataSource],
          useFactory: (dataSource: DataSource) => ({ provider: new PostgresProvider({ dataSource }) }),
        }),
      ],
    };
  }
}
