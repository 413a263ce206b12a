import { Controller, Get, Param, UseGuards } from '@nestjs/common';
import { InjectStore, Store } from '@kvent/key-value-storage';
import { Visit } from './appointments.js';
import { LoginGuard } from './staff.js';

@Controller()
@UseGuards(LoginGuard)
export class ReportsController {
  constructor(@InjectStore(Visit) private readonly visits: Store<typeof Visit>) {}

  @Get('reports/:doctor/:day')
  async day(@Param('doctor') doctor: string, @Param('day') day: string) {
    const report = { visits: 0, cancelled: 0, billedCents: 0, hours: [] as number[] };
    for await (const { value } of this.visits.index('byDay').list({ prefix: [doctor, day] })) {
      report.visits += 1;
      if (value.status === 'cancelled') report.cancelled += 1;
      else report.hours.push(value.hour);
      report.billedCents += value.cents;
    }
    return report;
  }

  @Get('patients/:patient/visits')
  async ofPatient(@Param('patient') patient: string) {
    const { items } = await this.visits.index('byPatient').page({ prefix: [patient], reverse: true });
    return items.map(({ key, value: { doctor, day, hour, status } }) => ({
      id: key,
      doctor,
      day,
      hour,
      status,
    }));
  }
}
