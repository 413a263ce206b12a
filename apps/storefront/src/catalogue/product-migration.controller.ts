import { Controller, Get, HttpCode, Post, UseGuards } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { AdminGuard } from '../access/admin.guard.js';
import { ProductMigration } from './product-migration.js';

const Counts = z.object({
  tenant: z.string(),
  read: z.int(),
  written: z.int(),
  unchanged: z.int(),
  newer: z.int(),
  skipped: z.int(),
  failed: z.int(),
});
const Progress = z.object({
  status: z.enum(['none', 'running', 'done', 'failed']),
  tenants: z.array(Counts),
});

/** For the administrator: it reads the products of all tenants. */
@ApiTags('products')
@Controller('migrations/products')
@UseGuards(AdminGuard)
export class ProductMigrationController {
  constructor(private readonly migration: ProductMigration) {}

  @Post()
  @HttpCode(202)
  @ApiOperation({ summary: 'Rewrites products of earlier releases in the background; idempotent' })
  @ApiResponse({ status: 202, standardSchema: Progress })
  start() {
    this.migration.start();
    return this.migration.progress;
  }

  @Get()
  @ApiOperation({ summary: 'How far the migration of this process is' })
  @ApiResponse({ status: 200, standardSchema: Progress })
  progress() {
    return this.migration.progress;
  }
}
