import { Body, Controller, Get, Param, Post, Put, Query, UseInterceptors } from '@nestjs/common';
import {
  EtagInterceptor,
  IfMatch,
  InjectStore,
  Precondition,
  stateOf,
  Store,
} from '@kvent/key-value-storage';
import { z } from 'zod';

const DoctorSchema = z.object({
  name: z.string().trim().min(1),
  specialty: z.string().min(1),
  feeCents: z.int().min(0).default(4_000),
});

export class Doctor extends stateOf('doctor', DoctorSchema, {
  indexes: { bySpecialty: (doctor) => [doctor.specialty, doctor.name] },
}) {}

@Controller('doctors')
@UseInterceptors(EtagInterceptor)
export class DoctorsController {
  constructor(@InjectStore(Doctor) private readonly doctors: Store<typeof Doctor>) {}

  @Post(':id')
  add(@Param('id') id: string, @Body() doctor: z.input<typeof DoctorSchema>) {
    return this.doctors.add(id, doctor);
  }

  @Get()
  async find(@Query('specialty') specialty: string) {
    const found = await this.doctors.index('bySpecialty').page({ prefix: [specialty], limit: 50 });
    return found.items.map(({ key, value }) => ({ id: key, ...value }));
  }

  @Get(':id')
  get(@Param('id') id: string) {
    return this.doctors.getOrThrow(id);
  }

  @Put(':id')
  change(
    @Param('id') id: string,
    @Body() doctor: z.input<typeof DoctorSchema>,
    @IfMatch() ifMatch: Precondition,
  ) {
    return this.doctors.set(id, doctor, { ifMatch });
  }
}
