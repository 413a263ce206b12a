import { applyDecorators } from '@nestjs/common';
import { ApiHeader, ApiResponse } from '@nestjs/swagger';

/** Describes the tenant header on the API page, for controllers behind TenantMiddleware. */
export const ForTenant = (): ClassDecorator =>
  applyDecorators(
    ApiHeader({
      name: 'X-Tenant-Id',
      required: true,
      description: 'The tenant.',
      schema: { type: 'string', default: 'acme' },
    }),
    ApiResponse({ status: 400, description: '`TENANT_MISSING`: the header is missing or malformed.' }),
    ApiResponse({
      status: 404,
      description: '`TENANT_UNKNOWN`, or the resource does not exist.',
    }),
  );
