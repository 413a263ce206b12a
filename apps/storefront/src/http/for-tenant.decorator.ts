import { applyDecorators } from '@nestjs/common';
import { ApiHeader, ApiResponse } from '@nestjs/swagger';

/** On controllers behind TenantMiddleware: what the API page says of the header. */
export const ForTenant = (): ClassDecorator =>
  applyDecorators(
    ApiHeader({
      name: 'X-Tenant-Id',
      required: true,
      description: 'Whose shop it is.',
      schema: { type: 'string', default: 'acme' },
    }),
    ApiResponse({ status: 400, description: '`TENANT_MISSING`: the header is missing or malformed.' }),
    ApiResponse({
      status: 404,
      description: '`TENANT_UNKNOWN`: there is no such tenant; or what the address names is not there.',
    }),
  );
